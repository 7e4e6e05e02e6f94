"""A variational autoencoder (Kingma and Welling, arXiv 1312.6114) whose latent is one vector per picture.

Without places of its own the latent has to say what is where, so halfway between two vectors is a picture
of something halfway, and not two pictures laid over each other.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import nn

from aigc_demo.nets import filters

SHRINK = 16
"""From a picture's side to the side of the grid that becomes a vector."""
STRENGTH, TIMES = 2.5, 2
"""Of the outlines: 0.96 of real pictures' finest detail instead of 0.42, for 0.6 dB."""


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut, norms first (He et al., arXiv 1603.05027)."""

    def __init__(self, width: int):
        super().__init__()
        self.inner = nn.Sequential(_normed(width), nn.Conv2d(width, width, 3, padding=1))
        self.outer = nn.Sequential(_normed(width), nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.outer(self.inner(x))


class Retouch(nn.Module):
    """The one look at all pixels: takes out the grid that the change of shape before it leaves. Begins as nothing."""

    def __init__(self, width: int = 16):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1)
        for part in self.second.parameters():
            nn.init.zeros_(part)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(nn.functional.silu(self.first(x)))


class Outline(nn.Module):
    """Out of a soft picture one with outlines: an autoencoder's doubt is a blur, an emoji's edge is a step.

    The small blur before it takes out what grid there is; otherwise that would be sharpened too. It adds no
    detail: where the latent doesn't say what is there, a clear edge stands in a doubtful place. Training goes without: a
    decoder that learnt through it only made its pictures softer beforehand.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.training else filters.crisp(filters.blur(x, 3), STRENGTH, TIMES)


class VectorVae(nn.Module, PyTorchModelHubMixin):
    """side: of the pictures, in pixels, a multiple of 16. latent: numbers per picture. width: channels at side / 2.

    The outermost halving is a change of shape (Shi et al., arXiv 1609.05158): no convolution but a last thin one runs
    at full size, where most of the time would go.
    """

    centre: torch.Tensor
    axes: torch.Tensor
    back: torch.Tensor

    def __init__(self, side: int = 64, latent: int = 128, width: int = 32):
        super().__init__()
        self.side, self.latent = side, latent
        widths = [width, 2 * width, 4 * width, 5 * width]
        into: list[nn.Module] = [nn.PixelUnshuffle(2), nn.Conv2d(12, width, 3, padding=1)]
        for before, after in pairwise(widths):
            into += [nn.Conv2d(before, after, 3, stride=2, padding=1), Residual(after)]
        self.encoder = nn.Sequential(*into, _normed(widths[-1]), nn.Flatten())
        numbers = widths[-1] * (side // SHRINK) ** 2
        self.to_latent = nn.Linear(numbers, 2 * latent)
        self.from_latent = nn.Linear(latent, numbers)
        out: list[nn.Module] = [nn.Unflatten(1, (widths[-1], side // SHRINK, side // SHRINK)), Residual(widths[-1])]
        for before, after in pairwise(reversed(widths)):
            out += [nn.Conv2d(before, after, 1), nn.Upsample(scale_factor=2), Residual(after)]
        last = nn.Conv2d(width, 12, 3, padding=1)
        self.decoder = nn.Sequential(*out, _normed(width), last, nn.PixelShuffle(2), Retouch(), Outline())
        with torch.no_grad():  # the four pixels that a place becomes begin alike, or a grid shows (arXiv 1707.02937)
            for part in last.parameters():
                part.copy_(part[::4].repeat_interleave(4, 0))
        # the frame that callers see the latent in; `whiten` sets it once, after training
        self.register_buffer("centre", torch.zeros(latent))
        self.register_buffer("axes", torch.eye(latent))
        self.register_buffer("back", torch.eye(latent))

    def encode(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(mean, log variance) of the posterior, float32 [n, latent] each, of pictures [n, 3, side, side] in -1..1."""
        hidden = self.encoder(pictures.contiguous(memory_format=torch.channels_last))
        mean, log_variance = self.to_latent(hidden).float().chunk(2, 1)
        variance = log_variance.clamp(-20, 10).exp() @ self.axes.square()
        return ((mean - self.centre) @ self.axes).float(), variance.float().log()

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Pictures [n, 3, side, side], float32, of z [n, latent]; they may pass -1..1 a little."""
        return self.decoder(self.from_latent(z @ self.back + self.centre)).float()

    def whiten(self, mean: torch.Tensor, log_variance: torch.Tensor, pictures: torch.Tensor) -> None:
        """Turn and stretch the latent so that the posteriors given, all together, have mean 0 and unit covariance.

        Then a draw from the unit normal is as likely a picture as the model knows, along every axis. Of the frames of
        which this is true it takes the one whose axis 0 changes pixels most, then axis 1, and so on: by their covariance
        with the pictures, for by variance all axes are alike then. Straight lines stay straight, also where the latent
        was turned and stretched before. [n, latent] each, of `encode` for the pictures [n, 3, side, side].
        """
        mean, variance = mean.double(), log_variance.double().exp().mean(0)
        covariance = torch.cov(mean.T, correction=0) + torch.diag(variance)
        values, vectors = torch.linalg.eigh(covariance)
        into = vectors / values.sqrt()
        changed = ((mean - mean.mean(0)) @ into).T @ (pictures - pictures.mean(0)).flatten(1).double()
        turn = torch.linalg.eigh(changed @ changed.T)[1].flip(1)
        back, axes = self.back.double(), self.axes.double()
        self.centre.copy_(self.centre.double() + mean.mean(0) @ back)
        self.back.copy_(turn.T @ (values.sqrt()[:, None] * vectors.T) @ back)
        self.axes.copy_(axes @ into @ turn)


def _normed(width: int) -> nn.Module:
    return nn.Sequential(nn.GroupNorm(8, width), nn.SiLU())
