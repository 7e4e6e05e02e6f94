"""The section that moves w along its strongest directions: every change of a slider is shown at once, the newest first."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
from gradio.events import Dependency

from aigc_demo import png
from aigc_demo.engine import Engine
from aigc_demo.errors import Invalid
from aigc_demo.generators.gan_directions import FOUND, NAMES, SEEDED, Moved
from aigc_demo.generators.gan_rows import GAN_DIRECTIONS
from aigc_demo.results import Done
from aigc_demo.ui import facts, model_choice, uploads
from aigc_demo.ui.clicks import PRIVATE, QUICK
from aigc_demo.ui.form import Form
from aigc_demo.ui.gan_project_page import saving
from aigc_demo.ui.run import listener, run, told_in
from aigc_demo.ui.score_plot import signed
from aigc_demo.ui.section import KEEP, changed
from aigc_demo.words import Words

SHARES = Words("Share of all of w's variance", "占 w 全部方差的比例")
TOGETHER = Words("all six: {share:.0%}", "六个合计 {share:.0%}")
OTHER_MODEL = Words(
    "The picture was found with “{model}”. Choose that model, or start from a seed.",
    "该图片是用“{model}”找到的。请选择该模型，或从种子开始。",
)
FROM_FOUND = Words("Without effect: the start is a picture that was found.", "不起作用：起点是找到的图片。")
NONE_FOUND = Words("Find a picture by projection first, to start from it.", "先用投影找到一张图片，才能从它开始。")
SEEDS = 1_000_000
"""Another seed is drawn below this: short enough to be read and typed."""


@dataclass(frozen=True)
class Update:
    """What the page shows from now on."""

    view: str = KEEP
    shares: str = KEEP
    status: str = KEEP


@dataclass(frozen=True)
class Panel:
    """The section's components. found: {"model": id, "w": numbers} of the newest picture that was found, or None."""

    form: Form
    reset: gr.Button
    another: gr.Button
    model_note: gr.HTML
    found: gr.JSON
    shown: dict[str, Any]

    def paint(self, update: Update) -> dict[Any, Any]:
        return changed({component: getattr(update, name) for name, component in self.shown.items()})


def move(engine: Engine, values: Mapping[str, Any], found: Any, language: str, session: str) -> Iterator[Update]:
    """values: of `DirectionsParams` but for w."""
    for item in run(engine, GAN_DIRECTIONS, {**values, "w": _w(found, values)}, session):
        if isinstance(item, Done):
            made: Moved = item.value
            file = uploads.data_uri(png.write(made.picture, item.recipe))
            start = values["seed"] if values["start"] == SEEDED else "projected"
            name = f"aigc-{start}-moved.png"
            yield Update(
                view=f"<div class='aigc-one'><img src='{escape(file)}' alt=''>{saving(file, name, language)}</div>",
                shares=_shares(made.shares, language),
                status=_facts(item.recipe, language),
            )
        else:
            yield Update(status=facts.progress(item, language))


def _w(found: Any, values: Mapping[str, Any]) -> Any:
    if values["start"] != FOUND or not isinstance(found, Mapping):
        return []
    if found.get("model") != values["model"]:
        raise Invalid(OTHER_MODEL.format(model=str(found.get("model"))[:80]))
    return found.get("w")


def _shares(shares: tuple[float, ...], language: str) -> str:
    most = max(*shares, 1e-9)
    label = SHARES.to(language)
    rows = "".join(
        f"<li><span>{n}</span><i style='--share:{share / most:.1%}'></i><span>{share:.1%}</span></li>"
        for n, share in enumerate(shares, 1)
    )
    together = TOGETHER.to(language).format(share=sum(shares))
    return f"<div class='aigc-shares'><p>{escape(label)} <span>{escape(together)}</span></p><ol>{rows}</ol></div>"


def _facts(recipe: Mapping[str, Any], language: str) -> str:
    figures = recipe["figures"]
    usual = Words("{:.2f} of the usual", "通常距离的 {:.2f} 倍").to(language)
    milliseconds = Words("{:.0f} ms", "{:.0f} 毫秒").to(language)
    return facts.facts(
        [
            (Words("Model", "模型"), str(recipe["model"]["name"])),
            (Words("Score", "得分"), signed(figures["score"])),
            (Words("Distance from the mean of w", "到 w 均值的距离"), usual.format(figures["away"])),
            (Words("Made in", "用时"), milliseconds.format(recipe["timings"]["total"] * 1000)),
        ],
        language,
    )


def bind(
    engine: Engine, panel: Panel, language: gr.Textbox, arrived: Dependency, opened: gr.Tab
) -> Callable[[Callable[..., Any]], Dependency]:
    """Bind the section, which makes its first picture when its tab is opened; returns what binds a trigger to a picture of
    the present values, and to what may be started from."""
    knobs = panel.form.components
    start, seed, model = knobs["start"], knobs["seed"], knobs["model"]

    def show(values: list[Any], request: gr.Request, _event: dict[str, Any]) -> Iterator[dict[Any, Any]]:
        chosen, found, *settings = values
        with told_in(chosen):
            try:
                named = dict(zip(panel.form.names, settings, strict=True))
                for update in move(engine, named, found, chosen, request.session_hash or ""):
                    yield panel.paint(update)
            except Exception:
                yield {panel.shown["status"]: ""}
                raise

    inputs = [language, panel.found, *panel.form.inputs]
    moved: dict[str, Any] = {
        "fn": listener(show, inputs),
        "inputs": inputs,
        "outputs": list(panel.shown.values()),
        "concurrency_id": GAN_DIRECTIONS.name,
        "concurrency_limit": engine.settings.concurrency,
        **PRIVATE,
    }
    sliders = [knobs[name] for name in NAMES]
    gr.on(
        # a seed while it is typed is another one
        [*(knob.change for knob in (*sliders, start, knobs["truncation"])), seed.submit, seed.blur, model.input],
        trigger_mode="always_last",
        **moved,
    )
    opened.select(trigger_mode="always_last", **moved)
    panel.reset.click(lambda: [0.0] * len(NAMES), None, sliders, **QUICK)
    panel.another.click(lambda: random.randrange(SEEDS), None, [seed], **QUICK).then(**moved)

    def switch(chosen_start: str, found: Any, chosen: str) -> dict[Any, Any]:
        on, markers = chosen_start == SEEDED, panel.form.params.markers()
        started = {
            start: gr.update(
                interactive=bool(found), info=(markers["start"][1].help if found else NONE_FOUND).to(chosen)
            )
        }
        for name in ("seed", "truncation"):
            info = markers[name][1].help if on else FROM_FOUND
            started[knobs[name]] = gr.update(interactive=on, info=info.to(chosen))
        return started | {panel.another: gr.update(interactive=on)}

    switched: dict[str, Any] = {
        "fn": switch,
        "inputs": [start, panel.found, language],
        "outputs": [start, seed, knobs["truncation"], panel.another],
        **PRIVATE,
    }
    for event in (start.change, opened.select):
        event(**switched)

    def note(chosen_model: Any, chosen: str) -> str:
        return model_choice.model_note(engine, GAN_DIRECTIONS, chosen_model, chosen)

    for trigger in (arrived.then, model.input):
        trigger(note, [model, language], [panel.model_note], **PRIVATE)

    def bound(trigger: Callable[..., Any]) -> Dependency:
        return trigger(**switched).then(**moved)

    return bound
