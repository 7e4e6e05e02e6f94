"""An adversarial pair in memory: seeds to z, z to w, w to pictures, pictures to scores.

Everything is float32: the nets are small, and a score's gradient loses too much in shorter types.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aigc_demo.device import Device, is_out_of_memory
from aigc_demo.errors import ModelDamaged
from aigc_demo.params import SEED_LIMIT
from aigc_demo.words import Words

if TYPE_CHECKING:
    import torch
    from PIL import Image

SIDE = 64
LAYERS = 8
"""Of the generator, two for each of its sizes; each can have a w of its own."""
AT_ONCE = 16
"""Pictures that are made together at most."""
MANY = 512
"""Draws from which the spread of w is measured."""
NO_NUMBER = Words(
    "The model computes what is no number (NaN): its weights are damaged. Choose another.",
    "模型算出的已不是数字（NaN）：它的权重已损坏。请选择其他模型。",
)
_GENERATOR = frozenset({"latent", "widths", "depth"})
_LARGEST = {"latent": 4096, "widths": 2048, "depth": 32, "blocks": 32}
"""A config comes from strangers, and its numbers are memory."""


@dataclass
class GanModel:
    """Tensors come and go on the CPU."""

    generator: Any
    discriminator: Any
    device: Device
    measured: dict[Any, Any] = field(default_factory=dict)
    """What generators measured of it once, by their own keys; it goes when the model goes."""

    @property
    def dtype(self) -> torch.dtype:
        return next(self.generator.parameters()).dtype

    def z(self, seed: int) -> torch.Tensor:
        """[latent], normal, from a CPU generator of its own. Seeds past the last begin again at 0."""
        import torch

        source = torch.Generator().manual_seed(seed % SEED_LIMIT)
        return torch.randn(self.generator.latent, generator=source)

    def w(self, z: torch.Tensor) -> torch.Tensor:
        """[n, latent] of z [n, latent]."""
        import torch

        with torch.no_grad():
            return self.generator.mapping(z.to(self.device.kind)).cpu()

    @property
    def mean_w(self) -> torch.Tensor:
        return self.generator.mean_w.cpu()

    def truncated(self, w: torch.Tensor, psi: float) -> torch.Tensor:
        return self.mean_w + psi * (w - self.mean_w)

    @cached_property
    def spread(self) -> float:
        """The mean distance of a w to the mean of all."""
        import torch

        drawn = self.w(torch.stack([self.z(seed) for seed in range(MANY)]))
        return float((drawn - self.mean_w).norm(dim=1).mean())

    def synthesize(self, ws: torch.Tensor) -> torch.Tensor:
        """Pictures [n, 3, 64, 64] in -1..1 of ws [n, layers, latent]; on the device, with whatever gradient is wanted."""
        return self.generator.synthesize(ws.to(self.device.kind)).clamp(-1, 1)

    def pictures(self, w: torch.Tensor) -> torch.Tensor:
        """Pictures [n, 3, 64, 64] of w [n, latent], which all layers share, or [n, layers, latent]."""
        import torch

        ws = w[:, None].expand(-1, LAYERS, -1) if w.ndim == 2 else w
        with torch.no_grad():
            return torch.cat([self.synthesize(part).cpu() for part in ws.split(AT_ONCE)])

    def scores(self, pictures: torch.Tensor) -> list[float]:
        """The discriminator's logits; only their differences mean anything. Raises `ModelDamaged` where one is no number."""
        import torch

        if not len(pictures):
            return []
        with torch.no_grad():
            parts = [self.discriminator(part.to(self.device.kind)).cpu() for part in pictures.split(AT_ONCE)]
        found = torch.cat(parts)
        if not found.isfinite().all():
            raise ModelDamaged(NO_NUMBER)
        return found.tolist()


def is_pair(config: Mapping[str, Any]) -> bool:
    """Whether a generator's config.json is of a pair that this module loads."""
    return config.keys() >= _GENERATOR


def load(folder: Path, device: Device) -> GanModel:
    """Of {generator,discriminator}/, on the device. Raises `ModelDamaged`."""
    import torch

    from aigc_demo.nets.gan import Discriminator, Generator

    def part(kind: Any, name: str) -> Any:
        _check(json.loads((folder / name / "config.json").read_text("utf-8")))
        net = kind.from_pretrained(folder / name, local_files_only=True, strict=True)
        return net.to(device.kind, torch.float32).eval().requires_grad_(False)

    try:
        return GanModel(part(Generator, "generator"), part(Discriminator, "discriminator"), device)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelDamaged(
            Words("The model “{name}” could not be loaded: {error}", "无法加载模型“{name}”：{error}").format(
                name=folder.name, error=str(error).splitlines()[0][:300] if str(error) else type(error).__name__
            )
        ) from error


def _check(config: Mapping[str, Any]) -> None:
    for name, largest in _LARGEST.items():
        value = config.get(name, [1] * 4 if name == "widths" else 1)
        numbers = value if name == "widths" else [value]
        if name == "widths" and len(numbers) != LAYERS // 2:
            raise ValueError(f"{SIDE} px take {LAYERS // 2} widths")
        if any(type(number) is not int or not 1 <= number <= largest for number in numbers):
            raise ValueError(f"{name}: {str(value)[:40]}")


def tensor(pictures: Sequence[Image.Image]) -> torch.Tensor:
    """float32 [n, 3, 64, 64] in -1..1 of pictures of any size, each in the middle of a white square."""
    import torch

    if not pictures:
        return torch.empty(0, 3, SIDE, SIDE)
    whole = np.stack([np.asarray(squared(one)) for one in pictures])
    return torch.from_numpy(whole).permute(0, 3, 1, 2).float() / 127.5 - 1


def squared(picture: Image.Image) -> Image.Image:
    """As the discriminator sees it."""
    from PIL import Image

    scale = SIDE / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    square = Image.new("RGB", (SIDE, SIDE), "white")
    small = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    square.paste(small, ((SIDE - width) // 2, (SIDE - height) // 2))
    return square


def images(made: torch.Tensor) -> list[Image.Image]:
    """Of [n, 3, h, w] in -1..1."""
    from PIL import Image

    whole = ((made.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(one) for one in whole]
