"""What the grid of the Images tab does on a click, without its layout: settings and axes come in, Shown goes out."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from aigc_demo import png
from aigc_demo.engine import Engine
from aigc_demo.errors import Invalid, UserError
from aigc_demo.generators import diffusion_grid
from aigc_demo.generators.diffusion_axes import AXES, CHOICES, MODEL, MOST, NONE, WORDS, Axis, GridParams, entries_of
from aigc_demo.generators.diffusion_axes import written as as_written
from aigc_demo.generators.diffusion_grid import Plan
from aigc_demo.generators.diffusion_rows import IMAGES
from aigc_demo.generators.diffusion_sheet import LARGEST, LEAST, sheet
from aigc_demo.results import Done
from aigc_demo.ui import facts, uploads
from aigc_demo.ui.images_page import PREVIEWS_PER_SECOND, given, kept_pictures, preview, suiting
from aigc_demo.ui.model_choice import model_choices
from aigc_demo.ui.run import APOLOGY, job, paced
from aigc_demo.words import Words

log = logging.getLogger(__name__)

PICKED = (*CHOICES, MODEL)
"""Axes whose values are picked from a list."""
EXAMPLES = {
    "num_inference_steps": Words("4-20 (+8)", "4-20 (+8)"),
    "guidance_scale": Words("1, 4, 8", "1, 4, 8"),
    "strength": Words("0.3-0.9 [4]", "0.3-0.9 [4]"),
    "seed": Words("1-4", "1-4"),
    "width": Words("256-512 [3]", "256-512 [3]"),
    "height": Words("256-512 [3]", "256-512 [3]"),
    WORDS: Words("cat, dog, fox", "猫，狗，狐狸"),
}
HEAVIEST = 7_000_000
"""Bytes of a sheet's file: it is sent, shown and kept like any picture."""
BLANK = Image.new("RGB", (8, 8))

Place = tuple[int, int]


