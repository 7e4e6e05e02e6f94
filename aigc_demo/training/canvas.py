"""Plans into pictures, a batch at a time: turned in hue, moved a little, laid over their ground.

All of it is a few batched tensor operations, so that two cores spend their time on learning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aigc_demo.training import hue
from aigc_demo.training.captions import Plan

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Jitter:
    """How far a picture may be moved: rotation in degrees, scale from-to, shift as a share of the side, mirroring;
    how far it may be bent (a share of the side again), and made lighter or darker."""

    rotate: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shift: float = 0.0
    mirror: float = 0.0
    light: float = 0.0
    warp: float = 0.0


STILL = Jitter()


def shelf(pixels: np.ndarray, size: int, device: str = "cpu") -> torch.Tensor:
    """uint8 [n, size, size, 4] *premultiplied* by alpha (so that resampling mixes no hidden colours), averaged to `size`."""
    import torch

    step = pixels.shape[1] // size
    out = np.empty((len(pixels), size, size, 4), np.uint8)
    for i, picture in enumerate(pixels):
        value = picture.astype(np.float32)
        value[..., :3] *= value[..., 3:] / 255
        out[i] = np.round(value.reshape(size, step, size, step, 4).mean((1, 3)))
    return torch.from_numpy(out).to(device)


def compose(
    shelf: torch.Tensor, plans: Sequence[Plan], generator: torch.Generator, jitter: Jitter = STILL
) -> tuple[torch.Tensor, torch.Tensor]:
    """(pictures float32 [n, 3, s, s] in -1..1, foreground [n, 1, s, s] in 0..1).

    shelf: from `shelf()`. The generator is a CPU one and is the only source of chance.
    """
    import torch

    size, device = shelf.shape[1], shelf.device
    slots = [(n, k, len(plan.pieces), *piece) for n, plan in enumerate(plans) for k, piece in enumerate(plan.pieces)]
    owner = torch.tensor([n for n, *_ in slots], device=device)
    layer = torch.tensor([k for _, k, *_ in slots], device=device)
    rgba = shelf[torch.tensor([s[3] for s in slots], device=device)].float().div_(255)
    turned = [i for i, s in enumerate(slots) if s[4]]
    if turned:
        matrices = torch.from_numpy(np.stack([hue.turn(slots[i][4]) for i in turned])).to(device)
        rows = rgba[turned]
        rgb = torch.einsum("nhwc,ncd->nhwd", rows[..., :3], matrices)
        rows[..., :3] = rgb.clamp_min(0).minimum(rows[..., 3:])  # premultiplied: a colour is at most its alpha
        rgba[turned] = rows
    rgba = rgba.permute(0, 3, 1, 2)
    places = torch.tensor([(2 * (k + 0.5) / count - 1, 1.0 / count if count > 1 else 1.0) for _, k, count, *_ in slots])
    grid_wanted = jitter != STILL or any(count > 1 for _, _, count, *_ in slots)
    if grid_wanted:
        grids = _grids(places, generator, jitter, size).to(device)
        rgba = torch.nn.functional.grid_sample(rgba, grids, align_corners=False)
    grounds = [hue.BACKGROUNDS[p.ground][0] if p.ground else (255, 255, 255) for p in plans]
    canvas = torch.tensor(grounds, device=device).float().div_(255)[:, :, None, None].repeat(1, 1, size, size)
    cover = torch.zeros(len(plans), 1, size, size, device=device)
    for k in range(int(layer.max()) + 1):
        these = layer == k
        where, piece = owner[these], rgba[these]
        canvas[where] = canvas[where] * (1 - piece[:, 3:]) + piece[:, :3]
        cover[where] = torch.maximum(cover[where], piece[:, 3:])
    if jitter.light:
        draw = torch.rand(len(plans), 2, 1, 1, 1, generator=generator).to(device) * 2 - 1
        canvas = ((canvas - 0.5) * (1 + jitter.light * draw[:, 0]) + 0.5 + jitter.light / 2 * draw[:, 1]).clamp(0, 1)
    return canvas * 2 - 1, cover


def _grids(places: torch.Tensor, generator: torch.Generator, jitter: Jitter, size: int) -> torch.Tensor:
    """[n, size, size, 2] sampling grids. places: [n, 2], each piece's centre across the canvas and its share of it."""
    import torch

    n = len(places)
    draw = torch.rand(n, 5, generator=generator)
    angle = (draw[:, 0] * 2 - 1) * np.radians(jitter.rotate)
    scale = (jitter.scale[0] + draw[:, 1] * (jitter.scale[1] - jitter.scale[0])) * places[:, 1]
    move = (draw[:, 2:4] * 2 - 1) * jitter.shift * 2 * places[:, 1:]
    flip = 1 - 2 * (draw[:, 4] < jitter.mirror).float()
    centre = torch.stack([places[:, 0] + move[:, 0], move[:, 1]], 1)
    centre[places[:, 1] == 1, 0] -= places[places[:, 1] == 1, 0]
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    rows = torch.stack([torch.stack([cos * flip, sin * flip], 1), torch.stack([-sin, cos], 1)], 1)
    offset = -(rows @ centre[:, :, None])
    grids = torch.nn.functional.affine_grid(torch.cat([rows, offset], 2), [n, 1, size, size], align_corners=False)
    if jitter.warp:
        bends = torch.randn(n, 2, 4, 4, generator=generator) * 2 * jitter.warp
        smooth = torch.nn.functional.interpolate(bends, size=(size, size), mode="bicubic", align_corners=True)
        grids = grids + smooth.permute(0, 2, 3, 1)
    return grids


def white(shelf: torch.Tensor) -> torch.Tensor:
    """float32 [n, 3, s, s] in -1..1: premultiplied pictures as they are, on white."""
    rgba = shelf.permute(0, 3, 1, 2).float().div(255)
    return (rgba[:, :3] + 1 - rgba[:, 3:]) * 2 - 1
