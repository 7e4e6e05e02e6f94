"""Pictures from strangers, made safe: whatever was uploaded becomes an upright RGB picture, or words that say why not.

Knows no model and no form: what size a picture must have is its caller's business.
"""

from __future__ import annotations

import io
import itertools
import math
import re
from collections.abc import Sequence
from typing import Any

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from aigc_demo.errors import Invalid
from aigc_demo.words import Words

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""What people have. Pillow knows forty more, each of them a decoder that strangers could try."""

LARGEST = 64_000_000
"""Pixels. Above every phone's and camera's usual photograph; decoded with its alpha it takes a quarter of a GB."""

PAINTED = 128
"""The lightness or opacity, of 255, from which a mask counts as painted; brushes have soft edges."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what makes it upright."""

_UNREADABLE = Words(
    "This picture cannot be read: it is damaged, incomplete or of a rare kind. Save it again as PNG or JPEG.",
    "无法读取这张图片：它已损坏、不完整，或者格式罕见。请重新保存为 PNG 或 JPEG。",
)


def open_picture(data: bytes) -> Image.Image:
    """An upright RGB picture from an upload: the first frame of an animation, transparency laid over white.

    It carries no metadata: where a photograph was taken is nobody's business. Raises `Invalid`.
    """
    return _over(_decoded(data), "white")


def opened(data: bytes) -> Image.Image:
    """A picture with its header and metadata read and its size checked, but no pixel decoded. Raises `Invalid`."""
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise Invalid(
            Words(
                "This file is not a picture that can be opened, whatever its name says: "
                "take a PNG, JPEG, WebP, GIF, BMP or TIFF file.",
                "无论文件名是什么，该文件都不是可以打开的图片：请使用 PNG、JPEG、WebP、GIF、BMP 或 TIFF 文件。",
            )
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow refuses the largest ones itself, and tells their size only in its sentence.
        pixels = re.search(r"\d+", str(error))
        raise _too_large(int(pixels[0]) if pixels else 2 * LARGEST) from error
    except Exception as error:  # a decoder given a stranger's bytes raises whatever it likes
        raise Invalid(_UNREADABLE) from error
    width, height = picture.size
    if width * height > LARGEST:
        raise _too_large(width * height)
    if width < 1 or height < 1:
        raise Invalid(_UNREADABLE)
    return picture


def fit(picture: Image.Image, width: int, height: int) -> Image.Image:
    """The picture in `width` x `height` pixels: scaled until it covers them, and cropped evenly in the middle."""
    return ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)


def mask(source: Image.Image | bytes, size: tuple[int, int]) -> Image.Image:
    """What was painted: mode "L" in `size` (width, height), 255 where the picture is to be made anew, 0 elsewhere.

    Painted is what is opaque, where the source has an alpha channel that varies (the layer of a
    drawing), and else what is light (a black and white picture). It is scaled and cropped by the rule
    of `fit`, so that it stays over the same parts of a picture of its own shape. Raises `Invalid` where
    nothing is painted.
    """
    picture = _eight_bits(source) if isinstance(source, Image.Image) else _decoded(source)
    painted = _over(picture, "black").convert("L")  # an empty layer is black, even one of transparent white
    if picture.mode == "RGBA":
        alpha = picture.getchannel("A")
        if len(set(alpha.getextrema())) > 1:
            painted = alpha
    painted = painted.point([0] * PAINTED + [255] * (256 - PAINTED))
    fitted = ImageOps.fit(painted, size, Image.Resampling.NEAREST)  # no greys at its edges
    if fitted.getbbox() is None:
        raise Invalid(
            Words(
                "Nothing is painted, or too little to be seen at this size: paint over what should be made anew.",
                "没有涂抹任何区域，或者涂抹得太少，在此尺寸下看不出来：请涂抹需要重新生成的部分。",
            )
        )
    return fitted


def strokes(layer: bytes) -> Image.Image | None:
    """Where something is drawn on a layer over a picture: its opacity, mode "L"; None for an empty layer.

    Unlike `mask`, this knows that it is a drawing: one that covers everything is opaque everywhere, whatever its colour.
    Raises `Invalid`.
    """
    picture = _decoded(layer)
    drawn = picture.getchannel("A") if picture.mode == "RGBA" else picture.convert("L")
    return drawn if drawn.getbbox() else None


def changes(frames: Sequence[Image.Image]) -> tuple[float, ...]:
    """Mean absolute difference of every frame to the one before, of 255. All have one size."""
    import numpy as np

    return tuple(
        float(np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).mean()) for a, b in itertools.pairwise(frames)
    )


def _decoded(data: bytes) -> Image.Image:
    """An upright picture in RGB or, where any of it may be transparent, RGBA."""
    picture = opened(data)
    try:
        picture.load()
        turn = _turn(picture)
        plain = _eight_bits(picture)
        return plain if turn is None else plain.transpose(turn)
    except Exception as error:
        raise Invalid(_UNREADABLE) from error


def _turn(picture: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 - damaged metadata: the picture itself has been read, and stays as it is
        return None


def _eight_bits(picture: Image.Image) -> Image.Image:
    """The picture in RGB or RGBA, of 8 bits a channel; Pillow itself would cut deeper greys off at 255."""
    if picture.mode.startswith("I"):  # 16 bits, or 16 of 32
        picture = picture.convert("I").point(_scaled(1 / 257)).convert("L")
    elif picture.mode == "F":
        highest: Any = picture.getextrema()[1]
        picture = picture.point(_scaled(255 if highest <= 1 else 1)).convert("L")
    clear = picture.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in picture.info
    return picture.convert("RGBA" if clear else "RGB")


def _scaled(factor: float) -> Any:
    return lambda value: value * factor + 0.5  # the conversion to whole numbers rounds down


def _over(picture: Image.Image, colour: str) -> Image.Image:
    """The picture laid over one colour: RGB, and without the metadata of its file."""
    ground = Image.new("RGB", picture.size, colour)
    ground.paste(picture, mask=picture if picture.mode == "RGBA" else None)
    return ground


def _too_large(pixels: int) -> Invalid:
    return Invalid(
        Words(
            "This picture is too large: {size:,} megapixels, and at most {limit:,} are opened. Make it smaller first.",
            "这张图片太大：共 {size:,} 百万像素，最多只能打开 {limit:,} 百万像素。请先将其缩小。",
        ).format(size=math.ceil(pixels / 1e6), limit=LARGEST // 1_000_000)
    )
