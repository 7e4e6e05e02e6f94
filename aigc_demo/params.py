"""Params: a request that validates itself, and the markers that say what each of its fields may hold.

A parameter is declared once, beside the code that uses it:

    temperature: Annotated[float, Range(0, 2, step=0.05, label=Words(...), help=Words(...))] = 0.7

From that line come the slider, its help, the check, the API's parameter and default, the recipe and
the README's table. A Params is checked when it is made, whoever makes it: the page, the API, a recipe
dropped on the page, or a line of Python.
"""

from __future__ import annotations

import dataclasses
import math
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from aigc_demo.errors import Invalid
from aigc_demo.words import Words

SEED_LIMIT = 2**31
RANDOM = -1


class Refused(Exception):
    """A marker's refusal of one value; `Params` collects these into one `Invalid`."""

    def __init__(self, words: Words):
        super().__init__(words.en)
        self.words = words


@dataclass(frozen=True)
class Marker:
    """What one field may hold. `check` returns the value in its proper type, or raises `Refused`."""

    label: Words
    help: Words

    def check(self, value: Any, kind: type) -> Any:
        raise NotImplementedError

    def describe(self) -> str:
        """The legal values in a few language-neutral signs, for tables."""
        raise NotImplementedError


@dataclass(frozen=True)
class Range(Marker):
    """A number from `low` to `high`, both included. Integers where the field's type is int."""

    low: float
    high: float
    step: float

    def check(self, value: Any, kind: type) -> int | float:
        number = _number(value, kind)
        if not self.low <= number <= self.high:
            raise Refused(
                Words("must be from {low} to {high}, not {value}", "须在 {low} 到 {high} 之间，而不是 {value}").format(
                    low=_plain(self.low), high=_plain(self.high), value=_plain(number)
                )
            )
        return number

    def describe(self) -> str:
        return f"{_plain(self.low)} … {_plain(self.high)}"


@dataclass(frozen=True)
class Seed(Marker):
    """A seed below 2**31, or -1 for "draw one at random". `Params.resolved` draws it, once."""

    def check(self, value: Any, kind: type) -> int:
        number = _number(value, int)
        if not RANDOM <= number < SEED_LIMIT:
            raise Refused(
                Words(
                    "must be a whole number from 0 to {high}, or -1 for a random one",
                    "须为 0 到 {high} 的整数，或用 -1 表示随机",
                ).format(high=SEED_LIMIT - 1)
            )
        return int(number)

    def describe(self) -> str:
        return f"-1 … {SEED_LIMIT - 1}"


@dataclass(frozen=True)
class Choice(Marker):
    """One of a few values, each with its words."""

    options: Mapping[str, Words]

    def check(self, value: Any, kind: type) -> str:
        if not isinstance(value, str) or value not in self.options:
            raise Refused(
                Words("must be one of {options}", "须为以下之一：{options}").format(options=", ".join(self.options))
            )
        return value

    def describe(self) -> str:
        return " · ".join(self.options)


@dataclass(frozen=True)
class Switch(Marker):
    """Yes or no."""

    def check(self, value: Any, kind: type) -> bool:
        if not isinstance(value, bool):
            raise Refused(Words("must be true or false", "须为 true 或 false"))
        return value

    def describe(self) -> str:
        return "true · false"


@dataclass(frozen=True)
class Text(Marker):
    """A string of at most `max_length` characters; `required` refuses an empty one.

    Lone surrogates cannot be encoded and become U+FFFD; control characters other than tab and line
    ends mean nothing to a tokenizer and everything to a terminal, and are dropped.
    """

    max_length: int
    lines: int = 1
    required: bool = False
    placeholder: Words | None = None

    def check(self, value: Any, kind: type) -> str:
        if not isinstance(value, str):
            raise Refused(Words("must be text", "须为文字"))
        if len(value) > self.max_length:
            raise Refused(
                Words(
                    "is {length:,} characters long; at most {limit:,} are read",
                    "有 {length:,} 个字符；最多只能读取 {limit:,} 个",
                ).format(length=len(value), limit=self.max_length)
            )
        text = clean(value)
        if self.required and not text.strip():
            raise Refused(Words("is empty: write something first", "是空的：请先写点什么"))
        return text

    def describe(self) -> str:
        return f"≤ {self.max_length:,}"


