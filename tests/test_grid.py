"""Planning a grid and running its cells, without a model: how axes are written, what is refused, in which order."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from aigc_demo.errors import Invalid, ModelUnavailable, OutOfMemory, Stopped
from aigc_demo.generators.diffusion import ImageResult
from aigc_demo.generators.diffusion_axes import AXES, MOST, NONE, GridParams, entries_of, written
from aigc_demo.generators.diffusion_grid import Plan, generate, plan, seconds
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.generators.diffusion_sheet import sheet
from aigc_demo.results import Done, Step
from aigc_demo.words import Words
from aigc_demo.worker import Stop

FORM = {**ImageParams.defaults(), "prompt": "a red cat, a cat", "negative_prompt": "dog", "seed": 3, "num_images": 4}


def planned(*axes: str, **form: Any) -> Plan:
    return plan(GridParams(*axes), FORM | form)


def refusal(*axes: str, **form: Any) -> str:
    """What a grid that must not be says; in both languages."""
    with pytest.raises(Invalid) as caught:
        planned(*axes, **form)
    assert caught.value.words.zh.endswith("。")
    return caught.value.words.en


# ---- axes -------------------------------------------------------------------------------------------------------


# Lists and ranges as people know them from other web UIs, with Chinese punctuation as well.
@pytest.mark.parametrize(
    ("axis", "text", "entries"),
    [
        ("num_inference_steps", "1, 3, 5", (1, 3, 5)),
        ("num_inference_steps", " 1，3、5\n7, ", (1, 3, 5, 7)),
        ("num_inference_steps", "1-5", (1, 2, 3, 4, 5)),
        ("num_inference_steps", "1-10 (+3)", (1, 4, 7, 10)),
        ("num_inference_steps", "1-9 [5]", (1, 3, 5, 7, 9)),
        ("num_inference_steps", "10 - 1（-3）, 20", (10, 7, 4, 1, 20)),
        ("num_inference_steps", "3-1", (3, 2, 1)),
        ("num_inference_steps", "1–3", (1, 2, 3)),
        ("num_inference_steps", "1-4 [7]", (1, 2, 3, 4)),
        ("guidance_scale", "1-2 (+0.25)", (1, 1.25, 1.5, 1.75, 2)),
        ("guidance_scale", "7.5", (7.5,)),
        ("width", "256-512 [3]", (256, 384, 512)),
        ("scheduler", "Euler a, ddim, 模型自带", ("euler_a", "ddim", "default")),
        ("style", "photo，水墨", ("photo", "ink")),
        ("model", "sd-turbo, ./my model", ("sd-turbo", "./my model")),
        ("words", 'cat, "a dog, running", ""', ("cat", "a dog, running", "")),
    ],
)
def test_how_values_are_written(axis: str, text: str, entries: tuple[Any, ...]) -> None:
    found = planned(axis, text)
    assert found.x.entries == entries
    assert found.x.labels[0].en
    # what a sheet's recipe says reads as the same axis again
    assert plan(found.grid, FORM).x == found.x


# A typed list becomes text and comes back, whatever the entries hold.
@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20), max_size=6))
def test_entries_survive_being_written(entries: list[str]) -> None:
    assert entries_of(", ".join(map(written, entries))) == entries


# Whatever is typed there gives a grid or a sentence.
@given(st.sampled_from(sorted(AXES)), st.text(max_size=60))
def test_any_text_is_read_or_told(axis: str, text: str) -> None:
    with contextlib.suppress(Invalid):
        assert len(planned(axis, text).cells) <= MOST


# Every mistake says which values are wrong, and how.
@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ((), "Nothing differs"),
        (("seed", ""), "X values say nothing"),
        (("none", "", "seed", " , "), "Y values say nothing"),
        (("seed", "1, 2", "seed", "3, 4"), "Both axes vary the same: Seed"),
        (("words", "cat, fox", "words", "cat, hen"), "Both axes vary the same"),
        (("num_inference_steps", "nan"), "“nan”"),
        (("guidance_scale", "inf"), "“inf”"),
        (("guidance_scale", "1e999"), "“1e999”"),
        (("num_inference_steps", "9" * 400), "neither a number"),
        (("num_inference_steps", "500"), "from 1 to 150"),
        (("num_inference_steps", "1.5"), "whole number"),
        (("num_inference_steps", "4, 4.0"), "4 twice"),
        (("num_inference_steps", "1-5 (+0)"), "never end"),
        (("num_inference_steps", "5-1 (+1)"), "never end"),
        (("seed", "1-10000"), "10,000 pictures"),
        (("seed", "0-999999999999999 [999999999999999]"), "pictures"),
        (("seed", "1-100", "guidance_scale", "1-2 [2]"), "200 pictures"),
        (("seed", str(2**31)), "from 0 to"),
        (("scheduler", "evil"), "“evil”"),
        (("words", "fox, hen"), "“fox”"),
        (("words", '"", cat'), "begin with nothing"),
        (("strength", "0.5"), "picture to start from"),
        (("evil", "1"), "X axis"),
    ],
)
def test_what_cannot_be_a_grid_is_told(axes: tuple[str, ...], said: str) -> None:
    if axes[:1] == ("evil",):
        with pytest.raises(Invalid, match=said):
            GridParams(*axes)
    else:
        assert said in refusal(*axes)


# ---- the plan ---------------------------------------------------------------------------------------------------


# One thing differs at a time: everything else, the drawn seed too, is the same in all cells.
def test_cells_share_what_no_axis_varies() -> None:
    found = planned("num_inference_steps", "2, 4", "guidance_scale", "1, 3, 5", seed=-1)
    requests = [found.request(cell) for cell in found.cells]
    assert [cell.place for cell in found.cells] == [(x, y) for y in range(3) for x in range(2)]
    assert [(r.num_inference_steps, r.guidance_scale) for r in requests] == [(s, g) for g in (1, 3, 5) for s in (2, 4)]
    assert len({r.seed for r in requests}) == 1
    assert requests[0].seed >= 0
    assert {r.num_images for r in requests} == {1}
    assert found.base.num_images == 4, "what the form asks for is what the sheet's recipe restores"
    first = requests[0].values()
    differing = {name for name, value in first.items() if value != FORM[name]}
    assert differing == {"num_inference_steps", "guidance_scale", "seed", "num_images"}


# One axis alone is a row, or a column.
def test_one_axis_is_enough() -> None:
    assert [cell.place for cell in planned("seed", "5, 6").cells] == [(0, 0), (1, 0)]
    column = planned("none", "left over", "seed", "5, 6")
    assert [cell.place for cell in column.cells] == [(0, 0), (0, 1)]
    assert column.grid == GridParams(NONE, "", "seed", "5, 6")


# Random seeds are drawn once, so that what is made later belongs to what was made before.
def test_random_seeds_are_drawn_once() -> None:
    found = planned("seed", "-1, -1, 4")
    seeds = [found.request(cell).seed for cell in found.cells]
    assert seeds[2] == 4
    assert min(seeds) >= 0
    assert seeds[0] != seeds[1]
    assert found.grid.x_values == ", ".join(map(str, seeds))


# Each model is loaded once, whichever axis it stands on.
def test_models_are_the_outer_loop() -> None:
    for axes in (("model", "a, b", "seed", "1, 2"), ("seed", "1, 2", "model", "a, b")):
        found = planned(*axes)
        assert [found.setting(cell, "model") for cell in found.cells] == ["a", "a", "b", "b"]


# The first entry is searched everywhere in both prompts; two axes of words do not find each other's words.
def test_words_are_searched_and_replaced() -> None:
    found = planned("words", "cat, dog, ", "words", 'red, "cat, blue"')
    prompts = {cell.place: found.request(cell).prompt for cell in found.cells}
    assert prompts == {
        (0, 0): "a red cat, a cat",
        (1, 0): "a red dog, a dog",
        (0, 1): "a cat, blue cat, a cat",
        (1, 1): "a cat, blue dog, a dog",
    }
    other = planned("words", "dog, \\1 (")
    assert [other.request(cell).negative_prompt for cell in other.cells] == ["dog", "\\1 ("]
    chinese = planned("words", "猫，狗", prompt="戴皇冠的猫")
    assert [chinese.request(cell).prompt for cell in chinese.cells] == ["戴皇冠的猫", "戴皇冠的狗"]


# ---- running ----------------------------------------------------------------------------------------------------


def made(request: ImageParams, finish: str = "end") -> Done[ImageResult]:
    return Done(ImageResult((), finish), {"total": 1.0}, recipe={"seed": request.seed})


def run(request: ImageParams, stop: Stop) -> Iterator[Any]:
    """In the engine's place: three steps, and Done; seed 13 and two models fail."""
    if request.model == "gone":
        raise ModelUnavailable(Words("Gone.", "没了。"))
    for n in range(3):
        yield Step("denoise", n + 1, 3)
        if request.seed == 13:
            raise OutOfMemory(Words("Full.", "满了。"))
        if request.seed == 14:
            raise ZeroDivisionError
        if stop():
            if n == 0:
                raise Stopped(Words("Stopped.", "已停止。"))
            yield made(request, "stopped")
            return
    yield made(request)


