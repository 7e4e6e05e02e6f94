"""The grid's part of the Images tab: its axes, its buttons, its table; what they do is in ui/grid_page.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from aigc_demo.engine import Engine
from aigc_demo.generators.diffusion_axes import GridParams
from aigc_demo.generators.diffusion_rows import IMAGES
from aigc_demo.ui import facts, grid_page, uploads
from aigc_demo.ui.clicks import PRIVATE, QUICK, Outputs, bind_job, bind_stop
from aigc_demo.ui.form import Form
from aigc_demo.ui.grid_page import Shown
from aigc_demo.ui.grid_table import grid_table
from aigc_demo.ui.images_page import ALREADY, WAITING
from aigc_demo.ui.run import told_in
from aigc_demo.ui.words import Catalogue
from aigc_demo.words import Words

TITLE = Words("Compare settings: X/Y grid", "对比设置：X/Y 网格")
COUNTED = ("model", "num_inference_steps", "width", "height", "strength")
"""Settings of the form that change what a grid costs."""
RESTORED = Words("Both axes are restored: make the grid to see it again.", "两个轴已恢复：点击生成网格即可重现。")


@dataclass(frozen=True)
class Panel:
    """The components of the grid. axes: axis, text and list of X, then those of Y. run: a `grid_page.Run` or None."""

    fold: gr.Accordion
    form: Form
    axes: list[Component]
    cost: gr.HTML
    make: gr.Button
    stop: gr.Button
    between: gr.Button
    resume: gr.Button
    status: gr.HTML
    table: gr.HTML
    run: gr.State

    def paint(self, shown: Shown) -> Outputs:
        return {
            self.table: shown.table,
            self.status: shown.status,
            self.run: shown.run,
            **self.busy(shown.busy),
            self.resume: gr.update(visible=not shown.busy and not shown.run.whole, interactive=True),
        }

    def busy(self, busy: bool) -> Outputs:
        """The buttons that go with a grid being made, or not."""
        return {
            self.make: gr.update(visible=not busy),
            self.stop: gr.update(visible=busy),
            self.between: gr.update(visible=busy),
            self.resume: gr.update(interactive=not busy),
        }

    @property
    def painted(self) -> list[Any]:
        return [self.table, self.status, self.run, self.make, self.stop, self.between, self.resume]


def place_grid(say: Catalogue) -> Panel:
    """The grid's accordion, where the layout stands now."""
    form = Form(GridParams, "grid", say)
    part: dict[str, Any] = {"form": form, "axes": []}

    def button(name: str, words: Words, **options: Any) -> None:
        part[name] = gr.Button(say(words), elem_id=f"grid-{name}-button", min_width=90, **options)

    with gr.Accordion(say(TITLE), open=False, elem_id="images-grid") as part["fold"]:
        with gr.Row():
            for which in ("x", "y"):
                with gr.Column(min_width=280), gr.Row():
                    axis = form.place(f"{which}_axis", info=None, min_width=150, scale=2)
                    text = form.place(f"{which}_values", info=None, min_width=150, scale=3, lines=1, visible=False)
                    picks = gr.Dropdown(
                        label=say(form.params.markers()[f"{which}_values"][1].label),
                        choices=[],
                        multiselect=True,
                        visible=False,
                        min_width=150,
                        scale=3,
                        elem_id=f"grid-{which}_picks",
                    )
                    part["axes"] += [axis, text, picks]
        gr.Markdown(say(GridParams.markers()["x_values"][1].help), elem_classes="aigc-note")
        part["cost"] = gr.HTML(elem_id="grid-cost")
        with gr.Row():
            button("make", Words("Make the grid", "生成网格"), variant="primary")
            button("stop", Words("Stop", "停止"), variant="stop", visible=False)
            button("between", BETWEEN, visible=False)
            button("resume", Words("Make the missing ones", "继续生成缺少的"), visible=False)
        part["status"] = gr.HTML(elem_id="grid-status")
        part["table"] = grid_table(elem_id="grid-table")
        part["run"] = gr.State(None)
    return Panel(**part)


BETWEEN = Words("Stop after this picture", "完成这一张后停止")


