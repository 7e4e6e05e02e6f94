"""Under a prompt, while it is typed: how many of the model's tokens it takes, and which words fall off its end.

Nothing is fetched and no model is loaded for it: where the model's folder is not here, nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import gradio as gr

from aigc_demo.engine import Engine
from aigc_demo.errors import UserError
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.generators.diffusion_rows import IMAGES
from aigc_demo.generators.prompt_tokens import Readers
from aigc_demo.generators.prompt_weights import plain, weighted
from aigc_demo.generators.styles import styled
from aigc_demo.ui.clicks import QUICK
from aigc_demo.ui.form import Form
from aigc_demo.weights import locate
from aigc_demo.words import Words

PAUSE = "() => new Promise((done) => setTimeout(done, 250))"
"""What stands there when it is over is counted, not every letter on the way."""
TOLD = 120
"""Characters of what falls off that are shown."""
OF = Words("{used:,} / {limit:,} tokens", "{used:,} / {limit:,} 个词元")
REST = Words("Too long; this is not read: “{rest}”", "太长，读不到这一部分：“{rest}”")
HINT = Words("(word:1.3) counts more, [word] less", "(词:1.3) 加重，[词] 减轻")
FREE = Words("No words: the model then paints what it likes.", "没有文字：模型想画什么就画什么。")
NO_WEIGHTS = Words("weights have no effect on this model", "权重对该模型不起作用")


def place(elem_id: str) -> gr.HTML:
    """Where it is said, where the layout stands now."""
    return gr.HTML(elem_id=elem_id, elem_classes="aigc-count-place", padding=False)


def bind(
    shown: gr.HTML, engine: Engine, form: Form, language: gr.Textbox, others: Sequence[Callable[..., Any]]
) -> None:
    """others: what else may change the count, such as a model that is here now."""
    readers = Readers()
    inputs = [form.components[name] for name in ("prompt", "style", "model")]
    count: dict[str, Any] = {
        "fn": lambda *values: told(engine, readers, *values),
        "inputs": [*inputs, language],
        "outputs": [shown],
        "trigger_mode": "always_last",
        **QUICK,
    }
    for field in inputs:
        field.change(None, js=PAUSE, **QUICK).then(**count)
    for happened in others:
        happened(**count)


def told(engine: Engine, readers: Readers, prompt: Any, style: Any, model: Any, language: str) -> str:
    """What is said of a prompt; "" where there is nothing to say."""
    try:
        asked = ImageParams.of({"prompt": prompt, "style": style, "model": model})
        source = engine.spec(IMAGES, asked.model).source
        if not asked.prompt.strip():
            return f"<div class='aigc-count'><span>{escape(FREE.to(language))}</span></div>"
        here = locate(source, engine.places)
    except UserError:
        return ""
    found = readers.read(here.folder, plain(styled(asked.prompt, asked.style))) if here else None
    if found is None:
        return ""
    reading, weighs = found
    aside = HINT if weighs else NO_WEIGHTS if weighted(asked.prompt) else None
    cut = reading.rest if len(reading.rest) <= TOLD else reading.rest[:TOLD] + "…"
    over = f"<p class='aigc-note warn' role='status'>{escape(REST.format(rest=cut).to(language))}</p>" if cut else ""
    return (
        f"<div class='aigc-count'><span>{escape(OF.format(used=reading.used, limit=reading.limit).to(language))}</span>"
        f"<span>{escape(aside.to(language)) if aside else ''}</span></div>{over}"
    )