def ended(found: Plan, done: Any = (), stop: Stop | None = None) -> dict[Any, Any]:
    """Place -> Done or exception."""
    cells = generate(found, done, run, stop or Stop())
    return {cell.place: item for cell, item in cells if not isinstance(item, Step)}


# A cell that goes wrong, by whatever fault, leaves the others alone.
def test_a_failed_cell_leaves_the_others() -> None:
    found = ended(planned("seed", "12-15"))
    assert [type(found[n, 0]) for n in range(4)] == [Done, OutOfMemory, ZeroDivisionError, Done]


# A model that is not to be had is not asked for again in every cell: each try may wait for the network.
def test_a_missing_model_is_asked_for_once() -> None:
    asked = []

    def counted(request: ImageParams, stop: Stop) -> Iterator[Any]:
        asked.append(request.model)
        return run(request, stop)

    cells = [item for _, item in generate(planned("model", "gone, here", "seed", "1-3"), (), counted, Stop())]
    assert asked == ["gone", "here", "here", "here"]
    assert sum(isinstance(item, ModelUnavailable) for item in cells) == 3


# Stop drops the half-done cell; "after this picture" finishes it; and what is done is not made twice.
@pytest.mark.parametrize(("step", "between", "whole"), [(1, False, 1), (2, False, 1), (2, True, 2)])
def test_stopping_and_going_on(step: int, between: bool, whole: int) -> None:
    found, stop = planned("seed", "1-4"), Stop()
    done = {}
    for cell, item in generate(found, (), run, stop):
        if isinstance(item, Done):
            done[cell.place] = item
        elif cell.place == (1, 0) and item.index == step:
            stop.set(between)
    assert list(done) == [(n, 0) for n in range(whole)]
    rest = ended(found, done)
    assert [*done, *rest] == [cell.place for cell in found.cells]


