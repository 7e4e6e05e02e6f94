"""A picture carries its recipe and gives it back, ours or another program's."""

from __future__ import annotations

import io
import json
import zlib
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from pngs import (
    LINE,
    LONE,
    OTHERS,
    PICTURE,
    SETTINGS,
    TEXT,
    exif,
    from_line,
    made,
    with_chunk,
)

from aigc_demo import png, recipe
from aigc_demo.params import clean


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
