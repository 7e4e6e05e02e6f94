"""Trained models from their folders, to be used or to be trained further, and what an evaluation reports of one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aigc_demo.errors import UserError
from aigc_demo.training.cards import RECIPE_FILE
from aigc_demo.training.loop import device
from aigc_demo.words import Words


@dataclass(frozen=True)
class Report:
    """figures: the model's. baselines: name -> figures of something trivial, or of the judge. misses: in words."""

    figures: dict[str, float]
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    misses: list[str] = field(default_factory=list)


def load_clip(folder: Path) -> tuple[Any, Any]:
    """(CLIPModel in float32, its tokenizer), from disk only."""
    import torch
    from transformers import AutoTokenizer, CLIPModel

    model: Any = CLIPModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, local_files_only=True)
    return model.to(device()).eval(), AutoTokenizer.from_pretrained(folder, local_files_only=True)


def load_convnet(folder: Path) -> Any:
    from aigc_demo.training.convnet import ConvNet

    return ConvNet.from_pretrained(folder, local_files_only=True).float().to(device()).eval()


def load_gan(folder: Path) -> tuple[Any, Any]:
    """(Generator, Discriminator) in float32."""
    from aigc_demo.nets.gan import Discriminator, Generator

    parts = (Generator, "generator"), (Discriminator, "discriminator")
    made = [kind.from_pretrained(folder / part, local_files_only=True).float() for kind, part in parts]
    generator, discriminator = (net.to(device()).eval() for net in made)
    return generator, discriminator


def load_vae(folder: Path) -> Any:
    import torch
    from diffusers import AutoencoderKL

    model = AutoencoderKL.from_pretrained(
        folder, torch_dtype=torch.float32, use_safetensors=True, local_files_only=True
    )
    return model.to(device()).eval()


def load_morph(folder: Path) -> Any:
    from aigc_demo.nets.vectorvae import VectorVae

    return VectorVae.from_pretrained(folder, local_files_only=True).float().to(device()).eval()


def begin(groups: Mapping[str, Any], folder: Path) -> None:
    """Put a trained model's weights into a task's groups; a group that does not ship (a critic) stays as it is.

    Raises UserError where the folder holds another model, or one of another size.
    """
    from safetensors.torch import load_file

    begun = False
    for name, module in groups.items():
        home = folder / name if (folder / name).is_dir() else folder
        weights: dict[str, Any] = {}
        for file in sorted(home.glob("*.safetensors")):
            weights |= load_file(file)
        own = module.state_dict()
        if weights and weights.keys() <= own.keys():
            if any(own[key].shape != value.shape for key, value in weights.items()):
                raise _other(folder)
            module.load_state_dict(weights, strict=False)
            begun = True
    if not begun:
        raise _other(folder)


def settings(folder: Path) -> dict[str, Any]:
    """What a model was trained with, as it says itself."""
    return json.loads((folder / RECIPE_FILE).read_text(encoding="utf-8"))["settings"]


def digests(folder: Path) -> dict[str, str]:
    """File -> sha256, of every weights file below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.safetensors"))
    }


def _other(folder: Path) -> UserError:
    return UserError(
        Words(f"{folder} does not hold weights of this model in this size.", f"{folder} 中没有此模型在此规模下的权重。")
    )
