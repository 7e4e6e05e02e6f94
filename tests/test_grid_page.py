"""What the grid does on a click, without a browser: cells as they are made, failures in their cells, the sheet and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from images_form import FORM, canvas, engine, folder, picture, pixels, refusal, upload

from aigc_demo import png
from aigc_demo.engine import Engine
from aigc_demo.errors import OutOfMemory
from aigc_demo.generators.diffusion_axes import MODEL, GridParams
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.generators.diffusion_rows import IMAGES
from aigc_demo.generators.schedulers import OWN
from aigc_demo.results import Done, Step, finish
from aigc_demo.ui import grid_page, images_page, uploads
from aigc_demo.ui.grid_page import Run, Shown
from aigc_demo.ui.run import APOLOGY, JOBS
from aigc_demo.words import Words

__all__ = ["engine", "folder"]  # fixtures
pytestmark = pytest.mark.usefixtures("one_thread")

SESSION = "someone"


def axes(x: str = "none", x_values: str = "", y: str = "none", y_values: str = "") -> dict[str, str]:
    return {"x_axis": x, "x_values": x_values, "y_axis": y, "y_values": y_values}


def shown(engine: Engine, run: Run, language: str = "en") -> Iterator[Shown]:
    return grid_page.make(engine, run, language, SESSION)


def made(engine: Engine, *given: str, paper: Any = None, **settings: Any) -> Shown:
    """The end of a grid."""
    return list(shown(engine, grid_page.begin(FORM | settings, paper, axes(*given))))[-1]


def states(table: dict[str, Any]) -> list[str]:
    return [cell["state"] for cell in table["cells"]]


# The promise of a grid: a cell is the picture that its settings make alone, whatever was made before it.
@pytest.mark.parametrize("paper", [False, True])
def test_a_cell_is_the_picture_that_its_settings_make_alone(engine: Engine, paper: bool):
    start = canvas(picture()) if paper else None
    last = made(
        engine,
        "scheduler",
        "euler_a, ddim",
        "strength" if paper else "seed",
        "0.5, 1" if paper else "8, 9",
        paper=start,
    )
    assert states(last.table) == ["done"] * 4
    for cell in last.table["cells"]:
        settings = {**cell["recipe"]["settings"], **images_page.given(start)}
        assert settings["num_images"] == 1
        alone = finish(engine.run(IMAGES, ImageParams.of(settings))).value.pictures[0].image
        assert np.array_equal(pixels(cell["path"]), np.asarray(alone.convert("RGB")))
        own = png.read(Path(cell["path"]).read_bytes()).settings
        assert own == cell["recipe"]["settings"], "the file alone makes it again, too"


# Cells come one by one, each with its steps before it; the page is told of every finished one.
def test_cells_come_as_they_are_finished(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(grid_page, "PREVIEWS_PER_SECOND", 1e9)
    first, *between, last = shown(engine, grid_page.begin(FORM, None, axes("seed", "1, 2")))
    assert (first.busy, states(first.table)) == (True, ["waiting", "waiting"])
    seen = [tuple(states(one.table)) for one in between]
    assert [state for n, state in enumerate(seen) if state not in seen[:n]] == [
        ("now", "waiting"),
        ("done", "waiting"),
        ("done", "now"),
        ("done", "done"),
    ]
    shares = [one.table["cells"][0]["share"] for one in between if states(one.table)[0] == "now"]
    assert [share for share in shares if share] == [0.25, 0.5, 0.75, 1.0]
    assert any(one.table["cells"][0]["preview"] for one in between)
    assert "Picture 2 of 2" in between[-2].status
    assert (last.busy, last.run.whole, last.table["sheet"] is None) == (False, True, False)
    assert "2 / 2" in last.status


# A sampler that does not go with a model, and a model that is not there, are told where their pictures would stand.
@pytest.mark.parametrize(("language", "said"), [("en", "does not go with"), ("zh", "不适用于")])
def test_a_failure_is_told_in_its_cell(engine: Engine, language: str, said: str):
    run = grid_page.begin(FORM, None, axes(MODEL, "./sd, ./sd3, ./gone", "scheduler", "default, ddim"))
    last = list(shown(engine, run, language))[-1]
    cells = {(cell["column"], cell["row"]): cell for cell in last.table["cells"]}
    assert {at: cell["state"] for at, cell in cells.items()} == {
        (0, 0): "done",
        (0, 1): "done",
        (1, 0): "done",
        (1, 1): "failed",
        (2, 0): "failed",
        (2, 1): "failed",
    }
    assert said in cells[1, 1]["said"]
    assert "gone" in cells[2, 0]["said"]
    assert not last.run.whole
    assert "model" not in png.read(Path(last.table["sheet"]).read_bytes()).beside


# A fault of ours in one cell is logged and told by an apology; the others are made.
def test_a_fault_is_told_in_its_cell(engine: Engine, caplog: pytest.LogCaptureFixture):
    class Breaks(Engine):
        def run(self, family: Any, request: Any, stop: Any) -> Iterator[Any]:
            if request.seed == 2:
                raise ZeroDivisionError
            yield from engine.run(family, request, stop)

    last = list(shown(Breaks(engine.settings), grid_page.begin(FORM, None, axes("seed", "1, 2, 3"))))[-1]
    assert states(last.table) == ["done", "failed", "done"]
    assert last.table["cells"][1]["said"] == APOLOGY.en
    assert "ZeroDivisionError" in caplog.text


# Stop keeps what is done; going on makes the rest, and the whole is the grid that was never stopped.
@pytest.mark.parametrize("between", [False, True])
def test_stop_keeps_and_resume_completes(engine: Engine, between: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(grid_page, "PREVIEWS_PER_SECOND", 1e9)
    run = grid_page.begin(FORM | {"seed": -1}, None, axes("num_inference_steps", "20, 21, 22"))
    for one in shown(engine, run):
        if states(one.table) == ["done", "now", "waiting"]:
            JOBS.stop(SESSION, IMAGES.name, between)
    assert states(one.table) == (["done", "done", "waiting"] if between else ["done", "waiting", "waiting"])
    assert not one.busy
    assert one.table["sheet"]
    assert not JOBS.is_running(SESSION, IMAGES.name)
    kept = pixels(one.table["cells"][0]["path"])
    *_, last = shown(engine, grid_page.again(one.run))
    assert last.run.whole
    whole = made(engine, "num_inference_steps", "20, 21, 22", seed=run.plan.base.seed)
    for cell, same in zip(last.table["cells"], whole.table["cells"], strict=True):
        assert np.array_equal(pixels(cell["path"]), pixels(same["path"]))
    assert np.array_equal(kept, pixels(last.table["cells"][0]["path"]))


# What the server has deleted meanwhile is made again, and a page without a grid is told.
def test_going_on_without_what_was_there(engine: Engine):
    last = made(engine, "seed", "1, 2")
    Path(last.table["cells"][0]["path"]).unlink()
    assert list(grid_page.again(last.run).made) == [(1, 0)]
    for junk in (None, {}, "run"):
        assert "no grid" in refusal(grid_page.again, junk)


# A run that breaks off altogether ends with the buttons back, and with what there was.
def test_a_run_that_breaks_off_can_be_gone_on_with(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    def breaks(*_: Any) -> Iterator[Any]:
        raise OutOfMemory(Words("Full.", "满了。"))

    monkeypatch.setattr(grid_page, "job", breaks)
    found = shown(engine, grid_page.begin(FORM, None, axes("seed", "1")))
    assert [next(found).busy, next(found).busy] == [True, False]
    with pytest.raises(OutOfMemory):
        next(found)


# A sheet is one file: dropped back, it restores the form and both axes; on the form's side as any picture.
def test_a_sheet_restores_form_and_axes(engine: Engine):
    last = made(engine, "scheduler", "Euler a, default", "words", 'cat, "a dog, running"', num_images=3, seed=-1)
    data = Path(last.table["sheet"]).read_bytes()
    form = images_page.restore(data, "en").settings
    seed = last.table["cells"][0]["recipe"]["settings"]["seed"]
    assert form == FORM | {"seed": seed, "num_images": 3}
    found = grid_page.restore(engine, data, "./sd", "en")
    assert found is not None
    assert (found["x_axis"], found["y_axis"]) == ("scheduler", "words")
    assert found["x_picks"]["value"] == ["euler_a", "default"]
    assert (found["x_picks"]["visible"], found["x_values"]["visible"]) == (True, False)
    assert (found["y_picks"]["visible"], found["y_values"]["visible"]) == (False, True)
    assert found["y_values"]["value"] == 'cat, "a dog, running"'
    text = grid_page.values("scheduler", "ignored", found["x_picks"]["value"])
    assert GridParams.of(axes("scheduler", text)).x_values == "euler_a, default"


# A cell's file, and a recipe without axes, leave the axes as they are; hostile axes are told.
def test_other_recipes_have_no_axes(engine: Engine):
    last = made(engine, "seed", "1")
    assert grid_page.restore(engine, Path(last.table["cells"][0]["path"]).read_bytes(), "./sd", "en") is None
    recipe = last.table["cells"][0]["recipe"]
    for grid, said in (({"evil": 1}, "evil"), ({"x_axis": "evil"}, "x_axis"), ({"x_values": 7}, "x_values")):
        data = png.write(picture(), recipe | {"grid": grid})
        assert said in refusal(grid_page.restore, engine, data, "./sd", "en")
    assert grid_page.restore(engine, png.write(picture(), recipe | {"grid": "x"}), "./sd", "en") is None
    away = png.write(picture(), recipe | {"grid": axes(MODEL, "/etc/passwd, ./x")})
    found = grid_page.restore(engine, away, "./sd", "en")
    assert found is not None
    assert found["x_picks"]["value"] == ["/etc/passwd", "./x"], "text and nothing more"


# The file that the page offers must be one that it takes back.
def test_a_sheet_is_small_enough_to_come_back(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    run = made(engine, "seed", "1, 2").run
    whole = len(Path(grid_page._sheet(run, "en")).read_bytes())
    monkeypatch.setattr(grid_page, "HEAVIEST", whole // 2)
    data = Path(grid_page._sheet(run, "en")).read_bytes()
    assert len(data) <= whole // 2
    assert png.read(data).beside["grid"] == run.plan.grid.values()


# What it costs stands there before it is begun; so does what is in the way of it.
def test_the_cost_is_told_before(engine: Engine):
    fresh = Engine(engine.settings)

    def cost(*given: str, paper: Any = None, where: Engine = engine, language: str = "en", **settings: Any) -> str:
        return grid_page.cost(where, FORM | settings, paper, axes(*given), language)

    assert "at most 100 pictures" in cost()
    assert "6 pictures. How long" in cost("seed", "1-6", where=fresh)
    assert "1 picture." in cost("seed", "1", where=fresh)
    made(engine, "seed", "1")
    assert "about 1 s" in cost("seed", "1")
    assert "约 1 秒" in cost("seed", "1", language="zh")
    assert "warn" in cost("seed", "x")
    assert "picture to start from" in cost("strength", "0.5")
    assert "1 picture" in cost("strength", "0.5", paper={"background": upload(b"not opened for this")})
    assert "&lt;img&gt;" in cost("words", "<img>")
    assert "no effect on this model" in cost("guidance_scale", "1, 2", model="sd-turbo", where=fresh)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "about 1 s"), (61, "about 61 s"), (600, "about 10 min"), (9000, "about 2.5 h")]
)
def test_durations(seconds: float, said: str):
    assert grid_page.duration(seconds).en == said


# The lists offer what suits the form's model, in the reader's language, and keep what still suits it.
def test_what_the_lists_offer(engine: Engine):
    text, picks = grid_page.axis_changed(engine, "scheduler", "./sd", ["ddim"], "zh")
    assert (text["visible"], picks["visible"], picks["value"]) == (False, True, ["ddim"])
    assert ("模型自带", OWN) in picks["choices"]
    _, picks = grid_page.axis_changed(engine, "scheduler", "./sd3", ["ddim"], "en")
    assert ([value for _, value in picks["choices"]], picks["value"]) == ([OWN], [])
    offered = [value for _, value in grid_page.choices(engine, MODEL, "owner/own", "en")]
    assert {"./sd", "./sd3", *IMAGES.rows, "owner/own"} == set(offered)
    text, picks = grid_page.axis_changed(engine, "seed", "./sd", None, "en")
    assert (text["visible"], picks["visible"], text["placeholder"]) == (True, False, "1-4")
    for junk in (None, 7, {"a": 1}, "evil"):
        text, picks = grid_page.axis_changed(engine, junk, junk, junk, "en")
        assert (text["visible"], picks["visible"]) == (False, False)


# The engine remembers numbers of a run, never what somebody wrote.
def test_the_engine_remembers_numbers_only(engine: Engine):
    made(engine, "seed", "1", prompt="secret " * 30)
    assert engine.measured[IMAGES.name]["./sd"]["steps"] == FORM["num_inference_steps"]
    assert all(isinstance(value, int | float) for value in engine.measured[IMAGES.name]["./sd"].values())


# A pipeline that cannot be looked into has no previews and no length; its cell fills all the same.
def test_steps_without_previews_are_shown(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    run = grid_page.begin(FORM, None, axes("seed", "1"))

    def bare(family: Any, request: Any, stop: Any) -> Iterator[Any]:
        yield Step("load", 1, 1)
        yield Step("denoise", 0, None)
        for item in engine.run(family, request, stop):
            if isinstance(item, Done):
                yield item

    class Bare(Engine):
        pass

    other = Bare(engine.settings)
    monkeypatch.setattr(other, "run", bare, raising=False)
    assert states(list(shown(other, run))[-1].table) == ["done"]
    assert uploads.read(run.made[0, 0][0])
