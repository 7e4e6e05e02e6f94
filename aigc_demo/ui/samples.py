"""The sample pictures that ship, so that every tab shows a result at one click; credited where they are shown."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr

from aigc_demo.errors import Invalid
from aigc_demo.ui import uploads
from aigc_demo.words import LANGUAGES, Words

STATIC = Path(__file__).parent / "static"
FOLDER = Path(__file__).parents[2] / "assets" / "examples" / "samples"
TITLE = Words("Take a sample", "选一个样例")
CREDIT = Words(
    "Pictures: Fluent Emoji (Microsoft, MIT), Noto Emoji (Google, Apache-2.0), Twemoji (Twitter and other contributors, "
    "CC-BY-4.0), drawn at 128 px.",
    "图片：Fluent Emoji（Microsoft，MIT）、Noto Emoji（Google，Apache-2.0）、Twemoji（Twitter 及其他贡献者，CC-BY-4.0），"
    "以 128 像素绘制。",
)
FIRST = (4, 5, 6)
"""Those that stand where pictures are needed before anybody has chosen any."""
GONE = Words("There is no such sample.", "没有这个样例。")


@cache
def listed() -> list[tuple[Path, Words]]:
    """(file, what it shows) of every sample, in their order."""
    rows = json.loads((FOLDER / "samples.json").read_text("utf-8"))
    return [(FOLDER / row["file"], Words(row["en"], row["zh"])) for row in rows]


def samples(**options: Any) -> gr.HTML:
    """A row of them. Event: "pick" {index}. options: gr.HTML's own, such as elem_id."""
    return gr.HTML(
        html_template="<div class='aigc-samples'></div>",
        head=f"<style>{(STATIC / 'samples.css').read_text(encoding='utf-8')}</style>",
        js_on_load=(STATIC / "samples.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        pictures=[uploads.data_uri(file.read_bytes()) for file, _ in listed()],
        words={
            language: {
                "title": TITLE.to(language),
                "credit": CREDIT.to(language),
                "names": [words.to(language) for _, words in listed()],
            }
            for language in LANGUAGES
        },
        **options,
    )


def picked(event: dict[str, Any]) -> str:
    """The file of the sample that was clicked."""
    index = event.get("index")
    if not isinstance(index, int) or not 0 <= index < len(listed()):
        raise Invalid(GONE)
    return file(index)


def file(index: int) -> str:
    """A sample where the page may fetch it."""
    found, _ = listed()[index]
    return uploads.keep(found.read_bytes(), found.name)
