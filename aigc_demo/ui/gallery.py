"""This browser's pictures: a grid, one of them large with what it was made from, and two under a slider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.generators.schedulers import SCHEDULERS
from aigc_demo.words import LANGUAGES, Words

NAMED = (
    *("prompt", "negative_prompt", "style", "model", "seed", "num_inference_steps", "guidance_scale", "scheduler"),
    "strength",
)
"""Settings that the gallery tells by the form's own words."""
STATIC = Path(__file__).parent / "static"
WORDS = {
    **{name: ImageParams.markers()[name][1].label for name in NAMED},
    "where": Words(
        "Pictures are kept in this browser only; the server deletes its own copies within two hours. Clearing the browser's "
        "data, or closing a private window, deletes them here.",
        "图片只保存在此浏览器中；服务器上的副本会在两小时内删除。清除浏览器数据或关闭无痕窗口会将其删除。",
    ),
    "none": Words("No pictures yet. What you make appears here.", "还没有图片。你生成的图片会显示在这里。"),
    "pictures": Words("Pictures", "图片"),
    "count": Words("{n} pictures · {size}", "{n} 张图片 · {size}"),
    "count_one": Words("1 picture · {size}", "1 张图片 · {size}"),
    "choose": Words("Select a picture to see what made it.", "选择一张图片，查看它是如何生成的。"),
    "untitled": Words("without a prompt", "没有提示词"),
    "with_seed": Words("{text}, seed {seed}", "{text}，种子 {seed}"),
    "reuse": Words("Reuse everything", "沿用全部设置"),
    "reuse_seed": Words("Reuse the seed", "沿用种子"),
    "little": Words("Vary a little", "稍作变化"),
    "lot": Words("Vary a lot", "大幅变化"),
    "edit": Words("Edit this", "编辑此图"),
    "compare": Words("Compare", "比较"),
    "compare_one": Words("It takes two pictures to compare.", "比较需要两张图片。"),
    "second": Words("Now select the picture to compare with.", "现在选择要与之比较的图片。"),
    "cancel": Words("Cancel", "取消"),
    "end": Words("End the comparison", "结束比较"),
    "wipe": Words("Wipe between the two pictures", "在两张图片之间滑动"),
    "wiped": Words("{a}% of the left picture, {b}% of the right one", "左图 {a}%，右图 {b}%"),
    "left": Words("Left", "左图"),
    "right": Words("Right", "右图"),
    "differences": Words("What differs", "不同之处"),
    "same": Words("Both were made with the same settings.", "两张图片的设置相同。"),
    "download": Words("Download", "下载"),
    "delete": Words("Delete", "删除"),
    "close": Words("Close", "关闭"),
    "all": Words("Delete all", "全部删除"),
    "sure": Words("Delete every picture that is kept here?", "要删除这里保存的所有图片吗？"),
    "size": Words("Size", "尺寸"),
    "date": Words("Made", "生成时间"),
    "refused": Words(
        "This browser refuses to store pictures here, so a reload forgets them.",
        "此浏览器拒绝在此存储图片，因此刷新页面后图片会丢失。",
    ),
    "full": Words(
        "The browser's storage is full: the newest picture was not kept. Delete some.",
        "浏览器的存储空间已满：最新的图片没有保存。请删除一些图片。",
    ),
    "lost": Words(
        "The newest picture could not be fetched from the server, so it was not kept.",
        "无法从服务器取得最新的图片，因此没有保存。",
    ),
}
"""What gallery.js says; {braces} are filled in there."""


def gallery(**options: Any) -> gr.HTML:
    """The component; it has no value: it shows what `aigc.pictures` of page.js keeps.

    Events, with what a listener finds in `event._data`:
    "reuse_seed" {recipe}, "reuse" {recipe}, "vary" {recipe, how: "little" or "lot"}, "edit" {recipe, picture: data URI of the PNG}.
    The recipe is what was given to `aigc.pictures.add`, and comes from a browser: anything may stand in it.

    options: gr.HTML's own, such as elem_id.
    """
    return gr.HTML(
        html_template="<div class='aigc-gallery'></div>",
        head=f"<style>{(STATIC / 'gallery.css').read_text(encoding='utf-8')}</style>",
        js_on_load=(STATIC / "gallery.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        words={language: {key: words.to(language) for key, words in WORDS.items()} for language in LANGUAGES},
        samplers={
            language: {name: row.name.to(language) for name, row in SCHEDULERS.items()} for language in LANGUAGES
        },
        **options,
    )
