"""The list of a family's models, and what to know of the chosen one before it runs: the same on every tab."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from aigc_demo.engine import Engine, Family
from aigc_demo.errors import UserError
from aigc_demo.models import GIB, ModelSpec
from aigc_demo.ui import facts
from aigc_demo.ui.form import Form
from aigc_demo.words import Words

Rows = Sequence[tuple[Words, str]]
TOO_LARGE = Words(
    "Does not fit: this device is {over:.1f} GiB too small for it.", "放不下：此设备还差 {over:.1f} GiB。"
)


def place_model(form: Form, engine: Engine, family: Family) -> gr.HTML:
    """The list, where the layout stands now, and under it the place for `model_note`, which is returned."""
    form.place("model", choices=model_choices(engine, family), allow_custom_value=True)
    return gr.HTML(elem_id=f"{form.prefix}-model-note")


def model_choices(engine: Engine, family: Family) -> list[tuple[str, str]]:
    """(label, id) of the rows and of the folders under models/."""
    rows = [(f"{row.name} — {row.licence}", row.id) for row in family.rows.values()]
    return [*rows, *((engine.folder_id(folder), engine.folder_id(folder)) for folder in engine.folders(family))]


def model_note(
    engine: Engine,
    family: Family,
    model: Any,
    language: str,
    *,
    first: Callable[[Any], Rows] = lambda spec: (),
    more: Callable[[Any], Rows] = lambda spec: (),
    warning: Callable[[Any], Words | None] = lambda spec: None,
) -> str:
    """Its note, size, memory and licence, and whether it fits. first, more: the family's own facts of a spec, before and
    after those of its size. warning: what to mind although it fits."""
    try:
        spec: ModelSpec = engine.spec(family, str(model))
    except UserError as error:
        return facts.note(error.words.to(language), "warn")
    need, over = spec.memory_need(engine.device), spec.shortfall(engine.device)
    rows = [
        *first(spec),
        (Words("Parameters", "参数量"), f"{spec.parameters / 1e6:,.0f} M" if spec.parameters else ""),
        (Words("Download", "下载量"), f"{spec.download_bytes / 1e6:,.0f} MB" if spec.download_bytes else ""),
        (Words("Memory", "内存"), f"{need / GIB:.1f} GiB" if need else ""),
        *more(spec),
        (Words("Licence", "许可证"), spec.licence),
    ]
    mind = TOO_LARGE.format(over=over / GIB) if over else warning(spec)
    note = facts.note(spec.note.to(language)) if spec.note else ""
    return note + facts.facts(rows, language) + (facts.note(mind.to(language), "warn") if mind else "")
