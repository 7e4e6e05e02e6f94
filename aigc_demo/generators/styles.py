"""Style presets: rows of words that are laid around a prompt, in the prompt's own language."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aigc_demo.generators.prompt_weights import closed
from aigc_demo.words import Words

NONE = "none"


@dataclass(frozen=True)
class Style:
    """template: the words, with {prompt} in their middle. emoji: whether it is one of the emoji model's four."""

    name: Words
    template: Words
    emoji: bool = False


def _emoji(name: Words) -> Style:
    return Style(
        name, Words("{prompt}, {style} style", "{prompt}，{style}风格").format(prompt="{prompt}", style=name), True
    )


STYLES: dict[str, Style] = {
    NONE: Style(Words("None", "无"), Words("{prompt}", "{prompt}"), True),
    "3d": _emoji(Words("3D", "立体")),
    "flat": _emoji(Words("flat", "扁平")),
    "noto": _emoji(Words("Noto", "Noto")),
    "twemoji": _emoji(Words("Twemoji", "Twemoji")),
    "photo": Style(
        Words("Photograph", "照片"),
        Words(
            "photograph of {prompt}, natural light, 50 mm lens, sharp focus",
            "{prompt}的照片，自然光，50毫米镜头，清晰对焦",
        ),
    ),
    "watercolour": Style(
        Words("Watercolour", "水彩"),
        Words("watercolour painting of {prompt}, soft washes, white paper", "{prompt}的水彩画，柔和的晕染，白纸"),
    ),
    "ink": Style(
        Words("Ink wash", "水墨"),
        Words(
            "Chinese ink wash painting of {prompt}, few strokes, much empty space",
            "{prompt}的水墨画，寥寥数笔，大量留白",
        ),
    ),
    "line": Style(
        Words("Line drawing", "线稿"),
        Words(
            "black line drawing of {prompt}, white background, even strokes", "{prompt}的黑色线稿，白色背景，线条均匀"
        ),
    ),
    "pixel": Style(
        Words("Pixel art", "像素画"),
        Words("pixel art of {prompt}, 16-bit game sprite", "{prompt}的像素画，16位游戏风格"),
    ),
}

_CHINESE = re.compile("[\u3400-\u9fff]")


def styled(prompt: str, style: str) -> str:
    """The prompt in a style's words; in Chinese ones where the prompt holds Chinese. An empty prompt stays empty.

    Weights stay with the words that have them: a bracket that nobody closed is closed before the style's words.
    """
    template = STYLES[style].template.to("zh" if _CHINESE.search(prompt) else "en")
    return template.replace("{prompt}", closed(prompt)) if prompt.strip() and style != NONE else prompt
