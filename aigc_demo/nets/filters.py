"""Fixed filters over pictures [n, c, h, w]: nothing here is learnt."""

from __future__ import annotations

import torch
from torch.nn import functional

BINOMIAL = {3: (1.0, 2.0, 1.0), 5: (1.0, 4.0, 6.0, 4.0, 1.0)}


def blur(pictures: torch.Tensor, taps: int) -> torch.Tensor:
    """Binomial blur over 3 or 5 px (variance 1/2 or 1 px), float32; the rim is repeated."""
    line = torch.tensor(BINOMIAL[taps], device=pictures.device)
    channels = pictures.shape[1]
    window = (line[:, None] * line[None] / line.sum() ** 2)[None, None].expand(channels, 1, taps, taps)
    padded = functional.pad(pictures.float(), (taps // 2,) * 4, mode="replicate")
    return functional.conv2d(padded, window, groups=channels)


def crisp(pictures: torch.Tensor, strength: float, times: int) -> torch.Tensor:
    """Soft edges made steep, `times` over: away from the blur by `strength`, yet never past what the 3x3 px around
    hold. So flat colours stay flat, and no halo arises: a shock filter (Osher and Rudin 1990) with the bounds of
    morphology. float32.
    """
    for _ in range(times):
        padded = functional.pad(pictures.float(), (1, 1, 1, 1), mode="replicate")
        highest, lowest = functional.max_pool2d(padded, 3, 1), -functional.max_pool2d(-padded, 3, 1)
        pictures = pictures + strength * (pictures - blur(pictures, 5))
        pictures = torch.minimum(torch.maximum(pictures, lowest), highest)
    return pictures