@dataclass(frozen=True)
class Data(Marker):
    """A structured value (JSON lists and objects) with a check of its own. Not shown in the form."""

    checker: Callable[[Any], Any]
    shape: str

    def check(self, value: Any, kind: type) -> Any:
        return self.checker(value)

    def describe(self) -> str:
        return self.shape


@dataclass(frozen=True)
class Params:
    """The base of every request: frozen, JSON-able, and checked when made."""

    def __post_init__(self) -> None:
        problems: list[Words] = []
        for name, (kind, marker) in self.markers().items():
            try:
                object.__setattr__(self, name, marker.check(getattr(self, name), kind))
            except Refused as refusal:
                problems.append(
                    Words("{label} ({name}) {problem}.", "“{label}”{problem}。").format(
                        label=marker.label, name=name, problem=refusal.words
                    )
                )
        if problems:
            raise Invalid(Words(" ".join(p.en for p in problems), "".join(p.zh for p in problems)))

    @classmethod
    def markers(cls) -> dict[str, tuple[type, Marker]]:
        """Field name -> (plain type, marker), in the order of declaration."""
        found: dict[str, tuple[type, Marker]] = {}
        for name, hint in get_type_hints(cls, include_extras=True).items():
            if get_origin(hint) is Annotated:
                kind, *extras = get_args(hint)
                found[name] = (kind, next(e for e in extras if isinstance(e, Marker)))
        return found

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Field name -> default, for the fields that have one."""
        found: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            if field.default is not dataclasses.MISSING:
                found[field.name] = field.default
            elif field.default_factory is not dataclasses.MISSING:
                found[field.name] = field.default_factory()
        return found

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Any:
        """Make a request from names and values of unknown origin (a recipe, JSON); unknown names are refused."""
        unknown = sorted(set(map(str, values)) - set(cls.markers()))
        if unknown:
            raise Invalid(
                Words("Unknown settings: {names}.", "无法识别的设置：{names}。").format(
                    names=", ".join(clean(name)[:40] for name in unknown[:8])
                )
            )
        missing = sorted(set(cls.markers()) - set(cls.defaults()) - set(values))
        if missing:
            raise Invalid(Words("Missing settings: {names}.", "缺少设置：{names}。").format(names=", ".join(missing)))
        return cls(**values)

    def values(self) -> dict[str, Any]:
        """Field name -> value, in the order of declaration; JSON-able."""
        return {name: getattr(self, name) for name in self.markers()}

    def resolved(self) -> Any:
        """The same request with every random seed drawn, so that its recipe reproduces it."""
        drawn = {
            name: random.randrange(SEED_LIMIT)
            for name, (_, marker) in self.markers().items()
            if isinstance(marker, Seed) and getattr(self, name) == RANDOM
        }
        return dataclasses.replace(self, **drawn)


_UNENCODABLE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def clean(text: str) -> str:
    """Text that every encoder and every terminal can take."""
    return _CONTROL.sub("", _UNENCODABLE.sub("\ufffd", text))


def _number(value: Any, kind: type) -> int | float:
    """An int or a finite float; JSON knows one kind of number, so 5.0 is a whole number here."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(Words("must be a number", "须为数字"))
    if (isinstance(value, float) and not math.isfinite(value)) or abs(value) > 2**53:
        raise Refused(Words("must be a finite number", "须为有限的数字"))
    if kind is not int:
        return float(value)
    if value != int(value):
        raise Refused(Words("must be a whole number", "须为整数"))
    return int(value)


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)