# ---- what it takes ----------------------------------------------------------------------------------------------

LAST = {"per_step": 0.5, "first_step": 0.7, "total": 12.0, "steps": 20, "pictures": 1, "width": 512, "height": 512}


# The estimate goes by the last run: steps, what surrounds them, and the number of pixels.
def test_the_cost_goes_by_the_last_run() -> None:
    def cost(*axes: str, last: Any = LAST, done: Any = (), **form: Any) -> float | None:
        return seconds(planned(*axes, **{"model": "m", **form}), done, {"m": last}, "cpu")

    assert cost("seed", "1-4") == pytest.approx(4 * 12)
    assert cost("seed", "1-4", done={(0, 0)}) == pytest.approx(3 * 12)
    assert cost("num_inference_steps", "10, 40") == pytest.approx(2 + 5 + 2 + 20)
    assert cost("width", "512, 1024", height=512) == pytest.approx(12 + 24)
    assert cost("strength", "0.5", image=Image.new("RGB", (8, 8))) == pytest.approx(2 + 5)
    small = LAST | {"width": 64, "height": 64, "pictures": 4}
    assert cost("seed", "1", last=small) == pytest.approx(12 / 4), "four that went through together"
    assert cost("seed", "1", last=LAST | {"per_step": 0, "steps": 1, "total": 3.0}, num_inference_steps=1) == 3.0
    assert cost("model", "m, other") is None
    assert cost("seed", "1", last={"total": 3.0}) is None


# ---- the sheet --------------------------------------------------------------------------------------------------


# Each picture stands at its place, in its own pixels; a missing one leaves a gap.
def test_the_sheet_shows_each_cell_at_its_place() -> None:
    found = planned("seed", "1, 2", "words", "cat, 猫")
    colours = {(0, 0): (255, 0, 0), (1, 0): (0, 255, 0), (0, 1): (0, 0, 255)}
    page = sheet(found.x, found.y, {at: Image.new("RGB", (64, 32), c) for at, c in colours.items()}, "zh")
    boxes = {}
    for at, colour in colours.items():
        here = (np.asarray(page) == colour).all(-1)
        boxes[at] = left, top, right, bottom = Image.fromarray(here).getbbox()
        assert here.sum() == (right - left) * (bottom - top)
    assert boxes[0, 0][0] == boxes[0, 1][0] < boxes[1, 0][0]
    assert boxes[0, 0][1] == boxes[1, 0][1] < boxes[0, 1][1]
    wide, high = boxes[0, 0][2] - boxes[0, 0][0], boxes[0, 0][3] - boxes[0, 0][1]
    assert (wide % 64, wide) == (0, 2 * high), "enlarged by whole times"


# A hundred large pictures make a sheet that can still be opened.
def test_a_large_sheet_is_bounded() -> None:
    found = planned("seed", "1-10", "words", "cat, " + ", ".join(f"{n} very long words" for n in range(9)))
    pictures = {cell.place: Image.new("L", (1024, 1024)) for cell in found.cells}
    page = sheet(found.x, found.y, pictures, "en")
    assert page.width * page.height < 25_000_000


# The axes are JSON, as recipes are.
def test_axes_are_json() -> None:
    grid = planned("seed", "1-3").grid
    assert GridParams.of(json.loads(json.dumps(grid.values()))) == grid
