"""The film of a picture: the one being made, and afterwards every step of it.

payload -> film.js
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from aigc_demo.words import LANGUAGES, Words

STATIC = Path(__file__).parent / "static"
WORDS = {
    "empty": Words("Watch the next picture come about here, step by step.", "下一张图片会在这里一步一步地成形。"),
    "forming": Words(
        "The model's guess at the finished picture, made anew after every step.",
        "模型在每一步之后，对最终画面重新作出的猜测。",
    ),
    "noisy": Words("Noisy latent", "带噪潜变量"),
    "noisy_help": Words(
        "What the model has in hand after this step, made visible: the noise that is left shrinks from step to step.",
        "这一步之后模型手里的内容，转换成了可见的图像：剩余的噪声逐步减少。",
    ),
    "guess": Words("The model's guess", "模型的猜测"),
    "guess_help": Words(
        "The clean picture that the model believes is under the noise; early on it is blurred, because much is still open.",
        "模型认为噪声之下的干净画面；早期很模糊，因为许多内容还没有定下来。",
    ),
    "pull": Words("Guidance's pull", "引导的拉力"),
    "pull_help": Words(
        "How far the prompt moves the model's prediction at each step, compared with the prediction without it.",
        "与没有提示词时的预测相比，提示词在每一步把模型的预测移动了多远。",
    ),
    "pull_none": Words(
        "This picture was made without guidance, so nothing pulled it towards the prompt.",
        "这张图片没有使用引导，因此没有把它拉向提示词的力。",
    ),
    "step": Words("Step", "步骤"),
    "step_of": Words("Step {n} of {total}", "第 {n} 步，共 {total} 步"),
    "seconds_left": Words("about {n} s left", "约剩 {n} 秒"),
    "minutes_left": Words("about {n} min left", "约剩 {n} 分钟"),
    "finished": Words("All {n} steps can be looked at now.", "现在可以查看全部 {n} 个步骤。"),
    "hold": Words("Hold to compare", "固定以便比较"),
    "free": Words("Let go", "取消固定"),
    "held": Words(
        "This run is held. Change the words or a setting and generate: the next run begins from the same noise, and both "
        "can be compared here step by step.",
        "已固定这次运行。修改文字或某项设置后再生成：下一次将从相同的噪声开始，并可在这里逐步比较两者。",
    ),
    "compared": Words(
        "Held run and this run, at the same share of their steps", "固定的运行与这次运行，在步数的同一比例处"
    ),
    "wipe": Words("Wipe between the two runs", "在两次运行之间滑动"),
    "wiped": Words("{a}% of the held run, {b}% of this one", "固定的运行占 {a}%，这次占 {b}%"),
    "left": Words("Held run (left)", "固定的运行（左）"),
    "right": Words("This run (right)", "这次运行（右）"),
    "noise": Words(
        "The seeds differ, and so the two runs began from different noise.", "随机种子不同，两次运行从不同的噪声开始。"
    ),
    "play": Words("Play", "播放"),
    "pause": Words("Pause", "暂停"),
}
"""What film.js says; {braces} are filled in there."""


def film(labels: Mapping[str, Words], **options: Any) -> gr.HTML:
    """The component; labels: of the settings, by name. Its value is a payload or None:

    {"live": bool, "step": int, "total": int, "eta": seconds or None, "size": [width, height],
     "count": pictures side by side in a frame, "append": bool, "frames": [frame, ...],
     "settings": what the run was asked for, by name; of a finished run}

    frame: {"step": int, "noisy": data URI, "guess": data URI, "pull": float or None}; small previews, which the page
    smooths. With `append` the frames are added to those of the same run, by their step, so that a live payload may
    carry the newest alone; without it they are all there is. gradio leaves out values that come faster than it draws:
    the last payload of a run should carry every frame.

    Event: "hold" {seed}, when a person wants to compare this run with the next.

    options: gr.HTML's own, such as elem_id.
    """
    return gr.HTML(
        html_template="<div class='aigc-film'></div>",
        head=f"<style>{(STATIC / 'film.css').read_text(encoding='utf-8')}</style>",
        js_on_load=(STATIC / "film.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        words={language: {key: words.to(language) for key, words in WORDS.items()} for language in LANGUAGES},
        labels={language: {key: words.to(language) for key, words in labels.items()} for language in LANGUAGES},
        **options,
    )
