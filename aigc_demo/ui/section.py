"""One section of a tab: a form, a button that makes and one that stops, and what the result is shown in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.events import Dependency

from aigc_demo.engine import Engine, Family
from aigc_demo.ui import facts, model_choice
from aigc_demo.ui.clicks import PRIVATE, bind_job, bind_stop
from aigc_demo.ui.form import Form
from aigc_demo.ui.model_choice import Rows
from aigc_demo.ui.words import Catalogue
from aigc_demo.words import Words

KEEP: Any = object()
"""An update's way to say "leave it as it is", where None means "empty it"."""


def changed(values: Mapping[Any, Any]) -> dict[Any, Any]:
    """What gradio is to change, of component -> value: all that is not to be kept."""
    return {component: value for component, value in values.items() if value is not KEEP}


@dataclass(frozen=True)
class Said:
    """The least that every section can show."""

    busy: bool = KEEP
    status: str = KEEP


@dataclass(frozen=True)
class Part:
    """One section: its form, its two buttons, and what its result is shown in, by the names of its updates."""

    form: Form
    make: gr.Button
    stop: gr.Button
    model_note: gr.HTML
    shown: dict[str, Any]

    def paint(self, update: Any) -> dict[Any, Any]:
        """update: has some of `shown`'s names and perhaps `busy`; what it has not, or is KEEP, stays."""
        out: dict[Any, Any] = {}
        busy = getattr(update, "busy", KEEP)
        if busy is not KEEP:
            out[self.make] = gr.update(visible=not busy)
            out[self.stop] = gr.update(visible=busy)
        return out | changed({component: getattr(update, name, KEEP) for name, component in self.shown.items()})

    @property
    def painted(self) -> list[Any]:
        return [self.make, self.stop, *self.shown.values()]


def buttons(say: Catalogue, name: str, words: Words) -> tuple[gr.Button, gr.Button]:
    with gr.Row():
        make = gr.Button(say(words), elem_id=f"{name}-make-button", variant="primary", min_width=90)
        stop = gr.Button(
            say(Words("Stop", "停止")), elem_id=f"{name}-stop-button", variant="stop", visible=False, min_width=90
        )
    return make, stop


def picture_input(say: Catalogue, name: str) -> gr.Image:
    """Where a person gives the picture that a section works on."""
    return gr.Image(
        label=say(Words("Picture", "图片")),
        elem_id=f"{name}-image",
        sources=["upload", "webcam", "clipboard"],
        type="filepath",
        height=220,
        buttons=[],
    )


def bind(
    engine: Engine,
    family: Family,
    part: Part,
    work: Callable[..., Iterator[Any]],
    language: gr.Textbox,
    arrived: Dependency,
    *,
    waiting: Words,
    already: Words,
    more: Callable[[Any], Rows] = lambda spec: (),
) -> Callable[[Callable[..., Any]], Any]:
    """Bind a section; returns what binds its job to one more trigger.

    work: (engine, values by name, language, session) -> updates. more: of a spec, for the model's note.
    """
    form, model = part.form, part.form.components["model"]

    def job(values: list[Any], request: gr.Request, _event: dict[str, Any]) -> Iterator[dict[Any, Any]]:
        chosen, *settings = values
        named = dict(zip(form.names, settings, strict=True))
        for update in work(engine, named, chosen, request.session_hash or ""):
            yield part.paint(update)

    def bound(trigger: Callable[..., Any]) -> Any:
        return bind_job(
            trigger,
            job,
            engine=engine,
            family=family,
            language=language,
            inputs=[language, *form.inputs],
            outputs=part.painted,
            waiting=lambda chosen: part.paint(Said(busy=True, status=facts.busy(waiting, chosen))),
            rest=lambda: part.paint(Said(busy=False, status="")),
            already=already,
        )

    def note(chosen_model: Any, chosen: str) -> str:
        return model_choice.model_note(engine, family, chosen_model, chosen, more=more)

    for trigger in (arrived.then, model.input):
        trigger(note, [model, language], [part.model_note], **PRIVATE)
    bind_stop(part.stop, family)
    return bound
