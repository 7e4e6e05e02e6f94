"""Animations as files: every frame comes back, in order, and so does the recipe, whatever stands in it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence

from aigc_demo import animation
from aigc_demo.errors import Invalid
from aigc_demo.recipe import FORMAT

MADE = {"format": FORMAT, "family": "walk", "settings": {"prompt": '猫 <b>"\\\ud83d\n', "frames": 9}}
each_format = pytest.mark.parametrize("form", animation.FORMATS)


def frames(count: int = 9, size: tuple[int, int] = (48, 32)) -> list[Image.Image]:
    """Every one of another lightness, so that their order can be told."""
    return [Image.new("RGB", size, (20 + 20 * n, 60, 200 - 15 * n)) for n in range(count)]


def decoded(form: str, data: bytes) -> list[np.ndarray]:
    """By the decoders that people have: Pillow's, and ffmpeg's."""
    if form == "mp4":
        import av

        with av.open(io.BytesIO(data)) as container:
            return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with Image.open(io.BytesIO(data)) as picture:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(picture)]


@each_format
def test_every_frame_comes_back_in_order(form: str) -> None:
    given = frames()
    found = decoded(form, animation.FORMATS[form](given, 12, MADE))
    assert len(found) == len(given)
    for one, other in zip(found, given, strict=True):
        assert np.abs(one.astype(int) - np.asarray(other, int)).mean() < 6


@each_format
def test_the_recipe_comes_back_as_it_was(form: str) -> None:
    found = animation.read(animation.FORMATS[form](frames(), 12, MADE))
    assert found is not None
    assert (found.family, found.settings) == ("walk", MADE["settings"])


# Players refuse H.264 of odd sides, and a single frame is an animation as well.
@each_format
@pytest.mark.parametrize(("count", "size"), [(1, (16, 16)), (3, (31, 17)), (2, (1, 1))])
def test_odd_sizes_and_single_frames_are_written(form: str, count: int, size: tuple[int, int]) -> None:
    assert len(decoded(form, animation.FORMATS[form](frames(count, size), 12, {}))) == count


def test_there_and_back_shows_neither_end_twice() -> None:
    assert animation.order(4, there_and_back=True) == [0, 1, 2, 3, 2, 1]
    assert animation.order(2, there_and_back=True) == [0, 1]
    assert animation.order(3, there_and_back=False) == [0, 1, 2]


# What strangers drop on the page: other people's animations, torn files, junk.
@pytest.mark.parametrize("data", [b"", b"GIF89a", b"RIFF\x00\x00\x00\x00WEBP", b"not an animation at all"])
def test_what_carries_nothing_gives_nothing(data: bytes) -> None:
    assert animation.read(data) is None


def test_a_strangers_comment_is_not_a_recipe() -> None:
    file = io.BytesIO()
    first, *rest = frames()
    first.save(file, "GIF", save_all=True, append_images=rest, comment=b"made with love")
    assert animation.read(file.getvalue()) is None


def test_a_torn_video_and_a_damaged_recipe_say_so() -> None:
    whole: Any = animation.FORMATS["mp4"](frames(), 12, MADE)
    with pytest.raises(Invalid, match="damaged"):
        animation.read(whole[:200])
    with pytest.raises(Invalid, match="recipe"):
        animation.read(animation.FORMATS["gif"](frames(), 12, {"format": "another"}))
