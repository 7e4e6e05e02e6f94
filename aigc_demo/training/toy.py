"""A pack of a few drawn shapes, made in a moment without any network: what `smoke` runs learn from.

It has the shape of the real one (concepts, four styles, two languages), so that every line of training,
checkpoint, export and evaluation runs in tests.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from aigc_demo.training.concepts import STYLES, Concept
from aigc_demo.training.data import SIZE, Pack, Picture
from aigc_demo.training.sources import FURTHER_PACKAGES
from aigc_demo.training.splits import Split
from aigc_demo.words import Words

COLOURS = {"red": (220, 40, 40), "gold": (240, 190, 40), "green": (40, 170, 80), "blue": (60, 90, 220)}
SHAPES = {
    "disc": ("disc", "圆盘"),
    "box": ("box", "方盒"),
    "tent": ("tent", "帐篷"),
    "bar": ("bar", "木条"),
    "ring": ("ring", "圆环"),
    "gem": ("gem", "宝石"),
}
FURTHER = next(iter(FURTHER_PACKAGES))


def pack() -> Pack:
    """24 concepts (a shape in a colour), four pictures each; and the discs and gems in a further style."""
    concepts, pictures, pixels = [], [], []
    more: list[tuple[Picture, np.ndarray]] = []
    for s, (shape, (en, zh)) in enumerate(SHAPES.items()):
        for c, (colour, rgb) in enumerate(COLOURS.items()):
            slug = f"{shape}-{c}"
            code = f"{0xE000 + 16 * s + c:x}"
            concepts.append(Concept(slug, code, "Toys", Words(f"{en} {c}", f"{zh}{c}"), (en, colour), (zh,)))
            for k, style in enumerate(STYLES):
                pictures.append(Picture(len(concepts) - 1, style))
                pixels.append(np.asarray(_draw(shape, rgb, k)))
            if shape in ("disc", "gem"):
                more.append((Picture(len(concepts) - 1, FURTHER), np.asarray(_draw(shape, rgb, len(STYLES)))))
    return Pack(concepts, [*pictures, *(p for p, _ in more)], np.stack([*pixels, *(drawn for _, drawn in more)]))


def split(toys: Pack) -> Split:
    """The gems are the family that nobody sees; the boxes' last style is kept from the naming models."""
    slugs = [c.slug for c in toys.concepts]
    return Split(
        {s: s.split("-")[0] for s in slugs},
        frozenset(s for s in slugs if s.startswith("gem")),
        {s: "twemoji" for s in slugs if s.startswith("box")},
    )


def _draw(shape: str, rgb: tuple[int, int, int], style: int) -> Image.Image:
    image = Image.new("RGBA", (SIZE, SIZE), (0, 0, 0, 0))
    pen = ImageDraw.Draw(image)
    low, high = 16 + 4 * style, SIZE - 16 - 4 * style
    fill, line = (*rgb, 255), (*(v // (style + 1) for v in rgb), 255)
    if shape == "disc":
        pen.ellipse((low, low, high, high), fill, line, 4)
    elif shape == "box":
        pen.rectangle((low, low, high, high), fill, line, 4)
    elif shape == "tent":
        pen.polygon([(SIZE // 2, low), (high, high), (low, high)], fill, line)
    elif shape == "bar":
        pen.rectangle((low, SIZE // 2 - 14, high, SIZE // 2 + 14), fill, line, 4)
    elif shape == "ring":
        pen.ellipse((low, low, high, high), None, fill, 18)
    else:
        middle = SIZE // 2
        pen.polygon([(middle, low), (high, middle), (middle, high), (low, middle)], fill, line)
    return image
