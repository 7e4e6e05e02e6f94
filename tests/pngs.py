"""Pictures with recipes in them, for the tests of reading them."""

from __future__ import annotations

import io
import random
import struct
import zlib
from typing import Any

import pytest
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin

from aigc_demo import png, recipe
from aigc_demo.errors import Invalid

PICTURE = Image.frombytes("RGB", (16, 16), random.Random(0).randbytes(16 * 16 * 3))
SETTINGS: dict[str, Any] = {
    "model": "emoji",
    "prompt": "a cat, on a roof",
    "negative_prompt": "rain",
    "num_inference_steps": 20,
    "guidance_scale": 7.5,
    "scheduler": "euler_a",
    "seed": 1,
    "width": 512,
    "height": 256,
    "strength": 0.6,
}
LINE = (
    "a cat, on a roof\nNegative prompt: rain\nSteps: 20, Sampler: Euler a, CFG scale: 7.5, Seed: 1, "
    "Size: 512x256, Model: Emoji Diffusion, Denoising strength: 0.6"
)
OTHERS = {name: value for name, value in SETTINGS.items() if name != "model"}
"""The settings that a line tells: all but the model."""


def made(**changes: Any) -> dict[str, Any]:
    return {
        "format": recipe.FORMAT,
        "family": "images",
        "settings": SETTINGS | changes,
        "model": {"id": "emoji", "name": "Emoji Diffusion"},
    }


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def plain() -> bytes:
    file = io.BytesIO()
    PICTURE.save(file, "PNG")
    return file.getvalue()


def with_chunk(name: bytes, content: bytes, last: bool = False) -> bytes:
    """A PNG with one more chunk, before its pixels or after them."""
    data = plain()
    at = data.index(b"IEND" if last else b"IDAT") - 4
    return data[:at] + chunk(name, content) + data[at:]


def with_text(name: str, value: str) -> bytes:
    """A PNG as other programs write it: with one text chunk."""
    info = PngImagePlugin.PngInfo()
    info.add_text(name, value)
    file = io.BytesIO()
    PICTURE.save(file, "PNG", pnginfo=info)
    return file.getvalue()


def exif(comment: bytes) -> Image.Exif:
    found = Image.Exif()
    found[ExifTags.Base.Software] = "another program"  # without a tag of its own, Pillow saves none of it
    found.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    return found


def from_line(line: str) -> dict[str, Any]:
    found = png.read(with_text("parameters", line))
    assert found.family == "images"
    return found.settings


def refusal(data: bytes) -> str:
    with pytest.raises(Invalid) as caught:
        png.read_any(data)
    assert caught.value.words.zh.endswith("。")
    return caught.value.words.en


TEXT = st.text(max_size=60) | st.text(st.sampled_from('ab ,:"\\\n\r\0\x85\u2028猫😀'), max_size=40)
LONE = st.text(st.characters(categories=["Cs", "L"]), max_size=10)
