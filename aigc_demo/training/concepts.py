"""Which emoji are worth drawing, what they are called, and which belong together.

A *concept* is one emoji without its skin tones ("cat face"); each has up to four *pictures*, one per
style. A *family* is a set of concepts that would give each other away: the ones that share the base of
a ZWJ sequence, and the ones that look nearly alike (found from the pictures, see `data.families`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aigc_demo.words import Words

STYLES: dict[str, Words] = {
    "fluent": Words("3D", "立体"),
    "flat": Words("flat", "扁平"),
    "noto": Words("Noto", "Noto"),
    "twemoji": Words("Twemoji", "Twemoji"),
}
"""Style -> its word in a caption."""


TONES = {"1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff"}

_SYMBOLS = """
atom-symbol biohazard radioactive recycling-symbol peace-symbol yin-yang warning no-entry prohibited
check-mark-button cross-mark red-question-mark red-exclamation-mark infinity plus heavy-dollar-sign red-circle
orange-circle yellow-circle green-circle blue-circle purple-circle brown-circle black-circle red-square
orange-square yellow-square green-square blue-square purple-square brown-square sparkle eight-pointed-star
fleur-de-lis trident-emblem no-smoking litter-in-bin-sign baggage-claim wheelchair-symbol medical-symbol
currency-exchange japanese-symbol-for-beginner name-badge play-button pause-button radio-button
"""
SYMBOLS_KEPT = frozenset(_SYMBOLS.split())
"""Most letters, arrows and signs teach nothing; these few are pictures."""

_DROPPED = re.compile(
    r"oclock$|-thirty$|^keycap|-facing-right$|^(wo)?man-(?!with-headscarf)|^(wo)?men-|^mx-claus$|^(mer)(man|maid)$|"
    r"^pregnant-(man|person)$|^deaf-(man|woman)$|^leftwards-|^rightwards-|^(left|right)-facing-fist$|"
    r"^person-(bald|beard|blond-hair|curly-hair|red-hair|white-hair|standing|kneeling)$|^middle-finger$"
)


@dataclass(frozen=True)
class Concept:
    """One thing to draw. `code` is its code points in hex without variation selectors, joined by "-"."""

    slug: str
    code: str
    category: str
    name: Words
    keywords_en: tuple[str, ...]
    keywords_zh: tuple[str, ...]

    def is_of(self, subject: str) -> bool:
        return SUBJECTS[subject].holds(self)

    @property
    def base(self) -> str:
        """The first code point: what the members of one ZWJ sequence share."""
        return self.code.split("-")[0]

    @property
    def emoji(self) -> str:
        return "".join(chr(int(part, 16)) for part in self.code.split("-"))


@dataclass(frozen=True)
class Subject:
    """What a model may learn to draw."""

    name: Words
    holds: Callable[[Concept], bool]


FACE_CATEGORIES = ("Smileys & Emotion", "Animals & Nature", "Travel & Places")
_NOT_FRONTAL = """
first-quarter-moon-face last-quarter-moon-face wind-face spouting-whale pig-nose skull-and-crossbones alien-monster
pile-of-poo ghost horse-face dragon-face unicorn
"""
_ALSO = """
head-shaking-horizontally head-shaking-vertically exploding-head polar-bear jack-o-lantern baby boy girl child man woman
person old-man old-woman older-person santa-claus mrs-claus
"""
NOT_FRONTAL, ALSO = frozenset(_NOT_FRONTAL.split()), frozenset(_ALSO.split())


def is_face(concept: Concept) -> bool:
    """Whether it is a face from the front that fills the picture: 158 concepts in 631 pictures, 619 to learn from.

    Smileys, animals, the sun and the moons that CLDR gives the keyword "face", without those in profile, in pieces
    or with a body; the heads that it forgot, and people's.
    """
    told = concept.category in FACE_CATEGORIES and ("face" in concept.keywords_en or "face" in concept.slug)
    return concept.slug in ALSO or (told and concept.slug not in NOT_FRONTAL)


SUBJECTS = {
    "everything": Subject(Words("Everything", "全部"), lambda concept: True),
    "nature": Subject(
        Words("Animals and plants", "动物与植物"), lambda concept: concept.category == "Animals & Nature"
    ),
    "faces": Subject(Words("Faces", "面孔"), is_face),
    "living": Subject(
        Words("Faces, animals and plants", "面孔、动物与植物"),
        lambda concept: is_face(concept) or concept.category == "Animals & Nature",
    ),
}
"""Few concepts drawn well beat many blobs; and faces are all aligned, which makes them the easiest."""


def worth_drawing(slug: str, category: str, code: str) -> bool:
    """False for skin tones, flags, clocks, keycaps, most symbols, and the man/woman variants of a person."""
    if TONES & set(code.split("-")) or category in ("Flags", "?") or _DROPPED.search(slug):
        return False
    return category != "Symbols" or slug in SYMBOLS_KEPT


def code_of(text: str) -> str:
    """An emoji, or hex code points joined by "-", without variation selectors."""
    parts = text.split("-") if re.fullmatch(r"[0-9a-f]+(-[0-9a-f]+)*", text) else [f"{ord(c):x}" for c in text]
    return "-".join(part for part in parts if part != "fe0f")


def concepts_from(
    slugs: Mapping[str, str],
    categories: Mapping[str, Iterable[str]],
    drawn: Iterable[set[str]],
    annotations: Mapping[str, Mapping[str, Any]],
) -> list[Concept]:
    """The concepts that every style draws and both languages name, in order of code.

    slugs: code -> slug. categories: category -> slugs. drawn: per style, the codes it has.
    annotations: language -> emoji -> {"tts": [name], "default": keywords}, as CLDR has them.
    """
    category_of = {slug: category for category, members in categories.items() for slug in members}
    named = {lang: {code_of(emoji): entry for emoji, entry in table.items()} for lang, table in annotations.items()}
    found = []
    for code in sorted(set.intersection(*drawn)):
        slug = slugs.get(code, "")
        category = category_of.get(slug, "?")
        if not worth_drawing(slug, category, code) or any(code not in table for table in named.values()):
            continue
        en, zh = named["en"][code], named["zh"][code]
        found.append(
            Concept(
                slug,
                code,
                category,
                Words(en["tts"][0].replace("“", "").replace("”", ""), zh["tts"][0].replace("“", "").replace("”", "")),
                tuple(en.get("default", ())),
                tuple(zh.get("default", ())),
            )
        )
    return found


def telling_keywords(concepts: list[Concept], language: str, *, at_most: int = 3) -> dict[str, tuple[str, ...]]:
    """Slug -> the keywords that fit at most `at_most` concepts; a random keyword fits a median of four."""
    words = {c.slug: c.keywords_zh if language == "zh" else c.keywords_en for c in concepts}
    count: dict[str, int] = {}
    for keywords in words.values():
        for keyword in set(keywords):
            count[keyword] = count.get(keyword, 0) + 1
    return {slug: tuple(k for k in keywords if count[k] <= at_most) for slug, keywords in words.items()}
