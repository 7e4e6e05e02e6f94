"""What comes back to the Images tab: pictures that were saved, recipes of the gallery, and junk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from images_form import (
    FORM,
    bytes_of,
    canvas,
    drawn,
    engine,
    folder,
    layer,
    picture,
    pixels,
    refusal,
)
from PIL import PngImagePlugin

from aigc_demo import engine as engine_module
from aigc_demo import recipe
from aigc_demo.engine import Engine
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.generators.schedulers import OWN
from aigc_demo.ui import images_page, uploads
from aigc_demo.ui.section import KEEP

__all__ = ["engine", "folder"]  # fixtures
pytestmark = pytest.mark.usefixtures("one_thread")


# ---- what comes back --------------------------------------------------------------------------------------------


# A picture that was saved and dropped back fills the form with what made it.
def test_a_saved_picture_restores_the_form(engine: Engine):
    last = drawn(engine, negative_prompt="rain", guidance_scale=2.5, scheduler="euler_a", width=24, height=16)[-1]
    update = images_page.restore(Path(last.pictures[0][0]).read_bytes(), "en")
    assert {n: update.settings[n] for n in FORM} == FORM | {
        "negative_prompt": "rain",
        "guidance_scale": 2.5,
        "scheduler": "euler_a",
        "width": 24,
        "height": 16,
    }
    assert "Restored." in update.status
    assert "已恢复" in images_page.restore(Path(last.pictures[0][0]).read_bytes(), "zh").status
    # what lies on the canvas would be painted over instead of painting from the words alone
    assert update.canvas is None


# A picture made from another one says that this one is needed, and leaves the canvas for it.
def test_a_picture_from_a_picture_says_what_is_missing(engine: Engine):
    last = drawn(engine, canvas(picture(), layer((0, 0, 9, 9))))[-1]
    update = images_page.restore(Path(last.pictures[0][0]).read_bytes(), "en")
    assert "give that again" in update.status
    assert update.canvas is KEEP
    assert not set(images_page.GIVEN) & set(update.settings)


def with_line(line: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", line)
    return bytes_of(picture(), pnginfo=info)


# Pictures of other programs restore what they tell; their model is not ours, and is left alone.
def test_another_programs_picture():
    line = "a cat\nNegative prompt: rain\nSteps: 20, Sampler: Euler a, CFG scale: 7.5, Seed: 1, Size: 512x256, Model: evil/x"
    assert images_page.restore(with_line(line), "en").settings == {
        "prompt": "a cat",
        "negative_prompt": "rain",
        "num_inference_steps": 20,
        "guidance_scale": 7.5,
        "scheduler": "euler_a",
        "seed": 1,
        "width": 512,
        "height": 256,
    }
    assert "num_inference_steps" in refusal(images_page.restore, with_line("a cat\nSteps: 5000, Seed: 1"), "en")


# Whatever else is dropped there: words, and no change.
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"\xff" * 99, "JSON"),
        (bytes_of(picture()), "no recipe"),
        (bytes_of(picture())[:50], ""),
        (
            json.dumps({"format": recipe.FORMAT, "family": "text", "settings": {"prompt": "x"}}).encode(),
            "not for images",
        ),
        (json.dumps({"format": recipe.FORMAT, "family": "images", "settings": {"evil": 1}}).encode(), "evil"),
    ],
)
def test_junk_is_told(data: bytes, said: str):
    assert said in refusal(images_page.restore, data, "en")


@pytest.fixture
def sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be fetched, located or loaded."""

    def never(*_: Any, **__: Any) -> Any:
        pytest.fail("a recipe fetched or opened something")

    for name in ("obtain", "locate"):
        monkeypatch.setattr(engine_module, name, never)
    monkeypatch.setattr(uploads, "read", never)


# A recipe of the gallery comes from a browser, where anybody may have written it.
@pytest.mark.parametrize("model", ["/etc/passwd", "../../etc", "./../x", "./", "evil/model", "file:///x", "C:\\x"])
def test_a_hostile_model_is_text_and_nothing_more(engine: Engine, sealed: None, model: str):
    update = images_page.reuse({"recipe": {"settings": {"prompt": "x", "model": model}}}, "en")
    assert update.settings == {"prompt": "x", "model": model}
    for language in ("en", "zh"):  # what the page asks of it without being told to
        images_page.model_note(engine, model, language)
        images_page.chosen(engine, model, OWN, "none", language)
        images_page.what_is_idle(engine, model, 4, None, language)


@pytest.mark.parametrize(
    "settings",
    [
        {"prompt": 7},
        {"prompt": ["a"]},
        {"seed": "1"},
        {"seed": float("nan")},
        {"num_inference_steps": 1e9},
        {"num_inference_steps": True},
        {"scheduler": "__class__"},
        {"style": {"a": 1}},
        {"model": None},
        {"unknown": 1},
        {"__init__": 1},
        {"width": -8},
    ],
)
# Neither wrong types nor unknown names reach the form.
def test_hostile_settings_are_told(sealed: None, settings: dict[str, Any]):
    name = next(iter(settings))
    assert name in refusal(images_page.reuse, {"recipe": {"settings": settings}}, "en")


# Events without a recipe, and the button that takes the seed alone.
def test_reuse(sealed: None):
    for event in ({}, {"recipe": None}, {"recipe": "x"}, {"recipe": {"settings": []}}):
        assert "no settings" in refusal(images_page.reuse, event, "en")
    own = {"prompt": "a cat", "seed": 5, "image": "sha256:00", "mask": "/etc/passwd"}
    assert images_page.reuse({"recipe": {"settings": own}}, "en").settings == {"prompt": "a cat", "seed": 5}
    seed = images_page.reuse({"recipe": {"settings": own}}, "en", ("seed",))
    assert seed.settings == {"seed": 5}
    assert seed.canvas is KEEP


# A picture of the gallery lies on the canvas afterwards, pixel by pixel, in the folder from which it may be read.
def test_edit_puts_a_picture_on_the_canvas(engine: Engine, folder: Path):
    last = drawn(engine)[-1]
    data = Path(last.pictures[0][0]).read_bytes()
    event = {"picture": uploads.data_uri(data), "recipe": last.recipes[0]}
    update = images_page.edit(event, "en")
    assert Path(update.canvas["background"]).is_relative_to(folder)
    assert update.settings == {"prompt": "a cat", "negative_prompt": "", "style": "none", "model": "./sd"}
    given = images_page.given(update.canvas)
    assert given == {"image": data, "mask": None}
    assert np.array_equal(np.asarray(ImageParams.of(FORM | given).image), pixels(last.pictures[0][0]))
    assert "canvas below" in update.status
    for bad in ({}, {"picture": 7}, {"picture": uploads.data_uri(b"no picture"), "recipe": last.recipes[0]}):
        refusal(images_page.edit, bad, "en")
