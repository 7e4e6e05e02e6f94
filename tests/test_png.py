"""A picture carries its recipe and gives it back, ours or another program's; hostile metadata ends in words."""

from __future__ import annotations

import io
import json
import random
import string
import struct
import time
import zlib
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin

from aigc_demo import png, recipe
from aigc_demo.errors import Invalid, UserError
from aigc_demo.params import clean

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


# Dropped back on the page, a picture restores its request exactly, whatever stands in its prompt.
@given(TEXT | LONE, TEXT, st.integers(0, 2**31 - 1), st.floats(1, 20))
@example("\ud83d", "\\ud800", 0, 0.1 + 0.2)
@settings(deadline=None, max_examples=200)
def test_what_was_written_is_read(prompt: str, negative: str, seed: int, scale: float):
    changes = {"prompt": prompt, "negative_prompt": negative, "seed": seed, "guidance_scale": scale}
    found = png.read(png.write(PICTURE, made(**changes)))
    assert found == recipe.Recipe("images", SETTINGS | changes)


# The recipe is written beside the pixels, never into them.
def test_the_pixels_are_untouched():
    with Image.open(io.BytesIO(png.write(PICTURE, made()))) as found:
        assert found.format == "PNG"
        assert found.tobytes() == PICTURE.tobytes()


# Other programs and viewers find the line under the name and in the form that they know.
def test_the_line_is_the_widely_read_one():
    with Image.open(io.BytesIO(png.write(PICTURE, made()))) as found:
        assert found.info["parameters"] == LINE
        assert json.loads(found.info["aigc-demo"]) == made()


# Chinese has no place in the older kind of chunk; both texts arrive all the same, and readable as they stand.
def test_chinese_stands_as_chinese():
    data = png.write(PICTURE, made(prompt="屋顶上的猫"))
    assert data.count("屋顶上的猫".encode()) == 2
    with Image.open(io.BytesIO(data)) as found:
        assert found.info["parameters"].startswith("屋顶上的猫\n")


# The networks and autoencoders have no prompt: nobody could use a line about them, and their recipe returns all the same.
def test_a_recipe_without_a_prompt():
    gan = {"format": recipe.FORMAT, "family": "gan", "settings": {"truncation": 0.7, "seed": 3}, "model": {"id": "x"}}
    data = png.write(PICTURE, gan)
    with Image.open(io.BytesIO(data)) as found:
        assert "parameters" not in found.info
    assert png.read(data) == recipe.Recipe("gan", {"truncation": 0.7, "seed": 3})


# A setting that a request does not have is left out of the line, and the "default" scheduler is nobody else's.
def test_a_short_recipe_makes_a_short_line():
    short = {
        "format": recipe.FORMAT,
        "family": "images",
        "settings": {"prompt": "x", "scheduler": "default", "seed": 0},
    }
    with Image.open(io.BytesIO(png.write(PICTURE, short))) as found:
        assert found.info["parameters"] == "x\nSeed: 0"


# Our own line is read as others read it, when a program kept it and threw our chunk away.
def test_our_line_alone_restores_the_settings():
    assert from_line(LINE) == OTHERS


PROMPTS = TEXT.map(lambda text: text.replace("\r", "").strip())


# The line holds prompts with commas, quotes and several lines; only the spaces around them are lost.
@given(PROMPTS, PROMPTS, st.sampled_from(list(png.SAMPLERS)), st.text(st.sampled_from('ab,:" \\'), max_size=12))
@settings(deadline=None, max_examples=200)
def test_the_line_goes_there_and_back(prompt: str, negative: str, scheduler: str, model: str):
    changes = {"prompt": prompt, "negative_prompt": negative, "scheduler": scheduler}
    data = png.write(PICTURE, made(**changes) | {"model": {"name": model}})
    with Image.open(io.BytesIO(data)) as written:
        found = from_line(written.info["parameters"])
    for name, value in (OTHERS | changes).items():
        # control characters are gone from the line, as they would be from the request
        wanted = clean(value).strip() if isinstance(value, str) else value
        assert found.get(name, "") == wanted


