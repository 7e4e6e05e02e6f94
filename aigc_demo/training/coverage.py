"""A generator that leaves nothing out: each picture gets a latent that already comes close to it, and pulls.

An adversary says whether a sample could be real, never which of the real ones no sample looks like. Implicit maximum
likelihood asks just that (Li and Malik, arXiv 1809.09087): of some fresh samples the nearest to each picture is found, and
drawn towards it. Here no two pictures get the same sample, for what is drawn two ways ends as the blur between.

Near is meant in emoji-clip's features, and in colours: told by pixels alone, a blur is near to everything.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

SAMPLES = 2
"""Fresh samples per picture to choose from. More would find nearer ones, and ask less of the generator: with n samples
it is enough that one latent in n comes close."""
EVERY = 100
"""Steps until all are chosen anew."""
COLOURS = 8
"""Side in px of what is compared in colour."""
BATCH = 64


class Coverage(torch.nn.Module):
    """pictures: float32 [n, 3, s, s] in -1..1. seen: features of pictures, whose products are their likeness, at most 1.
    Which latent is whose is a buffer, so a run that goes on knows it."""

    latents: torch.Tensor

    def __init__(self, pictures: torch.Tensor, latent: int, seen: Any):
        super().__init__()
        self._pictures, self._seen = pictures, seen
        self.register_buffer("latents", torch.zeros(len(pictures), latent, device=pictures.device))

    def choose(self, maker: Any, generator: torch.Generator) -> None:
        """Give each picture, in an order of chance, the nearest of the samples that are left."""
        n, latent = self.latents.shape
        z = torch.randn(SAMPLES * n, latent, generator=generator).to(self.latents.device)
        with torch.no_grad():
            wanted = torch.cat([self._seen(part) for part in self._pictures.split(BATCH)])
            like = torch.cat([wanted @ self._seen(maker(part)).T for part in z.split(BATCH)], 1).cpu()
        for place in torch.randperm(n, generator=generator).tolist():
            chosen = int(like[place].argmax())
            self.latents[place] = z[chosen]
            like[:, chosen] = float("-inf")

    def forward(self, maker: Any, count: int, generator: torch.Generator) -> torch.Tensor:
        """How far what the latents of `count` of the pictures make is from these: in features, and in colours."""
        chosen = torch.randperm(len(self.latents), generator=generator)[:count].to(self.latents.device)
        made, wanted = maker(self.latents[chosen]), self._pictures[chosen]
        with torch.no_grad():
            known = self._seen(wanted)
        unlike = 1 - (known * self._seen(made)).sum(1).mean()
        return unlike + functional.l1_loss(_coarse(made), _coarse(wanted))


def _coarse(pictures: torch.Tensor) -> torch.Tensor:
    return functional.adaptive_avg_pool2d(pictures.float(), COLOURS)
