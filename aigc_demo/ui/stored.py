"""What this browser stores: the list of conversations, each to be opened or deleted, and "delete everything"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from aigc_demo.words import LANGUAGES, Words

STATIC = Path(__file__).parent / "static"
WORDS = {
    "where": Words(
        "Conversations are kept in this browser only, not on the server. While one is being answered, the server "
        "reads it and forgets it. A private window forgets everything when it is closed.",
        "对话只保存在此浏览器中，不保存在服务器上。服务器仅在回答时读取对话，随后即忘。无痕窗口关闭后一切都会消失。",
    ),
    "none": Words("Nothing is stored.", "没有存储任何内容。"),
    "open": Words("Open", "打开"),
    "delete": Words("Delete", "删除"),
    "all": Words("Delete everything", "全部删除"),
    "sure": Words("Delete every stored conversation?", "要删除所有已存储的对话吗？"),
    "here": Words("shown here", "正在显示"),
    "refused": Words(
        "This browser refuses to store anything here, so a reload forgets the conversation.",
        "此浏览器拒绝在此存储内容，因此刷新页面后对话会丢失。",
    ),
    "full": Words(
        "The browser's storage is full: the newest answer was not kept. Delete something.",
        "浏览器的存储空间已满：最新的回答没有保存。请删除一些内容。",
    ),
}


def stored_panel(**options: Any) -> gr.HTML:
    """The panel. Its event "open" means that a person wants the conversation `aigc.store.wanted`, and "forget" that
    they deleted the one that is shown, which the next answer would otherwise store again."""
    return gr.HTML(
        html_template="<div class='aigc-stored'></div>",
        js_on_load=(STATIC / "stored.js").read_text(encoding="utf-8"),
        words={language: {key: words.to(language) for key, words in WORDS.items()} for language in LANGUAGES},
        **options,
    )
