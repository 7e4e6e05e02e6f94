"""A small residual convnet that names pictures: the judge and the style classifier are two of it.

On purpose not the architecture of emoji-clip, whose features the generators learn with: a judge that saw
the world as they do would be easy to please.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import nn
from torch.nn import functional


class Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al., arXiv 1603.05027)."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(x + self.second_norm(self.second(inner)))


PACE = 6.0
"""A palette is of unit length; longer, its opinion learns as fast as the other."""


def palette(pictures: torch.Tensor, shades: int) -> torch.Tensor:
    """float32 [n, shades ** 3]: how much of a picture has which colour, as the root of its share."""
    levels = ((pictures.float() + 1) / 2 * shades).floor().clamp(0, shades - 1).long().flatten(2)
    red, green, blue = levels.unbind(1)
    found = torch.zeros(len(pictures), shades**3, device=pictures.device)
    found.scatter_add_(1, (red * shades + green) * shades + blue, torch.ones_like(red, dtype=torch.float32))
    return (found / levels.shape[-1]).sqrt()


class ConvNet(nn.Module, PyTorchModelHubMixin):
    """labels: what the outputs mean, in order. Takes [n, 3, s, s] in -1..1, of any side that `side` resizes.

    With `shades` per channel a second opinion looks only at which colours there are, wherever they are: most of what a
    style is. The two are asked apart in training; in the answer colours, the surer, count twice as much.
    """

    def __init__(
        self,
        labels: list[str],
        widths: Sequence[int] = (48, 96, 160),
        blocks: int = 2,
        side: int = 64,
        shades: int = 0,
    ):
        super().__init__()
        self.labels, self.side, self.shades = list(labels), side, shades
        stages: list[nn.Module] = []
        before = 3
        for level, width in enumerate(widths):
            down = nn.Conv2d(before, width, 4 if level == 0 else 3, stride=2, padding=1, bias=False)
            count = 1 if level == 0 else blocks
            stages.append(
                nn.Sequential(down, nn.BatchNorm2d(width), nn.ReLU(), *[Residual(width) for _ in range(count)])
            )
            before = width
        self.stages = nn.Sequential(*stages)
        if shades:
            self.colours = nn.Linear(shades**3, len(labels), bias=False)
            nn.init.zeros_(self.colours.weight)
        # without it all features are positive, all cosines alike, and learning takes ages to begin
        self.neck = nn.BatchNorm1d(before)
        self.head = nn.Linear(before, len(labels), bias=False)
        self.scale = nn.Parameter(torch.tensor(3.0))

    def places(self, pictures: torch.Tensor) -> torch.Tensor:
        """float [n, width, s/8, s/8] with three stages: what the last one makes of every place."""
        if pictures.shape[-1] != self.side:
            pictures = functional.interpolate(pictures, size=(self.side, self.side), mode="area")
        return self.stages(pictures.contiguous(memory_format=torch.channels_last))

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """float32 [n, width], unit length."""
        return self.pooled(self.places(pictures))

    def pooled(self, hidden: torch.Tensor) -> torch.Tensor:
        """The features of `places`."""
        # both means and maxima: a small mark (a beak, a wheel) can be all that tells two pictures apart
        pooled = hidden.float().mean((2, 3)) + hidden.float().amax((2, 3))
        return functional.normalize(self.neck(pooled), dim=-1)

    def named(self, features: torch.Tensor) -> torch.Tensor:
        """Logits [n, labels] of features: scaled cosines."""
        return self.scale.exp() * features @ functional.normalize(self.head.weight.float(), dim=-1).T

    def opinions(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Logits [n, labels] of each: what the features say, and what the colours do."""
        told = [self.named(self.features(pictures))]
        if self.shades:
            told.append(self.colours(PACE * palette(pictures, self.shades)).float())
        return told

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Logits [n, labels]."""
        told = self.opinions(pictures)
        return told[0] if len(told) == 1 else told[0].log_softmax(1) / 2 + told[1].log_softmax(1)
