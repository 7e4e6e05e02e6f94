"""A click that makes a job, the same for every tab: heard at once, queued, one at a time for each visitor, never left waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
from gradio.components import Component

from aigc_demo.engine import Engine, Family
from aigc_demo.errors import Invalid
from aigc_demo.ui.run import JOBS, listener, told_in
from aigc_demo.words import Words

PRIVATE: dict[str, Any] = {"api_visibility": "private", "preprocess": False, "show_progress": "hidden"}
"""For events of the page: Params check the values, not gradio, whose messages are English only."""
QUICK: dict[str, Any] = {**PRIVATE, "queue": False}

Outputs = dict[Any, Any]


def bind_job(
    trigger: Callable[..., Any],
    work: Callable[[list[Any], gr.Request, dict[str, Any]], Iterator[Outputs]],
    *,
    engine: Engine,
    family: Family,
    language: Component,
    inputs: list[Component],
    outputs: list[Component],
    waiting: Callable[[str], Outputs],
    rest: Callable[[], Outputs],
    already: Words,
) -> Any:
    """Bind `work` to a trigger; returns gradio's dependency.

    work: (the inputs' values, request, event data) -> what to show, again and again. waiting: (language) -> what to show
    until it begins. rest: what to show when it ended badly. already: told where this visitor has a job of the family.
    """
    nothing = {outputs[0]: gr.skip()}
    place = inputs.index(language)

    def wait(chosen: str, request: gr.Request) -> Outputs:
        """Say at once that the click was heard; it may have to wait for its turn."""
        return waiting(chosen) if JOBS.expect(request.session_hash or "", family.name) else nothing

    def turned_away(request: gr.Request) -> Outputs:
        """A full queue refuses a click before it reaches its handler, and so nobody ends the waiting."""
        if JOBS.is_running(request.session_hash or "", family.name):
            return nothing
        JOBS.forget(request.session_hash or "", family.name)
        return rest()

    def clicked(values: list[Any], request: gr.Request, event: dict[str, Any]) -> Iterator[Outputs]:
        with told_in(values[place]):
            if JOBS.is_running(request.session_hash or "", family.name):
                raise Invalid(already)
            try:
                yield from work(values, request, event)
            except Exception:
                yield rest()
                raise

    trigger(wait, [language], outputs, **QUICK)
    made = trigger(
        listener(clicked, inputs),
        inputs=inputs,
        outputs=outputs,
        concurrency_id=family.name,
        concurrency_limit=engine.settings.concurrency,
        **PRIVATE,
    )
    made.failure(turned_away, outputs=outputs, **QUICK)
    return made


def bind_stop(button: gr.Button, family: Family, between: bool = False) -> None:
    """Stop this visitor's jobs of one family; `between`: when what they have in hand is done."""

    def stop(request: gr.Request) -> None:
        JOBS.stop(request.session_hash or "", family.name, between)

    button.click(stop, **QUICK)
