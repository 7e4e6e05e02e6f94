"""A generator that leaves nothing out: each picture gets a latent that already comes close to it, and pulls.

An adversary says whether a sample could be real, never which of the real ones no sample looks like. Implicit maximum
likelihood asks just that (Li and Malik, arXiv 1809.09087): of some fresh samples the nearest to each picture is found, and
drawn towards it. Here no two pictures get the same sample, for what is drawn two ways ends as the blur between; and all
are found together, so that what lies between picture and sample is as little as it can be in all.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

EVERY = 100
"""Steps until all are chosen anew."""
SEEN = 32
"""Side in px of what the nearest is found by: faces stand alike, so pixels do."""
SIDES = (64, 32, 16)


class Coverage(torch.nn.Module):
    """pictures: float32 [n, 3, 64, 64] in -1..1. Which latent is whose is a buffer, so a run that goes on knows it."""

    latents: torch.Tensor

    def __init__(self, pictures: torch.Tensor, latent: int, candidates: int):
        super().__init__()
        self._pictures, self._candidates = pictures, candidates
        self.register_buffer("latents", torch.zeros(len(pictures), latent, device=pictures.device))

    def choose(self, maker: Any, generator: torch.Generator) -> None:
        """Give each picture a fresh sample of its own."""
        from scipy.optimize import linear_sum_assignment

        n, latent = self.latents.shape
        z = torch.randn(self._candidates * n, latent, generator=generator).to(self.latents.device)
        with torch.no_grad():
            made = torch.cat([small(maker(part), SEEN) for part in z.split(64)])
            apart = torch.cdist(small(self._pictures, SEEN).flatten(1), made.flatten(1))
        _, chosen = linear_sum_assignment(apart.cpu().numpy())
        self.latents.copy_(z[torch.from_numpy(chosen).to(z.device)])

    def forward(self, maker: Any, count: int, generator: torch.Generator) -> torch.Tensor:
        """Mean absolute difference of `count` of the pictures, at several sizes, from what their latents make."""
        chosen = torch.randperm(len(self.latents), generator=generator)[:count].to(self.latents.device)
        made, wanted = maker(self.latents[chosen]), self._pictures[chosen]
        return torch.stack([functional.l1_loss(small(made, side), small(wanted, side)) for side in SIDES]).mean()


def small(pictures: torch.Tensor, side: int) -> torch.Tensor:
    return functional.adaptive_avg_pool2d(pictures.float(), side)