@dataclass
class Run:
    """A grid as far as it was made: what a visitor's page holds, on the server. made: place -> (PNG file, its recipe)."""

    plan: Plan
    made: dict[Place, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    failed: dict[Place, Words] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def whole(self) -> bool:
        return len(self.made) == len(self.plan.cells)


@dataclass(frozen=True)
class Shown:
    """What the page shows of a grid from now on."""

    table: dict[str, Any]
    status: str
    busy: bool
    run: Run
    final: bool = True


def begin(settings: Mapping[str, Any], canvas: Any, axes: Mapping[str, Any]) -> Run:
    """The grid that form, canvas and axes ask for. Raises `Invalid`."""
    return Run(diffusion_grid.plan(GridParams.of(axes), {**settings, **given(canvas)}))


def again(run: Any) -> Run:
    """A grid to go on with: what was made and is still on the server stays."""
    if not isinstance(run, Run):
        raise Invalid(Words("There is no grid to go on with. Begin one.", "没有可以继续的网格。请先开始生成。"))
    return Run(run.plan, {p: made for p, made in run.made.items() if Path(made[0]).is_file()}, {}, run.seconds)


def make(engine: Engine, run: Run, language: str, session: str) -> Iterator[Shown]:
    """Make the cells that are missing, one after the other."""
    yield Shown(_table(run, language), facts.busy(MAKING, language), True, run)
    cells = _cells(engine, run, language, session)
    try:
        yield from paced(((shown, shown.final) for shown in cells), PREVIEWS_PER_SECOND)
    except Exception:
        yield Shown(_table(run, language), "", False, run)
        raise
    yield Shown(
        _table(run, language, sheet=_sheet(run, language) if run.made else None), _facts(run, language), False, run
    )


def _cells(engine: Engine, run: Run, language: str, session: str) -> Iterator[Shown]:
    before, begun = run.seconds, time.monotonic()
    cells = job(
        IMAGES,
        session,
        lambda stop: diffusion_grid.generate(
            run.plan, set(run.made), lambda request, stop: engine.run(IMAGES, request, stop), stop
        ),
    )
    for cell, item in cells:
        run.seconds = before + time.monotonic() - begun
        now: dict[Place, dict[str, Any]] = {}
        if isinstance(item, Done):
            [run.made[cell.place]] = kept_pictures(item)
        elif isinstance(item, UserError):
            run.failed[cell.place] = item.words
        elif isinstance(item, Exception):
            log.error("a cell of a grid failed", exc_info=item)
            run.failed[cell.place] = APOLOGY
        else:
            frame = item.value if item.stage == "denoise" else None
            guess = frame and (frame.noisy if frame.guess is None else frame.guess)
            now[cell.place] = {
                "share": item.index / item.total if item.total and frame else None,
                "preview": None if guess is None else preview(guess),
            }
        yield Shown(_table(run, language, now), _progress(engine, run, now, language), True, run, final=not now)


MAKING = Words("Making the grid", "正在生成网格")
NTH = Words("Picture {n} of {total}", "第 {n} 张，共 {total} 张")


def _progress(engine: Engine, run: Run, now: Mapping[Place, Any], language: str) -> str:
    total = len(run.plan.cells)
    ended = len(run.made) + len(run.failed)
    known = diffusion_grid.seconds(run.plan, {*run.made, *run.failed}, engine.measured[IMAGES.name], engine.device.kind)
    share = sum(part["share"] or 0.0 for part in now.values())
    if known is not None and ended < total:
        known *= max(0.0, 1 - share / (total - ended))
    left = LEFT.format(time=duration(known)).to(language) if known else ""
    return facts.busy(NTH.format(n=min(ended + 1, total), total=total), language, left, (ended + share) / total)


LEFT = Words("{time} left", "还需{time}")


def duration(seconds: float) -> Words:
    """About so long."""
    if seconds < 90:
        return Words("about {n} s", "约 {n} 秒").format(n=max(1, round(seconds)))
    if seconds < 5400:
        return Words("about {n} min", "约 {n} 分钟").format(n=round(seconds / 60))
    return Words("about {n:.1f} h", "约 {n:.1f} 小时").format(n=seconds / 3600)


def cost(engine: Engine, settings: Mapping[str, Any], canvas: Any, axes: Mapping[str, Any], language: str) -> str:
    """What the grid would take, or what stands in its way; before it is begun."""
    if axes.get("x_axis") == axes.get("y_axis") == NONE:
        return facts.note(BEGIN.format(most=MOST).to(language))
    image = BLANK if isinstance(canvas, Mapping) and canvas.get("background") else None
    try:
        plan = diffusion_grid.plan(GridParams.of(axes), {**settings, "image": image})
    except UserError as error:
        return facts.note(error.words.to(language), "warn")
    many, known = len(plan.cells), None
    if engine.measured[IMAGES.name]:
        known = diffusion_grid.seconds(plan, (), engine.measured[IMAGES.name], engine.device.kind)
    said = ONE if many == 1 else Words("{many} pictures", "共 {many} 张图片").format(many=many)
    time_ = UNKNOWN if known is None else KNOWN.format(time=duration(known))
    return facts.note(Words("{said}. {time}", "{said}。{time}").format(said=said, time=time_).to(language)) + "".join(
        facts.note(words.to(language), "warn") for words in _without_effect(engine, plan)
    )


BEGIN = Words(
    "Choose what differs from column to column, from row to row, or both; at most {most} pictures. All else, the seed "
    "too, is the form's.",
    "请选择各列、各行或两者之间要改变的设置，最多 {most} 张图片。其余设置（包括随机种子）均取自表单。",
)
ONE = Words("1 picture", "共 1 张图片")
UNKNOWN = Words(
    "How long that takes is known once the model has made a picture here.",
    "所需时间要等模型在此生成过一张图片后才知道。",
)
KNOWN = Words(
    "That takes {time}, going by the model's last run; loading it is not counted.",
    "按模型上次的用时，{time}，不含装入时间。",
)
SAME = Words(
    "“{name}” has no effect on this model: those pictures will be the same.",
    "“{name}”对该模型不起作用：这些图片会相同。",
)


def _without_effect(engine: Engine, plan: Plan) -> list[Words]:
    names = {plan.x.name, plan.y.name}
    if "guidance_scale" not in names or MODEL in names:
        return []
    return [] if suiting(engine, plan.base.model)[0] else [SAME.format(name=AXES["guidance_scale"])]


def axis_changed(engine: Engine, axis: Any, model: Any, picks: Any, language: str) -> list[Any]:
    """Updates for an axis's text and its list: the one that goes with it is shown, with what suits the model."""
    axis = axis if isinstance(axis, str) else NONE
    offered = choices(engine, axis, model, language)
    values = [value for _, value in offered]
    kept = [pick for pick in picks if pick in values] if isinstance(picks, list) else []
    text = gr.update(visible=axis in AXES and axis not in (NONE, *PICKED))
    if axis in EXAMPLES:
        text["placeholder"] = EXAMPLES[axis].to(language)
    return [text, gr.update(visible=axis in PICKED, choices=offered, value=kept)]


def choices(engine: Engine, axis: Any, model: Any, language: str) -> list[tuple[str, str]]:
    """(label, value) of what an axis's list offers."""
    if axis == MODEL:
        offered = model_choices(engine, IMAGES)
        own = [(model, model)] if isinstance(model, str) and model and model not in dict(map(reversed, offered)) else []
        return [*offered, *own]
    if axis not in CHOICES:
        return []
    _, samplers, styles = suiting(engine, model)
    return [(CHOICES[axis][name].to(language), name) for name in (samplers if axis == "scheduler" else styles)]


def values(axis: Any, text: Any, picks: Any) -> Any:
    """An axis's values as text, whether they were typed or picked."""
    return ", ".join(map(as_written, picks)) if axis in PICKED and isinstance(picks, list) else text


def restore(engine: Engine, data: bytes, model: Any, language: str) -> dict[str, Any] | None:
    """What a sheet's recipe says of the axes: "<axis>_axis", "<axis>_values", "<axis>_picks"; None where it is no sheet's.

    Raises `Invalid` for axes that nobody can have."""
    found = png.read_any(data)
    grid = found.beside.get("grid")
    if found.family != IMAGES.name or not isinstance(grid, Mapping):
        return None
    params = GridParams.of(grid)
    out: dict[str, Any] = params.values()
    for which in ("x", "y"):
        axis, text = out[f"{which}_axis"], out[f"{which}_values"]
        picks = entries_of(text) if axis in PICKED else []
        shown, listed = axis_changed(engine, axis, found.settings.get("model", model), picks, language)
        offered = listed["choices"]
        listed["choices"] = [*offered, *((pick, pick) for pick in picks if pick not in dict(map(reversed, offered)))]
        out[f"{which}_values"] = shown | {"value": "" if axis in PICKED else text}
        out[f"{which}_picks"] = listed | {"value": picks}
    return out


# ---- painting ---------------------------------------------------------------------------------------------------


def _table(
    run: Run, language: str, now: Mapping[Place, Mapping[str, Any]] | None = None, sheet: str | None = None
) -> dict[str, Any]:
    """The payload of ui/grid_table.py."""
    now = now or {}
    cells = []
    for cell in run.plan.cells:
        path, recipe = run.made.get(cell.place, (None, None))
        said = run.failed.get(cell.place)
        state = "done" if path else "failed" if said else "now" if cell.place in now else "waiting"
        entry = {"column": cell.column, "row": cell.row, "state": state, "path": path, "recipe": recipe}
        entry |= {"said": said.to(language) if said else "", "share": None, "preview": None}
        cells.append(entry | dict(now.get(cell.place, {})))
    return {"x": _axis(run.plan.x, language), "y": _axis(run.plan.y, language), "cells": cells, "sheet": sheet}


def _axis(axis: Axis, language: str) -> dict[str, Any]:
    name = AXES[axis.name].to(language) if axis.name != NONE else ""
    return {"name": name, "labels": [label.to(language) for label in axis.labels]}


def _facts(run: Run, language: str) -> str:
    total = len(run.plan.cells)
    seconds = Words("{:.1f} s", "{:.1f} 秒").to(language)
    rows = [
        (Words("Pictures", "图片"), f"{len(run.made)} / {total}"),
        (Words("Could not be made", "未能生成"), str(len(run.failed)) if run.failed else ""),
        (Words("In all", "总计"), seconds.format(run.seconds)),
        (Words("Seed", "随机种子"), "" if "seed" in (run.plan.x.name, run.plan.y.name) else str(run.plan.base.seed)),
    ]
    return facts.facts(rows, language)


def _sheet(run: Run, language: str) -> str:
    """The file of the whole grid, which carries form and axes."""
    side = max(LEAST, round(1.5 * (LARGEST / len(run.plan.cells)) ** 0.5))
    pictures = {}
    for place, (path, _) in run.made.items():
        with Image.open(path) as found:
            found.thumbnail((side, side))
            pictures[place] = found.convert("RGB")
    page = sheet(run.plan.x, run.plan.y, pictures, language)
    recipe = _recipe(run)
    data = png.write(page, recipe)
    while len(data) > HEAVIEST:
        page = page.resize([max(1, int(0.9 * s * (HEAVIEST / len(data)) ** 0.5)) for s in page.size])
        data = png.write(page, recipe)
    return uploads.keep(data, "aigc-grid.png")


def _recipe(run: Run) -> dict[str, Any]:
    first = dict(next(iter(run.made.values()))[1])
    if MODEL in (run.plan.x.name, run.plan.y.name):
        first.pop("model")
    return first | {
        "settings": run.plan.base.values(),
        "grid": run.plan.grid.values(),
        "timings": {"total": round(run.seconds, 4)},
        "figures": {"pictures": len(run.made)},
    }
