"""Trained models from their folders, and what an evaluation reports of one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aigc_demo.training.loop import device


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


def load_vae(folder: Path) -> Any:
    import torch
    from diffusers import AutoencoderKL

    model = AutoencoderKL.from_pretrained(
        folder, torch_dtype=torch.float32, use_safetensors=True, local_files_only=True
    )
    return model.to(device()).eval()


def load_morph(folder: Path) -> Any:
    from aigc_demo.training.vectorvae import VectorVae

    return VectorVae.from_pretrained(folder, local_files_only=True).float().to(device()).eval()
