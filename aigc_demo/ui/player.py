"""Frames that play, the same on every tab: tracks side by side, the change between frames, and files to take away.

payload -> player.js;  "save" -> animation.py -> a file
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from aigc_demo import animation
from aigc_demo.errors import Invalid
from aigc_demo.pictures import open_picture
from aigc_demo.ui import uploads
from aigc_demo.ui.clicks import PRIVATE
from aigc_demo.ui.run import listener, told_in
from aigc_demo.words import LANGUAGES, Words

STATIC = Path(__file__).parent / "static"
MOST_FRAMES = 1200
SLOWEST, FASTEST = 1, 60
WORDS = {
    "empty": Words("The frames will play here.", "各帧会在这里播放。"),
    "frame": Words("Frame", "帧"),
    "frame_of": Words("Frame {n} of {total}", "第 {n} 帧，共 {total} 帧"),
    "play": Words("Play", "播放"),
    "pause": Words("Pause", "暂停"),
    "rate": Words("Speed", "速度"),
    "per_second": Words("{n} frames a second", "每秒 {n} 帧"),
    "bounce": Words("There and back", "往返播放"),
    "save": Words("Save {format}", "保存 {format}"),
    "change": Words("Change from frame to frame", "相邻帧之间的变化"),
    "largest": Words("{title}: largest step {n} times the mean", "{title}：最大一步是平均的 {n} 倍"),
    "reads": Words(
        "A level line is a walk of even steps; a peak is a place where the picture jumps.",
        "平直的线表示步伐均匀；尖峰表示画面在那里跳变。",
    ),
}
"""What player.js says; {braces} are filled in there."""
TAKE = """(file) => {
    const link = document.createElement("a");
    [link.href, link.download] = [`gradio_api/file=${encodeURI(file[0])}`, file[1]];
    link.click();
}"""
GONE = Words("There are no frames to save. Make them again.", "没有可保存的帧。请重新生成。")


def player(language: gr.Textbox, **options: Any) -> gr.HTML:
    """The component, with its files bound. Its value is a payload or None:

    {"tracks": [{"title": str, "frames": [path of a kept picture, ...], "changes": [float, ...]}, ...],
     "total": frames there will be, "live": bool, "recipe": of all of it}

    All tracks have the same number of frames; files are made of the first. language: the page's.
    options: gr.HTML's own, such as elem_id.
    """
    made = gr.HTML(
        html_template="<div class='aigc-player'></div>",
        head=f"<style>{(STATIC / 'player.css').read_text(encoding='utf-8')}</style>",
        js_on_load=(STATIC / "player.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        words={language: {key: words.to(language) for key, words in WORDS.items()} for language in LANGUAGES},
        **options,
    )
    file = gr.JSON(visible=False)

    def save(values: list[Any], _request: gr.Request, event: dict[str, Any]) -> Any:
        with told_in(values[0]):
            yield list(saved(event))

    made.save(listener(save, [language]), [language], [file], **PRIVATE).success(None, [file], None, js=TAKE)
    return made


def kept(frames: Sequence[Image.Image]) -> list[str]:
    """Frames where the page may fetch them, as a payload names them."""
    found = []
    for frame in frames:
        stream = io.BytesIO()
        frame.save(stream, "PNG", compress_level=1)
        found.append(uploads.keep(stream.getvalue(), "frame.png"))
    return found


def saved(event: Mapping[str, Any]) -> tuple[str, str]:
    """(file, its name) that a "save" asks for, of frames that are still there. What the event says comes from a browser."""
    form = animation.FORMATS.get(str(event.get("format")))
    paths, recipe, rate = event.get("frames"), event.get("recipe"), event.get("rate")
    if form is None or not isinstance(paths, list) or not 1 <= len(paths) <= MOST_FRAMES:
        raise Invalid(GONE)
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not SLOWEST <= rate <= FASTEST:
        raise Invalid(GONE)
    frames = [open_picture(uploads.read(path) or b"") for path in paths]
    if len({frame.size for frame in frames}) > 1:
        raise Invalid(GONE)
    order = animation.order(len(frames), there_and_back=bool(event.get("bounce")))
    made = recipe if isinstance(recipe, Mapping) else {}
    name = f"aigc.{event['format']}"
    return uploads.keep(form([frames[n] for n in order], rate, made), name), name
