"""A grid on the page: its cells under and beside the axes, filling as they are made, and one of them large.

payload -> grid.js
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.words import LANGUAGES, Words

STATIC = Path(__file__).parent / "static"
TOLD = ("model", "seed", "num_inference_steps", "guidance_scale")
WORDS = {
    **{name: ImageParams.markers()[name][1].label for name in TOLD},
    "table": Words("The grid's pictures", "网格中的图片"),
    "waiting": Words("Still to be made", "尚未生成"),
    "now": Words("Being made", "正在生成"),
    "failed": Words("This one could not be made", "这一格未能生成"),
    "choose": Words("Select a picture to see it large.", "选择一张图片以查看大图。"),
    "use": Words("Use these settings", "使用这些设置"),
    "keep": Words("Keep among your pictures", "保存到你的图片"),
    "kept": Words("Kept", "已保存"),
    "download": Words("Download", "下载"),
    "sheet": Words("Download the sheet (PNG)", "下载整张网格图（PNG）"),
    "sheet_help": Words(
        "The sheet carries its recipe: given to “Restore” below, it fills in the form and both axes.",
        "网格图自带配方：在下方的“恢复”中打开，即可还原表单和两个轴。",
    ),
    "close": Words("Close", "关闭"),
    "gone": Words("The server has deleted this picture by now.", "服务器已删除这张图片。"),
}
"""What grid.js says."""


def grid_table(**options: Any) -> gr.HTML:
    """The component; its value is a payload or None:

    {"live": bool, "x": axis, "y": axis, "cells": [cell, ...], "sheet": path of the PNG or None}

    axis: {"name": str, "labels": [str, ...]}. cell: {"column": int, "row": int, "state": "waiting" | "now" | "done" |
    "failed", "path": of the PNG or None, "said": what went wrong, "recipe": or None, "share": of its steps or None,
    "preview": data URI or None}.

    Event: "reuse" {recipe}, which comes from a browser: anything may stand in it. options: gr.HTML's own.
    """
    return gr.HTML(
        html_template="<div class='aigc-grid'></div>",
        head=f"<style>{(STATIC / 'grid.css').read_text(encoding='utf-8')}</style>",
        js_on_load=(STATIC / "grid.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        words={language: {key: words.to(language) for key, words in WORDS.items()} for language in LANGUAGES},
        **options,
    )
