"""The travel part of the Images tab: several prompts or one seed, a way through them, and a player."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from aigc_demo import png
from aigc_demo.engine import Engine
from aigc_demo.generators.diffusion_rows import TRAVEL
from aigc_demo.generators.diffusion_travel import Travelled, TravelParams
from aigc_demo.results import Done
from aigc_demo.ui import facts, player, uploads
from aigc_demo.ui.clicks import PRIVATE, Outputs, bind_job, bind_stop
from aigc_demo.ui.form import Form
from aigc_demo.ui.images_page import ALREADY, GIVEN, WAITING
from aigc_demo.ui.run import paced, run, told_in
from aigc_demo.ui.words import Catalogue
from aigc_demo.words import Words

TITLE = Words("Travel: frames between prompts, or around a seed", "漫游：提示词之间，或绕种子一圈")
ABOUT = Words(
    "Every frame is a picture of its own, with the settings above. Between prompts the words' embeddings are walked "
    "through, around a seed the noise.",
    "每一帧都是一张独立的图片，使用上方的设置。在提示词之间走过的是文字的嵌入，绕种子走过的是噪声。",
)
EXAMPLE = Words("cat face\ndog face\nfox", "猫脸\n狗脸\n狐狸")
RESTORED = Words("The way is restored: travel to see it again.", "路线已恢复：点击开始即可重现。")
OWN = ("prompt", "route", "frames", "loop")
"""Fields of the panel's own form; the others are those of the tab's."""
UNUSED = (*GIVEN, "strength", "num_images")
PER_SECOND = 8


@dataclass(frozen=True)
class Panel:
    """The components of the accordion."""

    fold: gr.Accordion
    form: Form
    make: gr.Button
    stop: gr.Button
    status: gr.HTML
    player: gr.HTML

    def busy(self, busy: bool, status: str = "") -> Outputs:
        return {
            self.make: gr.update(visible=not busy),
            self.stop: gr.update(visible=busy),
            self.status: status,
        }


def place_travel(say: Catalogue, language: gr.Textbox) -> Panel:
    """The accordion, where the layout stands now."""
    form = Form(TravelParams, "travel", say)
    with gr.Accordion(say(TITLE), open=False, elem_id="images-travel") as fold:
        gr.Markdown(say(ABOUT), elem_classes="aigc-note")
        with gr.Row(elem_classes="aigc-columns"):
            with gr.Column(scale=3, min_width=300):
                form.place(
                    "prompt",
                    label=say(Words("Prompts, one a line", "提示词，每行一个")),
                    info=None,
                    lines=3,
                    max_lines=8,
                    placeholder=say(EXAMPLE),
                )
            with gr.Column(scale=2, min_width=280):
                for name in OWN[1:]:
                    form.place(name)
        with gr.Row():
            make = gr.Button(say(Words("Travel", "开始漫游")), elem_id="travel-make-button", variant="primary")
            stop = gr.Button(say(Words("Stop", "停止")), elem_id="travel-stop-button", variant="stop", visible=False)
        status = gr.HTML(elem_id="travel-status")
        shown = player.player(language, elem_id="travel-player")
    return Panel(fold, form, make, stop, status, shown)


def bind_travel(
    panel: Panel, engine: Engine, form: Form, language: gr.Textbox, drop: gr.UploadButton, dropped: Any
) -> None:
    """form: of the tab, for the settings of a picture. drop, dropped: where recipes are given back, and its event."""
    names = [name for name in form.names if name not in (*OWN, *UNUSED)]
    inputs = [language, *panel.form.inputs, *(form.components[name] for name in names)]

    def job(values: list[Any], request: gr.Request, _event: dict[str, Any]) -> Iterator[Outputs]:
        chosen, *settings = values
        named = dict(zip([*panel.form.names, *names], settings, strict=True))
        yield panel.busy(True) | {panel.player: None}
        states = travelled(engine, named, chosen, request.session_hash or "")
        for payload, status, final in paced(((state, state[2]) for state in states), PER_SECOND):
            out: Outputs = panel.busy(not (final and payload and not payload["live"]), status)
            yield out | ({panel.player: payload} if payload else {})

    bind_job(
        panel.make.click,
        job,
        engine=engine,
        family=TRAVEL,
        language=language,
        inputs=inputs,
        outputs=[panel.make, panel.stop, panel.status, panel.player],
        waiting=lambda chosen: panel.busy(True, facts.busy(WAITING, chosen)),
        rest=lambda: panel.busy(False),
        already=ALREADY,
    )
    bind_stop(panel.stop, TRAVEL)

    def restore(file: Any, chosen: str) -> Outputs:
        with told_in(chosen):
            settings = restored(uploads.read(file) or b"")
            if settings is None:
                return {panel.fold: gr.skip()}
            values = {panel.form.components[n]: v for n, v in settings.items() if n in OWN}
            values |= {form.components[n]: v for n, v in settings.items() if n in names}
            return values | {panel.fold: gr.update(open=True), panel.status: facts.note(RESTORED.to(chosen))}

    dropped(restore, [drop, language], [panel.fold, panel.status, *panel.form.inputs, *form.inputs], **PRIVATE)


def restored(data: bytes) -> dict[str, Any] | None:
    """The settings of a travel that a file carries; None where it is another family's."""
    found = png.read_any(data)
    if found.family != TRAVEL.name:
        return None
    own = {name: value for name, value in found.settings.items() if name not in GIVEN}
    checked = TravelParams.of(own)
    return {name: getattr(checked, name) for name in own}


def travelled(
    engine: Engine, values: Mapping[str, Any], language: str, session: str
) -> Iterator[tuple[dict[str, Any] | None, str, bool]]:
    """(the player's payload or None for the one before, status, whether it must be shown) of a run."""
    title = Words("Frames", "各帧").to(language)
    frames: list[str] = []
    for item in run(engine, TRAVEL, values, session):
        if isinstance(item, Done):
            made: Travelled = item.value
            track = {"title": title, "frames": frames, "changes": made.changes}
            payload = {"tracks": [track], "total": len(frames), "live": False, "recipe": item.recipe}
            yield payload, facts.walk_facts(item.recipe, language), True
        elif item.stage == "frames" and item.value is not None:
            frames = [*frames, *player.kept(item.value)]
            live = {"tracks": [{"title": title, "frames": frames}], "total": item.total, "live": True}
            yield live, facts.progress(item, language), True
        else:
            yield None, facts.progress(item, language), item.stage == "load"
