"""What a training picture shows and what it is called, decided together, deterministically from a seed.

Every word that a prompt may use must have been seen to do something: a colour word comes with a picture
turned to that hue, a background word with that ground, "a cat and a dog" with both side by side. 60% of
the draws are a plain name and a style; names come in English or Chinese.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aigc_demo.training import hue
from aigc_demo.training.concepts import STYLES, telling_keywords
from aigc_demo.training.data import Pack
from aigc_demo.words import LANGUAGES, Words

MIX = {"plain": 0.60, "colour": 0.13, "ground": 0.11, "several": 0.08, "keywords": 0.08}
"""Kind of caption -> its share of the draws."""
STYLE_NAMED = 0.85
"""How often a caption names the style."""

STYLED = Words("{what}, {style} style", "{what}，{style}风格")
COLOURED = Words("{a} {colour} {name}", "{colour}的{name}")
GROUNDED = Words("{what} on {a} {ground} background", "{ground}背景上的{what}")
AND = Words(" and ", "和")
COMMA = Words(", ", "，")

HAS_COLOUR = re.compile(
    r"\b(red|orange|yellow|green|blue|purple|pink|brown|black|white|grey)\b|[红橙黄绿蓝紫粉棕黑白灰]"
)
"""Names that say a colour already: "a green red apple" would teach that words lie."""


@dataclass(frozen=True)
class Plan:
    """One picture to compose. pieces: (picture index, degrees of hue turn), left to right; ground: a word or None."""

    caption: str
    language: str
    kind: str
    pieces: tuple[tuple[int, float], ...]
    ground: str | None = None
    styled: bool = True


@dataclass
class Composer:
    """Draws Plans. Draw n of one seed is the same wherever and whenever it is drawn."""

    pack: Pack
    members: Sequence[int]
    seed: int
    mix: dict[str, float] = field(default_factory=lambda: dict(MIX))

    def __post_init__(self) -> None:
        self.keywords: dict[str, dict[str, tuple[str, ...]]] = {
            language: telling_keywords(self.pack.concepts, language) for language in LANGUAGES
        }
        self.hues = dominant_hues(self.pack, self.members)
        self.styles: dict[str, list[int]] = {}
        for i in self.members:
            self.styles.setdefault(self.pack.pictures[i].style, []).append(i)
        self._orders: dict[int, list[int]] = {}

    def draw(self, number: int) -> Plan:
        """Draw `number` (from 0). Every epoch goes once through all pictures in an order of its own."""
        epoch, place = divmod(number, len(self.members))
        picture = self._order(epoch)[place]
        dice = random.Random(f"{self.seed}/{number}")
        kind = dice.choices(list(self.mix), list(self.mix.values()))[0]
        language = dice.choice(list(LANGUAGES))
        return self.plan(kind, language, picture, dice)

    def plan(self, kind: str, language: str, picture: int, dice: random.Random) -> Plan:
        """A plan of one kind around one picture; kinds that don't suit the picture fall back to a plain one."""
        shown = self.pack.pictures[picture]
        concept = self.pack.concepts[shown.concept]
        pieces: list[tuple[int, float]] = [(picture, 0.0)]
        ground = None
        what = concept.name.to(language)
        if kind == "colour" and picture in self.hues and not HAS_COLOUR.search(what):
            word = dice.choice(list(hue.HUES))
            target, colour = hue.HUES[word]
            pieces = [(picture, target - self.hues[picture])]
            what = say(COLOURED, language, colour=colour, name=what)
        elif kind == "ground":
            ground = dice.choice(list(hue.BACKGROUNDS))
            what = say(GROUNDED, language, what=what, ground=hue.BACKGROUNDS[ground][1])
        elif kind == "several":
            others = dice.sample(self.styles[shown.style], min(dice.choice((1, 1, 2)), len(self.styles[shown.style])))
            pieces += [(other, 0.0) for other in others]
            names = [self.pack.concepts[self.pack.pictures[i].concept].name.to(language) for i, _ in pieces]
            what = AND.to(language).join(names)
        elif kind == "keywords" and self.keywords[language][concept.slug]:
            known = self.keywords[language][concept.slug]
            what = COMMA.to(language).join(dice.sample(known, min(len(known), dice.choice((1, 2, 3)))))
        styled = dice.random() < STYLE_NAMED and shown.style in STYLES
        caption = say(STYLED, language, what=what, style=STYLES[shown.style]) if styled else what
        return Plan(caption, language, kind, tuple(pieces), ground, styled)

    def _order(self, epoch: int) -> list[int]:
        if epoch not in self._orders:
            order = list(self.members)
            random.Random(f"{self.seed}/epoch/{epoch}").shuffle(order)
            self._orders = {k: v for k, v in self._orders.items() if k >= epoch - 1}
            self._orders[epoch] = order
        return self._orders[epoch]


def mixed(plain: float) -> dict[str, float]:
    """MIX with another share of plain captions; the rest keeps its proportions."""
    others = {kind: share for kind, share in MIX.items() if kind != "plain"}
    return {"plain": plain} | {kind: share * (1 - plain) / sum(others.values()) for kind, share in others.items()}


def say(words: Words, language: str, **values: Any) -> str:
    """A template of this file in one language."""
    article = {"a": "an" if str(values.get("colour", values.get("ground", "")))[:1] == "o" else "a"}
    return words.format(**article, **values).to(language)


def named(name: str, style: str | None, language: str) -> str:
    """The plain caption: a name, and its style where one is given."""
    return say(STYLED, language, what=name, style=STYLES[style]) if style else name


def dominant_hues(pack: Pack, members: Sequence[int]) -> dict[int, float]:
    """Picture -> dominant hue, for the pictures that have enough colour to be turned."""
    found = {}
    for i in members:
        small = pack.pixels[i, ::4, ::4].astype(np.float32) / 255
        measured = hue.dominant(small[..., :3], small[..., 3])
        if measured is not None:
            found[i] = measured
    return found


def corpus(pack: Pack) -> list[str]:
    """Every word a caption can hold, for the tokenizer: names, keywords, colours, styles and templates."""
    lines: list[str] = []
    for language in LANGUAGES:
        for concept in pack.concepts:
            name = concept.name.to(language)
            lines += [name, *(concept.keywords_zh if language == "zh" else concept.keywords_en)]
            lines += [named(name, style, language) for style in STYLES]
        for colour in [w for _, w in hue.HUES.values()]:
            lines += [say(COLOURED, language, colour=colour, name="")] * 20
        for ground in [w for _, w in hue.BACKGROUNDS.values()]:
            lines += [say(GROUNDED, language, what="", ground=ground)] * 20
    return lines