# As AUTOMATIC1111, Forge, SD.Next and Civitai write it: many facts are not ours, and stand among those that are.
@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (
            "masterpiece, (cat:1.2), <lora:x:0.8>\nsecond line\n\nfourth: line\nNegative prompt: bad, worse\nworst\n"
            'Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 42, Size: 768x1024, '
            'Model hash: 6ce0161689, Model: v1-5, Lora hashes: "x: 1234, y: 5678", Version: v1.9.4',
            {
                "prompt": "masterpiece, (cat:1.2), <lora:x:0.8>\nsecond line\n\nfourth: line",
                "negative_prompt": "bad, worse\nworst",
                "num_inference_steps": 28,
                "scheduler": "dpmpp_2m_karras",
                "guidance_scale": 7.0,
                "seed": 42,
                "width": 768,
                "height": 1024,
            },
        ),
        ("a\r\nNegative prompt: b\r\nSteps: 5", {"prompt": "a", "negative_prompt": "b", "num_inference_steps": 5}),
        ("a\nSteps: 20, Sampler: DPM++ 2M Karras", {"prompt": "a", "num_inference_steps": 20, "scheduler": "dpmpp_2m_karras"}),
        ("Sampler: Euler, Schedule type: Karras", {"scheduler": "euler"}),
        ("a\nSteps: 4, Sampler: LCM, Seed: 7\nTemplate: {a|b}\nNegative Template: c", {"prompt": "a", "num_inference_steps": 4, "scheduler": "lcm", "seed": 7}),
        ('a\nSteps: 4, Note: "Seed: 1, Size: 1x1", Seed: 7', {"prompt": "a", "num_inference_steps": 4, "seed": 7}),
        ('a\nSteps: 4, Note: "not closed, Seed: 7', {"prompt": "a", "num_inference_steps": 4, "seed": 7}),
        ("just a prompt, no more", {"prompt": "just a prompt, no more"}),
        ("Negative prompt: only this", {"negative_prompt": "only this"}),
        ("Size: matters\nin this poem", {"prompt": "Size: matters\nin this poem"}),
    ],
)  # fmt: skip
def test_lines_of_other_programs(line: str, wanted: dict[str, Any]):
    assert from_line(line) == wanted


# What we have no like for is left to our own default: a wrong guess would look like a setting that was read.
@pytest.mark.parametrize(
    "fact",
    [
        "Sampler: DPM++ 2M SDE Karras",
        "Sampler: Heun",
        "CFG scale: high",
        "CFG scale: nan",
        "CFG scale: " + "9" * 10_000,
        "Size: large",
        "Seed: 4294967295",
        "Seed: 1e3",
        "Model: ../../etc/passwd",
    ],
)
def test_what_cannot_be_read_is_left_out(fact: str):
    assert from_line(f"a\nSteps: 5, {fact}") == {"prompt": "a", "num_inference_steps": 5}


# Values out of range are told by the request that they are for, which names its range; here they are only read.
def test_values_are_not_clamped():
    assert from_line("a\nSteps: 99999, CFG scale: -3, Size: 70000x1") == {
        "prompt": "a",
        "num_inference_steps": 99999,
        "guidance_scale": -3.0,
        "width": 70000,
        "height": 1,
    }


def exif(comment: bytes) -> Image.Exif:
    found = Image.Exif()
    found[ExifTags.Base.Software] = "another program"  # without a tag of its own, Pillow saves none of it
    found.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    return found


# The same programs save JPEG and WebP, which have no text chunks: the line then stands in the EXIF comment.
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-16-le", "ascii"])
def test_the_line_in_exif(kind: str, encoding: str):
    line = LINE if encoding == "ascii" else LINE.replace("a cat", "屋顶上的猫 😀")
    code = b"ASCII\0\0\0" if encoding == "ascii" else b"UNICODE\0"
    file = io.BytesIO()
    PICTURE.save(file, kind, exif=exif(code + line.encode(encoding)))
    assert png.read_any(file.getvalue()).settings == OTHERS | {"prompt": line.split("\n")[0]}


# Tools that add text to a finished file put it at its end.
def test_text_after_the_pixels():
    assert png.read(with_chunk(b"tEXt", b"parameters\0" + LINE.encode(), last=True)).settings == OTHERS


# The recipe stands before the pixels: a download that broke off may still have all of it.
def test_a_truncated_picture_keeps_its_recipe():
    data = png.write(PICTURE, made())
    assert png.read(data[: data.index(b"IDAT") + 50]).settings == SETTINGS


# Older and other programs compress their text.
@pytest.mark.parametrize(
    "content", [(b"zTXt", b"parameters\0\0" + zlib.compress(LINE.encode())),
                (b"iTXt", b"parameters\0\1\0\0\0" + zlib.compress(LINE.encode()))]
)  # fmt: skip
def test_compressed_text(content: tuple[bytes, bytes]):
    assert png.read(with_chunk(*content)).settings == OTHERS


# One place on the page takes both kinds of file.
def test_the_file_itself_is_read_too():
    text = recipe.write(made()).encode()
    assert png.read_any(text) == png.read_any(png.write(PICTURE, made())) == recipe.read(text)


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
