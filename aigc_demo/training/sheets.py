"""Contact sheets: what a person looks at to see whether it goes well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    import torch


def grid(pictures: torch.Tensor, columns: int, gap: int = 4) -> Image.Image:
    """Pictures [n, 3, s, s] in -1..1, row by row, on light grey."""
    side = pictures.shape[-1]
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (side + gap) + gap, rows * (side + gap) + gap), (225, 225, 225))
    for i, picture in enumerate(as_pictures(pictures)):
        sheet.paste(picture, (gap + i % columns * (side + gap), gap + i // columns * (side + gap)))
    return sheet


def as_pictures(pictures: torch.Tensor) -> list[Image.Image]:
    """Of [n, 3, s, s] in -1..1."""
    import torch

    array = ((pictures.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(picture) for picture in array]
