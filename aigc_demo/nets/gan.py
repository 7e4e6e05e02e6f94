"""The two nets of emoji-gan: a generator with a mapping network, and the discriminator that it learnt against.

Both fold 2x2 pixels into channels at the picture's end and so never compute at 64 px; that is what makes them
quick on two cores. Neither has batch statistics: a picture is the same alone and in a batch, and so is a score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import nn
from torch.nn import functional

SIDE = 64
SLOPE = 0.2


class Modulated(nn.Module):
    """3x3 convolution whose input channels are scaled by w, and whose output has unit deviation again
    (Karras et al., arXiv 1912.04958, section 2.2). Scaling the activations instead of the weights is the same
    function and leaves one ordinary convolution for the whole batch."""

    def __init__(self, before: int, after: int, latent: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, 3, 3) / math.sqrt(9 * before))
        self.bias = nn.Parameter(torch.zeros(after))
        self.style = nn.Linear(latent, before)
        # strong from the start: where w hardly matters, all pictures are one, and that is hard to unlearn
        nn.init.normal_(self.style.weight, std=latent**-0.5)
        nn.init.ones_(self.style.bias)

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        style = self.style(w)
        x = functional.conv2d(x * style[:, :, None, None], self.weight, padding=1)
        power = style.square() @ self.weight.square().sum((2, 3)).T
        x = x * torch.rsqrt(power + 1e-8)[:, :, None, None] + self.bias[:, None, None]
        return functional.leaky_relu(x, SLOPE) * math.sqrt(2)


class Generator(nn.Module, PyTorchModelHubMixin):
    """Pictures [n, 3, 64, 64] in -1..1 from z [n, latent], normal.

    widths: channels at 4, 8, 16 and 32 px. Two of the `layers` belong to each of these sizes, coarse to fine.
    `mean_w` is the running mean of w over the training, which truncation pulls towards.
    """

    mean_w: torch.Tensor

    def __init__(self, latent: int = 128, widths: Sequence[int] = (256, 128, 64, 32), depth: int = 2):
        super().__init__()
        self.latent, self.layers = latent, 2 * len(widths)
        steps = [part for _ in range(depth) for part in (nn.Linear(latent, latent), nn.LeakyReLU(SLOPE))]
        self.map = nn.Sequential(*steps)
        for part in self.map.modules():
            if isinstance(part, nn.Linear):
                nn.init.kaiming_normal_(part.weight, SLOPE)
        self.start = nn.Parameter(torch.randn(1, widths[0], 4, 4))
        before = [widths[0], *widths[:-1]]
        self.first = nn.ModuleList(Modulated(a, b, latent) for a, b in zip(before, widths, strict=True))
        self.second = nn.ModuleList(Modulated(width, width, latent) for width in widths)
        # every size adds to the picture, the last one 2x2 pixels for each of its places
        self.colour = nn.ModuleList(nn.Conv2d(width, 3, 1) for width in widths[:-1])
        fine = nn.Conv2d(widths[-1], 12, 3, padding=1)
        with torch.no_grad():  # the four pixels of a place begin alike (Aitken et al., arXiv 1707.02937): no chequers
            fine.weight.copy_(fine.weight[:3].repeat_interleave(4, 0))
            nn.init.zeros_(fine.bias)  # type: ignore[arg-type] # a Conv2d's is there unless it was asked to have none
        self.colour.append(fine)
        self.register_buffer("mean_w", torch.zeros(latent))

    def mapping(self, z: torch.Tensor) -> torch.Tensor:
        """w [n, latent] of z [n, latent]; only the direction of z counts."""
        return self.map(z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8))

    def truncate(self, w: torch.Tensor, psi: float) -> torch.Tensor:
        """mean + psi (w - mean): 1 leaves w alone, 0 gives everyone the mean (Karras et al., arXiv 1812.04948)."""
        return self.mean_w + psi * (w - self.mean_w)

    def synthesize(self, ws: torch.Tensor) -> torch.Tensor:
        """The pictures of ws [n, layers, latent]. Rows of different w mix their styles: the early layers hold
        the shape, the late ones colour and line. They may stray beyond -1..1: a squashing function at the end
        would leave no slope to come back on."""
        x = self.start.expand(len(ws), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        picture: Any = 0
        for level, (first, second, colour) in enumerate(zip(self.first, self.second, self.colour, strict=True)):
            if level:
                x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
                picture = functional.interpolate(picture, scale_factor=2, mode="bilinear", align_corners=False)
            x = second(first(x, ws[:, 2 * level]), ws[:, 2 * level + 1])
            if level + 1 < len(self.colour):
                picture = picture + colour(x)
        fine = functional.pixel_shuffle(colour(x), 2)
        picture = functional.interpolate(picture, scale_factor=2, mode="bilinear", align_corners=False)
        return picture + fine

    def forward(self, z: torch.Tensor, psi: float = 1.0) -> torch.Tensor:
        w = self.truncate(self.mapping(z), psi)
        return self.synthesize(w[:, None].expand(-1, self.layers, -1)).clamp(-1, 1)


class Block(nn.Module):
    """A shortcut around a 3x3 and a 1x1 convolution; the last begins at zero, so that depth costs no stability
    without normalisation (Zhang et al., arXiv 1901.09321)."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 1, bias=False)
        nn.init.kaiming_normal_(self.first.weight, SLOPE)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(functional.leaky_relu(self.first(functional.leaky_relu(x, SLOPE)), SLOPE))


class Discriminator(nn.Module, PyTorchModelHubMixin):
    """Logits [n] of pictures [n, 3, 64, 64] in -1..1. It learnt from differences of two pictures' logits, so only
    differences mean anything: sigmoid(D(a) - D(b)) is how sure it is that a is real if one of them is."""

    def __init__(self, widths: Sequence[int] = (32, 64, 128, 256), blocks: int = 1):
        super().__init__()
        self.stem = nn.Conv2d(12, widths[0], 3, padding=1)
        self.stages = nn.ModuleList(nn.Sequential(*[Block(width) for _ in range(blocks)]) for width in widths)
        self.widen = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairwise(widths))
        self.head = nn.Linear(16 * widths[-1], 1)
        for conv in (self.stem, *self.widen):  # torch's own start shrinks every stage's signal to a half
            nn.init.kaiming_normal_(conv.weight, nonlinearity="linear")

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        x = self.stem(functional.pixel_unshuffle(pictures, 2).contiguous(memory_format=torch.channels_last))
        for level, stage in enumerate(self.stages):
            if level:
                x = functional.avg_pool2d(self.widen[level - 1](x), 2)
            x = stage(x)
        return self.head(functional.leaky_relu(x, SLOPE).flatten(1))[:, 0]
