"""An autoencoder in memory, whichever library it comes from: pictures to latents and back.

A *spatial* latent is a small picture with a few numbers at every place; a *vector* latent has no places at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aigc_demo.device import Device, is_out_of_memory
from aigc_demo.errors import ModelDamaged
from aigc_demo.generators.quiet import hush
from aigc_demo.words import Words

if TYPE_CHECKING:
    import torch

SPATIAL, VECTOR = "spatial", "vector"
CLASSES = ("AutoencoderKL", "AutoencoderTiny")
"""The diffusers classes that are known to make one picture of one latent."""
VECTOR_SETTINGS = frozenset({"side", "latent", "width"})
"""What the configuration of a `VectorVae` says, which names no class."""
TILE = 768
"""Pixels of a side from which a picture goes through in overlapping tiles, so that memory does not grow with it."""


@dataclass
class LatentModel:
    """side: of the pictures that it learnt, in pixels. factor: pixels to a place of the latent, in each direction."""

    net: Any
    device: Device
    kind: str
    side: int
    factor: int

    @property
    def dtype(self) -> torch.dtype:
        return next(self.net.parameters()).dtype

    def encode(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(mean, log variance) of the posterior, float32 [n, ...] on the CPU, of pictures [n, 3, h, w] in -1..1.

        None for the variance of a plain autoencoder, which has no posterior.
        """
        given = pictures.to(self.device.kind, self.dtype)
        if self.kind == VECTOR:
            mean, log_variance = self.net.encode(given)
            return mean.float().cpu(), log_variance.float().cpu()
        made = self.net.encode(given)
        posterior = getattr(made, "latent_dist", None)
        if posterior is None:
            return made.latents.float().cpu(), None
        return posterior.mean.float().cpu(), posterior.logvar.float().cpu()

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Pictures [n, 3, h, w] in -1..1, float32 on the CPU, of latents [n, ...]."""
        given = latents.to(self.device.kind, self.dtype)
        if self.kind == VECTOR:
            return self.net.decode(given).float().clamp(-1, 1).cpu()
        return self.net.decode(given).sample.float().clamp(-1, 1).cpu()

    def latent_shape(self, width: int, height: int) -> tuple[int, ...]:
        """Of one picture's latent."""
        if self.kind == VECTOR:
            return (int(self.net.latent),)
        return (int(self.net.config.latent_channels), height // self.factor, width // self.factor)


def is_autoencoder(config: Mapping[str, Any]) -> bool:
    """Whether a folder's config.json is of a model that this module loads."""
    return config.get("_class_name") in CLASSES or config.keys() >= VECTOR_SETTINGS


def load(folder: Path, device: Device, side: int | None = None) -> LatentModel:
    """An AutoencoderKL, AutoencoderTiny or VectorVae folder, on the device. Raises `ModelDamaged`.

    side: of the pictures it learnt, where its configuration does not say.
    """
    hush("diffusers")
    import torch

    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        if not is_autoencoder(config):
            raise ValueError(f"{config.get('_class_name', 'config.json')} is not {' / '.join(CLASSES)}")
        if config.keys() >= VECTOR_SETTINGS:
            from aigc_demo.nets.vectorvae import VectorVae

            net: Any = VectorVae.from_pretrained(folder, local_files_only=True)
            net = net.to(device.kind, torch.float32).eval()
            return LatentModel(net, device, VECTOR, net.side, net.side)
        import diffusers

        # SDXL's decoder leaves the range of float16, and says so
        dtype = torch.float32 if config.get("force_upcast") and device.dtype == "float16" else device.torch_dtype
        net = getattr(diffusers, config["_class_name"]).from_pretrained(
            folder, dtype=dtype, use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelDamaged(
            Words("The model “{name}” could not be loaded: {error}", "无法加载模型“{name}”：{error}").format(
                name=folder.name, error=str(error).splitlines()[0][:300] if str(error) else type(error).__name__
            )
        ) from error
    net = net.to(device.kind).eval()
    factor = 2 ** (len(_widths(net.config)) - 1)
    if getattr(net, "spatial_scale_factor", factor) == factor:  # AutoencoderTiny's tiles know no other
        net.enable_tiling()
        net.tile_sample_min_size, net.tile_latent_min_size = TILE, TILE // factor
    return LatentModel(net, device, SPATIAL, side or int(net.config.get("sample_size") or 512), factor)


def _widths(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Channels per size: AutoencoderTiny's blocks have their own name for it."""
    return config.get("encoder_block_out_channels") or config["block_out_channels"]
