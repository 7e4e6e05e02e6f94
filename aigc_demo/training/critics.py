"""Losses that look at more than pixels: features of our own CLIP (no LPIPS ships here), and a patch discriminator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional


class ClipFeatures:
    """Distance between two pictures in emoji-clip's vision tower. The judge's features are never used so."""

    def __init__(self, weights: Path, place: str):
        from transformers import CLIPVisionModel

        from aigc_demo.training.registry import require

        folder = require(weights, "emoji-clip")
        tower: Any = CLIPVisionModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        self.tower: Any = tower.to(place).eval().requires_grad_(False)
        self.side = int(tower.config.image_size)

    def __call__(self, made: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """A scalar: mean of 1 - cosine over patches and layers. Pictures of the tower's side, in -1..1."""
        with torch.no_grad():
            wanted = self._layers(real)
        pairs = zip(self._layers(made), wanted, strict=True)
        return torch.stack([1 - functional.cosine_similarity(a, b, dim=-1).mean() for a, b in pairs]).mean()

    def _layers(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        if pictures.shape[-1] != self.side:
            pictures = functional.interpolate(pictures, size=(self.side, self.side), mode="area")
        states = self.tower(pixel_values=pictures, output_hidden_states=True).hidden_states
        return [state[:, 1:].float() for state in states[1:]]


class PatchCritic(nn.Module):
    """Scores overlapping patches as real or made (Isola et al., arXiv 1611.07004)."""

    def __init__(self, width: int = 32):
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for before, after in ((width, 2 * width), (2 * width, 4 * width)):
            layers += [nn.Conv2d(before, after, 4, 2, 1), nn.GroupNorm(8, after), nn.LeakyReLU(0.2)]
        self.net = nn.Sequential(*layers, nn.Conv2d(4 * width, 1, 3, 1, 1))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Logits [n, 1, s/8, s/8]."""
        return self.net(pictures)
