"""Under the prompt: what a model learnt to draw, where its folder says so; a click asks for it.

A small model draws few things. Who doesn't know which, asks for others and takes the blobs for a fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr

from aigc_demo.engine import Engine
from aigc_demo.errors import UserError
from aigc_demo.generators import witness
from aigc_demo.generators.diffusion_rows import IMAGES
from aigc_demo.ui.clicks import QUICK
from aigc_demo.weights import locate
from aigc_demo.words import Words

FIRST = 9
LEARNT = Words("It learnt to draw {count:,} things:", "它学会了画 {count:,} 种东西：")
ALL = Words("all of them", "全部")
INTO_PROMPT = """
element.addEventListener("click", ({target}) => {
  const idea = target.closest(".aigc-idea");
  if (!idea) return;
  const box = document.querySelector("#images-prompt textarea");
  box.value = idea.textContent;
  box.dispatchEvent(new Event("input", {bubbles: true}));
  box.focus();
});
"""


def place(elem_id: str) -> gr.HTML:
    """Where they are shown, where the layout stands now."""
    return gr.HTML(elem_id=elem_id, padding=False, js_on_load=INTO_PROMPT)


def shown(engine: Engine, model: Any, language: str) -> str:
    """Some of the names, and all of them to unfold; "" for a model that tells none, or whose folder is not here."""
    try:
        here = locate(engine.spec(IMAGES, str(model)).source, engine.places)
    except UserError:
        return ""
    names = witness.names(here.folder / witness.NAMES_FILE) if here else None
    if names is None:
        return ""
    told = names[language]
    some = told[:: max(1, len(told) // FIRST)][:FIRST]
    return (
        f"<div class='aigc-ideas'><span class='aigc-note'>{escape(LEARNT.format(count=len(told)).to(language))}</span>"
        f"{_buttons(some)}<details><summary>{escape(ALL.to(language))}</summary><div>{_buttons(told)}</div></details></div>"
    )


def bind(ideas: gr.HTML, engine: Engine, model: Any, language: gr.Textbox, arrived: Any) -> None:
    for happened in (arrived.then, model.change):
        happened(
            lambda *values: shown(engine, *values), [model, language], [ideas], trigger_mode="always_last", **QUICK
        )


def _buttons(names: Sequence[str]) -> str:
    return "".join(f"<button type='button' class='aigc-idea'>{escape(name)}</button>" for name in names)
