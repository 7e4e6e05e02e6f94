"""What a model learnt to draw, as the page offers it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from aigc_demo.engine import Engine
from aigc_demo.generators.diffusion_params import DEFAULT_MODEL, SHIPPED
from aigc_demo.generators.witness import NAMES_FILE
from aigc_demo.settings import Settings
from aigc_demo.ui import ideas


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(Settings(models_dir=tmp_path / "models", cache_dir=tmp_path / "cache", offline=True))


def test_the_model_that_ships_says_what_it_draws(engine: Engine) -> None:
    """Each of the names can be asked for, in the language of the page; a model of the hub tells none."""
    names = json.loads((SHIPPED / NAMES_FILE).read_text("utf-8"))
    for language, told in names.items():
        html = ideas.shown(engine, DEFAULT_MODEL, language)
        assert html.count("aigc-idea'") == len(told) + len(told[:: len(told) // ideas.FIRST][: ideas.FIRST])
        assert all(f">{name}</button>" in html for name in told)
    assert ideas.shown(engine, "sd-turbo", "en") == ideas.shown(engine, "no/such model", "en") == ""


@pytest.mark.parametrize("names", ['["<b>"]', '"cat"', "[]"])
def test_a_strangers_names_are_text(engine: Engine, tmp_path: Path, names: str) -> None:
    """A dropped folder may say anything: nothing of it is markup, and nonsense is left out."""
    folder = tmp_path / "models" / "odd"
    shutil.copytree(SHIPPED, folder)
    (folder / NAMES_FILE).write_text(f'{{"en": {names}, "zh": {names}}}', "utf-8")
    html = ideas.shown(engine, "./odd", "en")
    assert "<b>" not in html
    assert ("&lt;b&gt;" in html) == (names == '["<b>"]')
