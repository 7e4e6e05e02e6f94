"""An X/Y grid: one picture again and again, with one or two settings that differ from cell to cell.

grid + form -> Plan: two axes, and what every cell has of its own -> the cells one after the other, model by model
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from aigc_demo.errors import Invalid, ModelUnavailable, Stopped
from aigc_demo.generators.diffusion_axes import AXES, MODEL, MOST, NONE, WORDS, Axis, GridParams, axis, too_many
from aigc_demo.generators.diffusion_memory import AT_ONCE
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.results import Done, Step
from aigc_demo.words import Words
from aigc_demo.worker import Stop


@dataclass(frozen=True)
class Cell:
    """One picture to be made: its place, and the settings that it has of its own."""

    column: int
    row: int
    own: Mapping[str, Any]

    @property
    def place(self) -> tuple[int, int]:
        return self.column, self.row


@dataclass(frozen=True)
class Plan:
    """base: what the cells have in common, with its seed drawn. cells: in the order in which they are made, so that each
    model loads once."""

    base: ImageParams
    x: Axis
    y: Axis
    cells: tuple[Cell, ...]

    @property
    def grid(self) -> GridParams:
        return GridParams(self.x.name, self.x.written, self.y.name, self.y.written)

    def setting(self, cell: Cell, name: str) -> Any:
        return cell.own.get(name, getattr(self.base, name))

    def request(self, cell: Cell) -> ImageParams:
        return replace(self.base, **cell.own)


def plan(grid: GridParams, form: Mapping[str, Any]) -> Plan:
    """The grid's cells. form: the settings of an ImageParams; a cell is one picture, however many the form asks for.

    Raises `Invalid` for axes that cannot be read, or that would make nothing to compare.
    """
    if grid.x_axis == grid.y_axis == NONE:
        raise Invalid(
            Words(
                "Nothing differs yet: choose what the X axis or the Y axis varies.",
                "目前没有任何差异：请选择 X 轴或 Y 轴要改变的设置。",
            )
        )
    base: ImageParams = ImageParams.of(form).resolved()
    x, y = axis("x", grid, base), axis("y", grid, base)
    if x.name == y.name and (x.name != WORDS or x.entries[0] == y.entries[0]):
        raise Invalid(
            Words(
                "Both axes vary the same: {name}. Choose another one, or none.",
                "两个轴改变的是同一项：{name}。请换一项，或选“无”。",
            ).format(name=AXES[x.name])
        )
    if len(x.entries) * len(y.entries) > MOST:
        raise too_many(len(x.entries) * len(y.entries))
    cells = [
        Cell(column, row, _changes(base, x, column, y, row))
        for row in range(len(y.entries))
        for column in range(len(x.entries))
    ]
    models = [entry for one in (x, y) if one.name == MODEL for entry in one.entries]
    if models:
        cells.sort(key=lambda cell: models.index(cell.own[MODEL]))
    return Plan(base, x, y, tuple(cells))


def generate(
    plan: Plan,
    done: Collection[tuple[int, int]],
    run: Callable[[ImageParams, Stop], Iterator[Step[Any] | Done[Any]]],
    stop: Stop,
) -> Iterator[tuple[Cell, Step[Any] | Done[Any] | Exception]]:
    """The cells that are not yet `done`, each with its steps and then its Done, or with what went wrong with it.

    run: makes one picture. A cell that goes wrong leaves the others alone; a model that is not to be had is asked for
    once. Ends early where `stop` says so, without the cell in hand, or between two.
    """
    missing: dict[str, Exception] = {}
    for cell in plan.cells:
        if cell.place in done:
            continue
        if stop.between():
            return
        model = plan.setting(cell, MODEL)
        if model in missing:
            yield cell, missing[model]
            continue
        try:
            with closing(run(plan.request(cell), stop)) as steps:  # type: ignore[type-var] # they are generators
                for item in steps:
                    if isinstance(item, Done) and item.value.finish == "stopped":
                        return
                    yield cell, item
        except Stopped:
            return
        except Exception as error:  # noqa: BLE001 - told in its cell, whatever it is
            if isinstance(error, ModelUnavailable):
                missing[model] = error
            yield cell, error


def seconds(
    plan: Plan, done: Collection[tuple[int, int]], measured: Mapping[str, Mapping[str, float]], kind: str
) -> float | None:
    """About how long the cells take that are not `done`, loading left out; None where a model was never measured.

    measured: model id -> the numbers of its last run. kind: of the device.
    """
    total = 0.0
    for cell in plan.cells:
        if cell.place in done:
            continue
        known = measured.get(plan.setting(cell, MODEL))
        if not known or not known.get("pictures") or not known.get("steps"):
            return None
        pixels = known["width"] * known["height"]
        together = min(known["pictures"], max(1, AT_ONCE[kind] // max(1, pixels)))
        step = known["per_step"] or known["first_step"]
        rest = max(0.0, known["total"] - step * known["steps"]) / known["pictures"]
        steps = plan.setting(cell, "num_inference_steps")
        if plan.base.image is not None:
            steps *= plan.setting(cell, "strength")
        sides = [plan.setting(cell, side) or known[side] for side in ("width", "height")]
        total += (rest + step / together * max(1.0, steps)) * (sides[0] * sides[1] / pixels)
    return total


def _changes(base: ImageParams, x: Axis, column: int, y: Axis, row: int) -> dict[str, Any]:
    """What a cell's request has of its own."""
    chosen = [(one, one.entries[n]) for one, n in ((x, column), (y, row)) if one.name != NONE]
    own = {one.name: entry for one, entry in chosen if one.name != WORDS} | {"num_images": 1}
    words = {one.entries[0]: entry for one, entry in chosen if one.name == WORDS}
    if words:  # both at once, so that neither finds what the other has put there
        searched = re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)))
        for field in ("prompt", "negative_prompt"):
            own[field] = searched.sub(lambda found: words[found[0]], getattr(base, field))
    return own
