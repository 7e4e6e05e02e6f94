"""Pictures without a recipe, with a damaged one, or made to do harm, end in words."""

from __future__ import annotations

import io
import json
import string
import time
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pngs import (
    LINE,
    PICTURE,
    chunk,
    exif,
    from_line,
    made,
    plain,
    refusal,
    with_chunk,
    with_text,
)

from aigc_demo import png, recipe
from aigc_demo.errors import UserError


# The commonest case by far is a screenshot, or a picture that went through a chat: the words say what became of it.
@pytest.mark.parametrize(
    "data",
    [
        plain(),
        with_text("Software", "a paint program"),
        with_text("parameters", ""),
        with_text("parameters", " \n "),
        with_text("parameters", '{"sui_image_params": {"prompt": "a"}}'),
        with_text("workflow", '{"nodes": []}'),
        plain()[:-30],
    ],
)
def test_a_picture_without_a_recipe(data: bytes):
    assert "carries no recipe" in refusal(data)


# Damage to our recipe has the same words in a picture as in a file, and is never papered over with half of it.
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{", "does not hold JSON"),
        ("[" * 100_000, "does not hold JSON"),
        ('{"format": ' + "9" * 10_000 + "}", "does not hold JSON"),
        ("[]", "not a recipe"),
        (json.dumps({"format": recipe.FORMAT, "family": "images"}), "settings are missing"),
        (json.dumps(made(padding="x" * 5_000_000)), "too large for a recipe: 5.0 MB"),
    ],
)
def test_damaged_recipes(value: str, said: str):
    data = with_text("aigc-demo", value)
    assert said in refusal(data)


# A kilobyte can unpack to a gigabyte of text: Pillow stops early, and the person reads words.
@pytest.mark.parametrize("name", [b"parameters", b"aigc-demo", b"Comment"])
@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_text_bombs(name: bytes, kind: bytes):
    flags = b"\1\0\0\0" if kind == b"iTXt" else b"\0"
    data = with_chunk(kind, name + b"\0" + flags + zlib.compress(b"a" * 30_000_000))
    assert "cannot be read" in refusal(data)


# The same by number instead of by size.
def test_a_flood_of_text():
    small = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 1_000_000))
    data = plain()
    at = data.index(b"IDAT") - 4
    assert "cannot be read" in refusal(data[:at] + small * 80 + data[at:])


LONG = 1_000_000
HOSTILE = {
    "a prompt without end": "a" * LONG,
    "a name without end": "Steps: " + "a" * LONG,
    "names": "Steps: 1, " + "a b" * LONG,
    "spaces": "Steps: 1," + " " * LONG + "x",
    "commas": "Steps: 1" + "," * LONG,
    "colons": "Steps: 1, " + "a:" * LONG,
    "open quotes": "Steps: 1, " + 'a: "b, ' * (LONG // 7),
    "backslashes": 'Steps: 1, a: "' + "\\" * LONG,
    "escaped quotes": "Steps: 1, " + 'a: "\\", ' * (LONG // 8),
    "rows": "Steps: x\n" * (LONG // 9),
    "empty rows": "a" + "\n" * LONG + "b",
    "negatives": "Negative prompt: \n" * (LONG // 18),
    "brackets": "[" * LONG,
    "too much of it": "a\n" * 3_000_000,
}


# A line of a million characters is read in the time of a line, whatever it is made of: one visitor must not stop the rest.
@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_line_without_end(line: str):
    data = with_text("parameters", line)
    began = time.process_time()
    try:
        png.read(data)
    except UserError as error:
        assert len(error.words.en) < 500  # noqa: PT017 - either outcome is right; only a wait or another error is not
    assert time.process_time() - began < 5


PARTS = [
    "Steps: 20",
    "Sampler: Euler a",
    "Size: 1x",
    "Seed: ",
    '"',
    "\\",
    ",",
    ":",
    "\n",
    "Negative prompt:",
    "{",
    "9" * 30,
]


# Whatever a stranger wrote in the line, settings come of it or words.
@given(st.lists(st.sampled_from(PARTS) | st.text(max_size=5), max_size=20).map(" ".join))
@settings(deadline=None, max_examples=300)
def test_any_line(line: str):
    line = "".join(c for c in line if c not in string.whitespace or c in " \n")
    try:
        found = from_line(line)
    except UserError:
        return
    assert json.dumps(found)


# Whatever the file has suffered, a recipe comes of it or words; never an exception that nobody expected.
@pytest.mark.filterwarnings("ignore")
@given(st.integers(0, 1), st.lists(st.tuples(st.integers(0, 3000), st.binary(max_size=4)), max_size=5), st.booleans())
@settings(deadline=None, max_examples=300)
def test_any_damage(which: int, damages: list[tuple[int, bytes]], mended: bool):
    jpeg = io.BytesIO()
    PICTURE.save(jpeg, "JPEG", exif=exif(b"UNICODE\0" + LINE.encode("utf-16-be")))
    data = bytearray([png.write(PICTURE, made()), jpeg.getvalue()][which])
    for at, damage in damages:
        data[at % len(data) : at % len(data) + len(damage)] = damage
    try:
        found = png.read_any(_mend(bytes(data)) if mended else bytes(data))
    except UserError:
        return
    assert isinstance(found.family, str)
    assert isinstance(found.settings, dict)


def _mend(data: bytes) -> bytes:
    """The same PNG with checksums that fit, so that the damage gets past them."""
    at, out = 8, data[:8]
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + size > len(data):
            break
        out += chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + size])
        at += 12 + size
    return out + data[at:]


# Any bytes at all, of any beginning that is looked at.
@given(st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF"]), st.binary(max_size=200))
@settings(deadline=None, max_examples=200)
def test_any_bytes(start: bytes, rest: bytes):
    try:
        png.read_any(start + rest)
    except UserError as error:
        assert error.words.zh  # noqa: PT017 - either outcome is right