def bind_grid(
    panel: Panel,
    *,
    engine: Engine,
    form: Form,
    canvas: Component,
    language: gr.Textbox,
    arrived: Dependency,
    drop: gr.UploadButton,
    dropped: Dependency,
    busy: Callable[[bool], Outputs],
    also: Sequence[Component],
    measured: Sequence[Dependency],
) -> list[Dependency]:
    """Bind the grid to its form; returns the dependencies of its jobs.

    dropped: when a recipe given to `drop` has been restored. busy: what `also` shows while a grid is made, or not.
    measured: after what the cost may be known better.
    """
    model = form.components["model"]
    outputs = [*panel.painted, *also]

    def asked(values: Sequence[Any]) -> tuple[dict[str, Any], Any, dict[str, Any]]:
        """(settings, canvas, axes) of [canvas, *axes, *form]."""
        x, x_text, x_picks, y, y_text, y_picks = values[1:7]
        axes = {"x_axis": x, "x_values": grid_page.values(x, x_text, x_picks)}
        axes |= {"y_axis": y, "y_values": grid_page.values(y, y_text, y_picks)}
        return dict(zip(form.names, values[7:], strict=True)), values[0], axes

    def make(values: list[Any], request: gr.Request, event: dict[str, Any]) -> Iterator[Outputs]:
        chosen, *rest = values
        yield from show(grid_page.begin(*asked(rest)), chosen, request)

    def resume(values: list[Any], request: gr.Request, event: dict[str, Any]) -> Iterator[Outputs]:
        yield from show(grid_page.again(values[1]), values[0], request)

    def show(run: grid_page.Run, chosen: str, request: gr.Request) -> Iterator[Outputs]:
        for shown in grid_page.make(engine, run, chosen, request.session_hash or ""):
            yield panel.paint(shown) | busy(shown.busy)

    job: dict[str, Any] = {"engine": engine, "family": IMAGES, "language": language, "outputs": outputs}
    job |= {
        "waiting": lambda chosen: panel.busy(True) | busy(True) | {panel.status: facts.busy(WAITING, chosen)},
        "rest": lambda: panel.busy(False) | busy(False) | {panel.status: ""},
        "already": ALREADY,
    }
    inputs = [canvas, *panel.axes, *form.inputs]
    jobs = [
        bind_job(panel.make.click, make, inputs=[language, *inputs], **job),
        bind_job(panel.resume.click, resume, inputs=[language, panel.run], **job),
    ]
    bind_stop(panel.stop, IMAGES)
    bind_stop(panel.between, IMAGES, between=True)

    counted: dict[str, Any] = {
        "fn": lambda chosen, *values: grid_page.cost(engine, *asked(values), chosen),
        "inputs": [language, *inputs],
        "outputs": [panel.cost],
        "trigger_mode": "always_last",
        **QUICK,
    }
    x, x_text, x_picks, y, y_text, y_picks = panel.axes
    for axis, text, picks in ((x, x_text, x_picks), (y, y_text, y_picks)):
        offered: dict[str, Any] = {
            "fn": lambda *values: grid_page.axis_changed(engine, *values),
            "inputs": [axis, model, picks, language],
            "outputs": [text, picks],
            **QUICK,
        }
        axis.input(**offered)
        model.input(**offered)
    knobs = [*panel.axes, *(form.components[name] for name in COUNTED)]
    gr.on([knob.change for knob in knobs] + [form.components["prompt"].blur, canvas.change], **counted)
    for dependency in (arrived, *measured, *jobs):
        dependency.then(**counted)

    def restore(file: Any, model: Any, chosen: str) -> Outputs:
        with told_in(chosen):
            found = grid_page.restore(engine, uploads.read(file) or b"", model, chosen)
        if found is None:
            return {panel.status: gr.skip()}
        names = [f"{which}_{part}" for which in ("x", "y") for part in ("axis", "values", "picks")]
        axes = dict(zip(panel.axes, (found[name] for name in names), strict=True))
        return axes | {panel.fold: gr.update(open=True), panel.status: facts.note(RESTORED.to(chosen))}

    dropped.success(restore, [drop, model, language], [panel.fold, panel.status, *panel.axes], **PRIVATE)
    return jobs
