"""The axes of an X/Y grid: what they can vary, and how their values are written and read.

Values are written as other web UIs write them: "1, 3, 5", "1-10 (+3)", "1-9 [5]". Words of the prompt are searched and
replaced: the first entry stands in the prompt, and each takes its place.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from aigc_demo.errors import Invalid
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.generators.schedulers import SCHEDULERS
from aigc_demo.generators.styles import STYLES
from aigc_demo.params import RANDOM, Choice, Params, Refused, Text
from aigc_demo.words import Words

MOST = 100
"""Cells of a grid."""
NONE, WORDS, MODEL = "none", "words", "model"
NUMBERS = ("num_inference_steps", "guidance_scale", "strength", "seed", "width", "height")
CHOICES: Mapping[str, Mapping[str, Words]] = {
    "scheduler": {name: row.name for name, row in SCHEDULERS.items()},
    "style": {name: row.name for name, row in STYLES.items()},
}
AXES: dict[str, Words] = {
    NONE: Words("None", "无"),
    **{name: ImageParams.markers()[name][1].label for name in (*NUMBERS, *CHOICES, MODEL)},
    WORDS: Words("Prompt words", "词语替换"),
}
"""What a grid can vary."""


def _which(name: str) -> Choice:
    return Choice(
        Words("{name} axis", "{name} 轴").format(name=name),
        Words("What differs {place}.", "{place}之间不同的设置。").format(
            place=Words("from column to column", "各列") if name == "X" else Words("from row to row", "各行")
        ),
        AXES,
    )


def _values(name: str) -> Text:
    return Text(
        Words("{name} values", "{name} 值").format(name=name),
        Words(
            "Separated by commas. Numbers also as a range: 1-10 (+3) counts by threes, 1-9 [5] is five of them. Words: the "
            "first stands in the prompt and each takes its place; one that holds a comma stands in quotes.",
            "用逗号分隔。数字也可写成范围：1-10 (+3) 表示每隔 3 取一个，1-9 [5] 表示取 5 个。词语：第一个须出现在提示词中，"
            "每一个都会依次替换它；含逗号的词语请加引号。",
        ),
        max_length=4000,
    )


@dataclass(frozen=True)
class GridParams(Params):
    """What a grid varies; the pictures' own settings are the form's."""

    x_axis: Annotated[str, _which("X")] = NONE
    x_values: Annotated[str, _values("X")] = ""
    y_axis: Annotated[str, _which("Y")] = NONE
    y_values: Annotated[str, _values("Y")] = ""


@dataclass(frozen=True)
class Axis:
    """One direction of the grid. An axis of nothing has one entry."""

    name: str = NONE
    entries: tuple[Any, ...] = (None,)

    @property
    def labels(self) -> list[Words]:
        return [_label(self.name, entry) for entry in self.entries]

    @property
    def written(self) -> str:
        """The entries as they are typed, random seeds drawn."""
        return "" if self.name == NONE else ", ".join(map(written, self.entries))


def entries_of(text: str) -> list[str]:
    """The parts of "a, b, "c, d"": separated by commas, also Chinese ones, or lines; quotes hold one together."""
    found: list[str] = []
    for quoted, bare in re.findall(r'\s*"((?:[^"]|"")*)"\s*(?=[,，、\n]|$)|([^,，、\n]+)', text):
        if bare.strip():
            found.append(bare.strip())
        elif not bare:
            found.append(quoted.replace('""', '"'))
    return found


def axis(which: str, grid: GridParams, base: ImageParams) -> Axis:
    """One direction of a grid, "x" or "y". Raises `Invalid` for values that cannot be read, or that do nothing."""
    name, text = getattr(grid, f"{which}_axis"), getattr(grid, f"{which}_values")
    if name == NONE:
        return Axis()
    label = GridParams.markers()[f"{which}_values"][1].label
    try:
        read = _numbers if name in NUMBERS else _choices if name in CHOICES else _texts
        entries = read(name, text)
        if not entries:
            raise Refused(Words("say nothing yet: write what is to be compared", "还是空的：请写出要比较的内容"))
        twice = [entry for n, entry in enumerate(entries) if entry in entries[:n]]
        if twice:
            raise Refused(Words("name {entry} twice", "中“{entry}”出现了两次").format(entry=_label(name, twice[0])))
        if name == WORDS and entries[0] not in base.prompt and entries[0] not in base.negative_prompt:
            raise Refused(
                Words(
                    "begin with “{word}”, which does not stand in the prompt: begin with the word that is to be replaced",
                    "的第一个词“{word}”没有出现在提示词中：请以要被替换的词开头",
                ).format(word=entries[0][:80])
            )
        if name == "strength" and base.image is None:
            raise Refused(
                Words(
                    "have no effect without a picture to start from: put one on the canvas",
                    "在没有起始图片时不起作用：请先放入一张图片",
                )
            )
    except Refused as refusal:
        raise Invalid(
            Words("{label} {problem}.", "“{label}”{problem}。").format(label=label, problem=refusal.words)
        ) from refusal
    return Axis(name, tuple(entries))


_NUMBER = r"[+-]?\d{1,15}(?:\.\d{1,15})?"
_SINGLE = re.compile(_NUMBER)
_RANGE = re.compile(rf"({_NUMBER})\s*-\s*({_NUMBER})(?:\s*\(\s*({_NUMBER})\s*\)|\s*\[\s*(\d{{1,15}})\s*\])?")


def _numbers(name: str, text: str) -> list[Any]:
    kind, marker = ImageParams.markers()[name]
    found: list[Any] = []
    for entry in entries_of(unicodedata.normalize("NFKC", text).replace("–", "-").replace("−", "-")):
        if _SINGLE.fullmatch(entry):
            numbers = [float(entry)]
        elif parts := _RANGE.fullmatch(entry):
            numbers = _range(kind, *parts.groups())
        else:
            raise Refused(
                Words(
                    "hold “{entry}”, which is neither a number nor a range such as 1-10 (+3) or 1-9 [5]",
                    "中的“{entry}”既不是数字，也不是 1-10 (+3) 或 1-9 [5] 这样的范围",
                ).format(entry=entry[:80])
            )
        for number in numbers:
            try:
                found.append(marker.check(number, kind))
            except Refused as refusal:
                raise Refused(
                    Words("hold {entry}; {name} {problem}", "中有 {entry}；{name}{problem}").format(
                        entry=_label(name, number), name=marker.label, problem=refusal.words
                    )
                ) from refusal
    return [ImageParams(seed=RANDOM).resolved().seed if name == "seed" and n == RANDOM else n for n in found]


def _range(kind: type, first: str, last: str, step: str | None, count: str | None) -> list[float]:
    low, high = float(first), float(last)
    if count is not None:
        many = int(count)
        _bounded(many)
        even = [low + (high - low) * n / max(1, many - 1) for n in range(many)]
        return list(dict.fromkeys(float(round(n)) if kind is int else round(n, 6) for n in even))
    by = float(step) if step else math.copysign(1, high - low)
    if by == 0 or (high - low) * by < 0:
        raise Refused(
            Words(
                "hold a range from {first} to {last} that steps of {by:g} never end",
                "中从 {first} 到 {last} 的范围用步长 {by:g} 永远走不到头",
            ).format(first=first, last=last, by=by)
        )
    many = math.floor((high - low) / by + 1e-9) + 1
    _bounded(many)
    return [round(low + by * n, 6) for n in range(many)]


def _bounded(many: int) -> None:
    if many > MOST:
        raise too_many(many)


def too_many(many: int) -> Invalid:
    return Invalid(
        Words(
            "These are {many:,} pictures; a grid holds at most {most}. Shorten an axis.",
            "这共有 {many:,} 张图片；网格最多 {most} 张。请缩短其中一个轴。",
        ).format(many=many, most=MOST)
    )


def _choices(name: str, text: str) -> list[Any]:
    known = {spelt.lower(): value for value, words in CHOICES[name].items() for spelt in (value, words.en, words.zh)}
    found = []
    for entry in entries_of(text):
        if entry.lower() not in known:
            raise Refused(
                Words("hold “{entry}”; known are {names}", "中的“{entry}”不存在；可用的有：{names}").format(
                    entry=entry[:80], names=", ".join(CHOICES[name])
                )
            )
        found.append(known[entry.lower()])
    return found


def _texts(name: str, text: str) -> list[Any]:
    found = entries_of(text)
    if name == WORDS:
        if found and not found[0]:
            raise Refused(
                Words("begin with nothing: begin with a word of the prompt", "的第一项为空：请以提示词中的词开头")
            )
        return found
    kind, marker = ImageParams.markers()[name]
    return [marker.check(entry, kind) for entry in found]


def _label(name: str, entry: Any) -> Words:
    if name in CHOICES:
        return CHOICES[name][entry]
    if isinstance(entry, float) and not entry.is_integer():
        text = f"{entry:.6g}"
    else:
        text = str(int(entry)) if isinstance(entry, int | float) else str(entry or "")
    blank = "" if name == NONE else "–"
    return Words(text or blank, text or blank)


def written(entry: Any) -> str:
    """An entry as `entries_of` reads it."""
    text = _label("", entry).en if isinstance(entry, int | float) else str(entry)
    plain = text and text == text.strip() and not re.search('[,，、\n"]', text)
    return text if plain else '"' + text.replace('"', '""') + '"'
