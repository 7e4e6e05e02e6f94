"""Pictures as autoencoders take and give them: fitted to a model's size, as numbers, and as pictures again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from aigc_demo.generators.latent_model import VECTOR, LatentModel

if TYPE_CHECKING:
    import torch
    from PIL import Image

AT_ONCE = 16
"""Frames that are decoded together at most; more gain nothing on any device that was measured."""
NUMBERS_PER_PIXEL = 1500
"""What decoders hold per pixel of a picture while they work, in numbers: about that of AutoencoderKL, the largest."""
SHARE = 0.25
"""Of the free memory, that one batch may take."""

T = TypeVar("T")


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def fitted(picture: Image.Image, model: LatentModel, size: int) -> Image.Image:
    """The picture as the encoder takes it: its longer side `size` px (the model's own where 0), its sides rounded to
    whole places of the latent; laid on a white square for a vector latent."""
    if model.kind == VECTOR:
        return squared(picture, model, size)
    longest = size or model.side
    scale = longest / max(picture.size)
    sides = [max(1, round(side * scale / model.factor)) * model.factor for side in picture.size]
    return _resized(picture, (sides[0], sides[1]))


def squared(picture: Image.Image, model: LatentModel, size: int) -> Image.Image:
    """The picture in the middle of a white square; every picture of a way has the same size."""
    from PIL import Image

    side = side_of(model, size)
    scale = side / max(picture.size)
    small = _resized(picture, tuple(max(1, round(s * scale)) for s in picture.size))  # type: ignore[arg-type] # two
    square = Image.new("RGB", (side, side), "white")
    square.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
    return square


def _resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    from PIL import Image

    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def side_of(model: LatentModel, size: int) -> int:
    """Of the square pictures of a way or a draw, in pixels."""
    if model.kind == VECTOR:
        return model.side
    return max(1, round((size or model.side) / model.factor)) * model.factor


def batch_of(model: LatentModel, size: tuple[int, int]) -> int:
    """How many pictures of a size go through together: as many as a share of the free memory holds."""
    need = size[0] * size[1] * NUMBERS_PER_PIXEL * model.dtype.itemsize
    return int(min(AT_ONCE, max(1, SHARE * model.device.free_memory() // need)))


def encoded(model: LatentModel, part: Sequence[Image.Image]) -> torch.Tensor:
    import torch

    with torch.no_grad():
        return model.encode(tensor(part))[0]


def decoded(model: LatentModel, latents: torch.Tensor) -> list[Image.Image]:
    import torch

    with torch.no_grad():
        return pictures(model.decode(latents))


def tensor(given: Sequence[Image.Image]) -> torch.Tensor:
    """float32 [n, 3, h, w] in -1..1 of pictures of one size."""
    import torch

    return torch.from_numpy(np.stack([np.asarray(one) for one in given])).permute(0, 3, 1, 2).float() / 127.5 - 1


def pictures(made: torch.Tensor) -> list[Image.Image]:
    """Pictures of [n, 3, h, w] in -1..1; what lies outside is cut off."""
    whole = ((made.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return [picture_of(one) for one in whole]


def channel_pictures(latent: torch.Tensor) -> tuple[Image.Image, ...]:
    """A grey picture per channel of [c, h, w], or one of a vector [n] folded into rows, from its least value to its
    largest."""
    import torch
    from torch.nn import functional

    if latent.ndim == 1:
        columns = 2 ** max(0, (len(latent).bit_length()) // 2)
        latent = functional.pad(latent, (0, -len(latent) % columns)).view(1, -1, columns)
    flat = latent.flatten(1)
    low, high = flat.min(1).values[:, None, None], flat.max(1).values[:, None, None]
    grey = ((latent - low) / (high - low).clamp_min(1e-12) * 255).round().to(torch.uint8).numpy()
    return tuple(picture_of(one) for one in grey)


def picture_of(pixels: np.ndarray) -> Image.Image:
    """Of uint8 [h, w, 3] or [h, w]."""
    from PIL import Image

    return Image.fromarray(pixels)
