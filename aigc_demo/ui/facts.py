"""Small pieces of HTML that the page writes itself: a progress line, and the facts under a result.

Every value is escaped here, so that text from a model or from a file is shown and never interpreted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from aigc_demo.generators.prompt_embeds import LEFT_OUT
from aigc_demo.results import Step
from aigc_demo.words import Words

GIB = 2**30
FINISH = {
    "end": Words("the model ended it", "模型自行结束"),
    "stop": Words("a stop string", "遇到停止字符串"),
    "length": Words("the longest answer allowed", "达到最长回答"),
    "context": Words("the context is full", "上下文已满"),
    "stopped": Words("stopped by you", "由你停止"),
    "between": Words("stopped by you after a whole picture", "在完成一张图片后由你停止"),
}
UNWEIGHED = Words(
    "This model has no use for weights such as (word:1.3): it read the words without the marks.",
    "该模型不支持 (词:1.3) 这样的权重：它读到的是去掉标记后的词语。",
)
STAGES = {
    "fetch": Words("Getting the model", "正在获取模型"),
    "load": Words("Loading the model into memory", "正在把模型装入内存"),
    "wait": Words("Waiting for this model's turn on the GPU", "正在等待该模型轮到使用 GPU"),
    "prefill": Words("Reading the prompt", "正在读取提示词"),
    "decode": Words("Writing", "正在书写"),
    "denoise": Words("Painting", "正在绘制"),
    "frames": Words("Decoding", "正在解码"),
    "forge": Words("Forging", "正在伪造"),
    "judge": Words("Judging", "正在鉴定"),
    "climb": Words("Climbing", "正在攀升"),
    "project": Words("Searching", "正在寻找"),
    "compare": Words("Searching its own pictures and real ones, to compare", "正在寻找它自己的图片和真图，以便比较"),
}


def facts(rows: Sequence[tuple[Words, str]], language: str) -> str:
    """A line of labelled values."""
    items = "".join(
        f"<div class='aigc-fact'><dt>{escape(label.to(language))}</dt><dd>{escape(value)}</dd></div>"
        for label, value in rows
        if value
    )
    return f"<dl class='aigc-facts'>{items}</dl>" if items else ""


def text_facts(recipe: Mapping[str, Any], language: str) -> str:
    """The facts under an answer, from its recipe (ours, or a visitor's, where anything may be missing)."""
    figures, timings = _part(recipe, "figures"), _part(recipe, "timings")
    model, device, settings = _part(recipe, "model"), _part(recipe, "device"), _part(recipe, "settings")
    finish = FINISH.get(str(figures.get("finish")))

    def number(values: Mapping[str, Any], name: str, form: Words, scale: float = 1) -> str:
        return _number(values, name, form.to(language), scale)

    tokens = Words("{:,} tokens", "{:,} 个词元")
    return facts(
        [
            (Words("Model", "模型"), str(model.get("name", ""))),
            (Words("Device", "设备"), " · ".join(str(device[k]) for k in ("name", "dtype") if k in device)),
            (Words("Prompt", "提示词"), number(figures, "prompt_tokens", tokens)),
            (Words("Answer", "回答"), number(figures, "generated_tokens", tokens)),
            (
                Words("First token after", "首个词元用时"),
                number(timings, "first_token", Words("{:.2f} s", "{:.2f} 秒")),
            ),
            (
                Words("Speed", "速度"),
                number(figures, "tokens_per_second", Words("{:.1f} tokens/s", "每秒 {:.1f} 个词元")),
            ),
            (Words("Context used", "已用上下文"), number(figures, "context_share", Words("{:.1%}", "{:.1%}"))),
            (
                Words("Peak memory", "内存峰值"),
                number(figures, "peak_memory_bytes", Words("{:.2f} GiB", "{:.2f} GiB"), 1 / GIB),
            ),
            (Words("Perplexity", "困惑度"), number(figures, "perplexity", Words("{:.2f}", "{:.2f}"))),
            (
                Words("Mean surprisal", "平均惊讶度"),
                number(figures, "surprisal_bits", Words("{:.2f} bits", "{:.2f} 比特")),
            ),
            (Words("Seed", "随机种子"), str(settings.get("seed", ""))),
            (Words("Ended by", "结束原因"), finish.to(language) if finish else ""),
        ],
        language,
    )


def image_facts(recipe: Mapping[str, Any], language: str) -> str:
    """The facts under pictures, from their recipe."""
    figures, timings = _part(recipe, "figures"), _part(recipe, "timings")
    model, device, settings = _part(recipe, "model"), _part(recipe, "device"), _part(recipe, "settings")
    seconds, milliseconds = Words("{:.2f} s", "{:.2f} 秒").to(language), Words("{:.0f} ms", "{:.0f} 毫秒").to(language)
    width, height = _number(figures, "width", "{}"), _number(figures, "height", "{}")
    # it is timed from one step to the next, so one step alone has none
    each = _number(timings, "per_step", milliseconds, 1000) if timings.get("per_step") else ""
    finish = FINISH.get(str(figures.get("finish"))) if figures.get("finish") != "end" else None
    unread = figures.get("unread")
    cut = Words("The model did not read the end of the prompt: “{rest}”", "模型没有读到提示词的结尾：“{rest}”").format(
        rest=str(unread)[:120]
    )
    told = (note(cut.to(language), "warn") if unread else "") + _unweighed(figures, language)
    return told + facts(
        [
            (Words("Model", "模型"), str(model.get("name", ""))),
            (Words("Device", "设备"), " · ".join(str(device[k]) for k in ("name", "dtype") if k in device)),
            (Words("Size", "尺寸"), f"{width} × {height}" if width and height else ""),
            (Words("Steps", "步数"), _number(figures, "steps", "{}")),
            (Words("Time per step", "每步用时"), each),
            (Words("First step after", "首步用时"), _number(timings, "first_step", seconds)),
            (Words("Decoding", "解码"), _number(timings, "decode", seconds)),
            (Words("In all", "总计"), _number(timings, "total", seconds)),
            (Words("Peak memory", "内存峰值"), _number(figures, "peak_memory_bytes", "{:.2f} GiB", 1 / GIB)),
            (Words("To save memory", "为节省内存"), _spared(figures, language)),
            (Words("To save time", "为节省时间"), _hastened(figures, language)),
            (Words("Seed", "随机种子"), str(settings.get("seed", ""))),
            (Words("emoji-clip sees", "emoji-clip 看到"), _seen(figures, language)),
            (Words("Ended by", "结束原因"), finish.to(language) if finish else ""),
        ],
        language,
    )


HASTENED = {
    "_flash_3": Words("attention by FlashAttention 3", "由 FlashAttention 3 计算注意力"),
    "compiled": Words("compiled blocks", "已编译的模块"),
}
SPARED = {
    "in_turns": Words("the model's parts took turns on the GPU", "模型各部分轮流使用 GPU"),
    "one by one": Words("decoded one by one", "逐张解码"),
    "in tiles": Words("decoded in tiles", "分块解码"),
}


def _spared(figures: Mapping[str, Any], language: str) -> str:
    told = ["in_turns"] if figures.get("in_turns") is True else []
    return _listed(SPARED, [*told, str(figures.get("decoded", ""))], language)


def _hastened(figures: Mapping[str, Any], language: str) -> str:
    told = ["compiled"] if figures.get("compiled") is True else []
    return _listed(HASTENED, [str(figures.get("attention", "")), *told], language)


def _listed(known: Mapping[str, Words], told: Sequence[str], language: str) -> str:
    return Words("; ", "；").to(language).join(known[what].to(language) for what in told if what in known)


def caption(recipe: Mapping[str, Any]) -> str:
    """What stands beside one picture of several: its seed, and what was seen in it."""
    seed, seen = str(_part(recipe, "settings").get("seed", "")), _part(recipe, "figures").get("seen")
    if not seen:
        return seed
    name, share = seen[0]["best"][0]
    return f"{seed} · {name} {share:.0%}"


def _seen(figures: Mapping[str, Any], language: str) -> str:
    """What CLIP says that a picture shows, and where the prompt stands among the names that it knows; of several
    pictures, how many it would have called by the prompt."""
    seen = figures.get("seen")
    if not seen:
        return ""
    if len(seen) > 1:
        told = Words("the prompt, in {n} of {all} pictures", "{all} 张中有 {n} 张最符合提示词").to(language)
        return told.format(n=sum(one["place"] == 1 for one in seen), all=len(seen))
    best = Words(", ", "、").to(language).join(f"{name} {share:.0%}" for name, share in seen[0]["best"])
    told = Words("{best}; the prompt is its choice no. {place} of {of}", "{best}；提示词排在第 {place} 位（共 {of}）")
    return told.to(language).format(best=best, **{key: seen[0][key] for key in ("place", "of")})


def rebuild_facts(recipe: Mapping[str, Any], language: str) -> str:
    """The facts under a picture that went through an autoencoder."""
    figures, timings = _part(recipe, "figures"), _part(recipe, "timings")
    milliseconds = Words("{:.0f} ms", "{:.0f} 毫秒").to(language)
    shape, share = figures.get("latent_shape"), figures.get("numbers_share")
    fewer = Words("1/{n} of the picture's numbers", "图片数值个数的 1/{n}").to(language)
    return latent_facts(
        recipe,
        language,
        (Words("Picture", "图片"), f"{_number(figures, 'width', '{}')} × {_number(figures, 'height', '{}')}"),
        (
            Words("Latent", "潜变量"),
            f"{' × '.join(map(str, shape))} · {fewer.format(n=f'{1 / share:.3g}')}" if shape and share else "",
        ),
        (Words("PSNR", "PSNR"), _number(figures, "psnr", "{:.1f} dB") or "∞"),
        (Words("SSIM", "SSIM"), _number(figures, "ssim", "{:.3f}")),
        (Words("Mean deviation", "平均标准差"), _number(figures, "mean_deviation", "{:.3f}")),
        (Words("Encoding", "编码"), _number(timings, "encode", milliseconds, 1000)),
        (Words("Decoding", "解码"), _number(timings, "decode", milliseconds, 1000)),
    )


def walk_facts(recipe: Mapping[str, Any], language: str) -> str:
    """The facts under the frames of a way."""
    figures, timings = _part(recipe, "figures"), _part(recipe, "timings")
    milliseconds = Words("{:.0f} ms", "{:.0f} 毫秒").to(language)
    rate = Words("{:.1f} a second", "每秒 {:.1f} 帧").to(language)
    finish = FINISH["stopped"] if figures.get("finish") == "stopped" else None
    return _unweighed(figures, language) + latent_facts(
        recipe,
        language,
        (Words("Frames", "帧数"), _number(figures, "frames", "{}")),
        (Words("Picture", "图片"), f"{_number(figures, 'width', '{}')} × {_number(figures, 'height', '{}')}"),
        (Words("Encoding", "编码"), _number(timings, "encode", milliseconds, 1000)),
        (Words("Decoded", "解码速度"), _number(figures, "frames_per_second", rate)),
        (Words("Ended by", "结束原因"), finish.to(language) if finish else ""),
    )


def latent_facts(recipe: Mapping[str, Any], language: str, *own: tuple[Words, str]) -> str:
    """The facts under what an autoencoder made. own: those of its kind."""
    figures, timings = _part(recipe, "figures"), _part(recipe, "timings")
    model, device, settings = _part(recipe, "model"), _part(recipe, "device"), _part(recipe, "settings")
    return facts(
        [
            (Words("Model", "模型"), str(model.get("name", ""))),
            (Words("Device", "设备"), " · ".join(str(device[k]) for k in ("name", "dtype") if k in device)),
            *own,
            (
                Words("In all", "总计"),
                _number(timings, "total", Words("{:.2f} s", "{:.2f} 秒").to(language)),
            ),
            (Words("Peak memory", "内存峰值"), _number(figures, "peak_memory_bytes", "{:.2f} GiB", 1 / GIB)),
            (Words("Seed", "随机种子"), str(settings.get("seed", ""))),
        ],
        language,
    )


def _number(values: Mapping[str, Any], name: str, form: str, scale: float = 1) -> str:
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e100:
        return ""
    return form.format(value * scale if scale != 1 else value)


def progress(step: Step[Any], language: str) -> str:
    """One line that says what is being done, how far it is, and moves while nobody knows how far that is."""
    words = STAGES.get(step.stage, STAGES["load"])
    amount = f"{step.index:,} / {step.total:,}" if step.total else f"{step.index:,}"
    share = step.index / step.total if step.total else None
    if step.stage == "fetch" and step.value is not None:
        words, share = step.value.words, None
        amount = f"{step.value.done / 1e6:,.0f} MB"
        if step.value.total:
            share = step.value.done / step.value.total
            amount = f"{step.value.done / 1e6:,.0f} / {step.value.total / 1e6:,.0f} MB"
    if step.stage == "load":
        amount, share = "", None
    return busy(words, language, amount, share)


def busy(words: Words, language: str, amount: str = "", share: float | None = None) -> str:
    """A labelled bar; without a share it moves to and fro."""
    label = escape(words.to(language))
    value = "" if share is None else f" aria-valuenow='{round(min(share, 1) * 100)}'"
    width = "" if share is None else f" style='width:{min(share, 1):.1%}'"
    return (
        f"<div class='aigc-progress{'' if share is not None else ' aigc-unknown'}' role='progressbar' aria-label='{label}'{value}>"
        f"<div class='aigc-progress-line'><span>{label}…</span><span>{escape(amount)}</span></div>"
        f"<div class='aigc-bar'><i{width}></i></div></div>"
    )


def figures(rows: Sequence[tuple[str, str]]) -> str:
    """Small pictures side by side, each with its words. rows: (data URI, words)."""
    items = "".join(
        f"<figure><img src='{escape(uri)}' alt='{escape(words)}'><figcaption>{escape(words)}</figcaption></figure>"
        for uri, words in rows
    )
    return f"<div class='aigc-figures'>{items}</div>" if items else ""


def note(text: str, kind: str = "") -> str:
    """A quiet paragraph. kind: "warn" for something to mind."""
    return f"<p class='aigc-note {kind}'>{escape(text)}</p>" if text else ""


def _unweighed(figures: Mapping[str, Any], language: str) -> str:
    return note(UNWEIGHED.to(language)) if figures.get("weights") == LEFT_OUT else ""


def _part(recipe: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = recipe.get(name)
    return part if isinstance(part, Mapping) else {}
