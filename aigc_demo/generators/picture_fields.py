"""Fields of a request that hold a picture: what may be given, and how a recipe names it."""

from __future__ import annotations

import hashlib
from typing import Any

from PIL import Image

from aigc_demo.params import Refused
from aigc_demo.pictures import mask, open_picture, opened
from aigc_demo.words import Words

BY_DIGEST = "sha256:"

KINDS = "PNG, JPEG, WebP, GIF, BMP, TIFF"
"""What a picture may come as, for the parameter tables."""


def check_picture(value: Any) -> Image.Image | None:
    """A file's bytes, or a picture; upright and RGB. A digest, as recipes hold it, is no picture."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return open_picture(value)
    if isinstance(value, Image.Image):
        return value.convert("RGB")
    if isinstance(value, str) and value.startswith(BY_DIGEST):
        raise Refused(
            Words(
                "is only named in this recipe, not contained: give it again",
                "在配方中只有名称而没有内容：请重新提供",
            )
        )
    raise Refused(Words("must be a picture", "须为图片"))


def check_pictures(value: Any, fewest: int, most: int) -> tuple[Image.Image, ...]:
    """Several, in order."""
    if not isinstance(value, list | tuple) or not fewest <= len(value) <= most:
        raise Refused(
            Words("must be from {low} to {high} pictures", "须为 {low} 到 {high} 张图片").format(low=fewest, high=most)
        )
    found = tuple(picture for one in value if (picture := check_picture(one)) is not None)
    if len(found) < len(value):
        raise Refused(Words("must all be pictures", "须全部为图片"))
    return found


def check_mask(value: Any) -> Image.Image | None:
    """The same for a mask: mode "L", 255 where something is to be painted."""
    if isinstance(value, bytes):
        return mask(value, opened(value).size)
    if isinstance(value, Image.Image):
        return mask(value, value.size)
    return check_picture(value)


def digest(picture: Image.Image | None) -> str | None:
    """The name of a picture in recipes: of its pixels, so that it is the same whatever file they came in."""
    if picture is None:
        return None
    return BY_DIGEST + hashlib.sha256(f"{picture.mode} {picture.size}".encode() + picture.tobytes()).hexdigest()[:32]
