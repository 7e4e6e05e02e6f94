"""A grid as one picture: the cells in their places, with both axes written beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from aigc_demo.generators.diffusion_axes import AXES, NONE, Axis

LARGEST = 16_000_000
"""Pixels of a sheet; the cells of a larger one are made smaller."""
LEAST = 160
"""Pixels that a cell is enlarged to, by whole times, so that its label has room."""
LINES = 3
PAPER, INK, QUIET, EMPTY = "#ffffff", "#0f172a", "#64748b", "#f1f5f9"
SYSTEM_FONTS = (
    *("NotoSansCJK-Regular.ttc", "NotoSansSC-Regular.otf", "PingFang.ttc", "msyh.ttc", "wqy-microhei.ttc"),
    *("DroidSansFallbackFull.ttf", "DejaVuSans.ttf", "arial.ttf"),
)
"""For labels that Pillow's own font cannot write."""


def sheet(x: Axis, y: Axis, pictures: Mapping[tuple[int, int], Image.Image], language: str) -> Image.Image:
    """pictures: by (column, row); a cell without one stays empty."""
    across, down = len(x.entries), len(y.entries)
    width = max((p.width for p in pictures.values()), default=LEAST)
    height = max((p.height for p in pictures.values()), default=LEAST)
    times: float = max(1, -(-LEAST // min(width, height)))
    times = min(times, (LARGEST / (width * height * across * down)) ** 0.5)
    width, height = max(1, round(width * times)), max(1, round(height * times))
    size = round(min(40, max(14, min(width, height) / 18)))
    gap = size // 2
    columns = [_lines(label.to(language), n, width, size) for n, label in enumerate(x.labels)]
    rows = [_lines(label.to(language), n, max(width // 2, 5 * size), size) for n, label in enumerate(y.labels)]
    titles = [AXES[axis.name].to(language) if axis.name != NONE else "" for axis in (x, y)]
    over = [_lines(titles[0], 0, across * (width + gap), size), _lines(titles[1], 0, max(width // 2, 5 * size), size)]
    left = max((_wide(line, size) for lines in (*rows, over[1]) for line in lines), default=0)
    left += 2 * gap if left else gap
    line = round(size * 1.35)
    top = line * (len(over[0]) + max(map(len, columns), default=0)) + gap
    top = max(top, line * len(over[1])) + (gap if top > gap or over[1] else 0)
    page = Image.new("RGB", (left + across * (width + gap), top + down * (height + gap)), PAPER)
    pen = ImageDraw.Draw(page)

    def write(lines: list[str], right: float, bottom: float, colour: str, anchor: str) -> None:
        for n, text in enumerate(reversed(lines)):
            pen.text((right, bottom - n * line), text, colour, _font(text, size), anchor)

    middle = left + (across * (width + gap) - gap) / 2
    write(over[0], middle, gap + line * len(over[0]) - gap // 2, QUIET, "mb")
    write(over[1], left - gap, top - gap // 2, QUIET, "rb")
    for column, lines in enumerate(columns):
        write(lines, left + column * (width + gap) + width / 2, top - gap // 2, INK, "mb")
    for row, lines in enumerate(rows):
        centre = top + row * (height + gap) + height / 2
        write(lines, left - gap, centre + line * len(lines) / 2, INK, "rb")
    for row in range(down):
        for column in range(across):
            at = left + column * (width + gap), top + row * (height + gap)
            picture = pictures.get((column, row))
            if picture is None:
                pen.rectangle((*at, at[0] + width - 1, at[1] + height - 1), EMPTY)
            else:
                page.paste(_fitted(picture.convert("RGB"), width, height), at)
    return page


def _fitted(picture: Image.Image, width: int, height: int) -> Image.Image:
    """In the middle of a cell: enlarged by whole pixels, which stay what they are, or made smaller smoothly."""
    scale = min(width / picture.width, height / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    way = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    cell = Image.new("RGB", (width, height), EMPTY)
    cell.paste(picture.resize(size, way), ((width - size[0]) // 2, (height - size[1]) // 2))
    return cell


def _lines(text: str, number: int, width: int, size: int) -> list[str]:
    """A label broken to a width; by its number where no font of this machine can write it."""
    if text and not _writes(_font(text, size), text):
        text = f"#{number + 1}"
    found: list[str] = []
    while text:
        fits = next((n for n in range(len(text), 1, -1) if _wide(text[:n], size) <= width), 1)
        if fits < len(text) and " " in text[1:fits]:
            fits = text.rindex(" ", 1, fits) + 1
        found.append(text[:fits].strip())
        text = text[fits:].strip()
        if len(found) == LINES and text:
            found[-1] = found[-1][:-1] + "…"
            break
    return found


def _wide(text: str, size: int) -> int:
    return round(_font(text, size).getlength(text))


def _font(text: str, size: int) -> Any:
    """The first font that has every letter of the text; Pillow's own where none has."""
    own = ImageFont.load_default(size)
    if _writes(own, text):
        return own
    for name in SYSTEM_FONTS:
        try:
            font = ImageFont.truetype(name, size)
        except OSError:
            continue
        if _writes(font, text):
            return font
    return own


def _writes(font: Any, text: str) -> bool:
    """Whether it has all the letters: a missing one is drawn as one that no font has."""
    nothing = bytes(font.getmask("\U0010fffe"))
    return all(letter.isspace() or bytes(font.getmask(letter)) != nothing for letter in set(text))
