"""What is kept from training, so that the figures mean something.

Two things are held out. *Families* (5%): no model sees any picture of them. And, for the models that name
pictures (clip, judge), one of Noto and Twemoji for a quarter of the other concepts: they know the thing, in
other styles, and must recognise it in this one. Both are drawn once from a seed and committed
(`assets/training/split.json`), so that no run can choose them.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aigc_demo.errors import UserError
from aigc_demo.training.concepts import STYLES, Concept
from aigc_demo.training.data import TWINS_BELOW, Pack, thumbnails
from aigc_demo.words import Words

ASSETS = Path(__file__).resolve().parents[2] / "assets"
SPLIT_FILE = ASSETS / "training" / "split.json"

LARGEST_HELD_OUT = 6
"""Larger families (yellow faces, people at work) are never held out: they would be most of the share at once."""

_COLOUR_WORDS = "red orange yellow green blue light purple pink brown black white grey closed open"
_COLOURS = frozenset(_COLOUR_WORDS.split())


@dataclass(frozen=True)
class Split:
    """family: slug -> its family's name. held_out: slugs no model may see. held_style: slug -> the style kept back."""

    family: dict[str, str]
    held_out: frozenset[str]
    held_style: dict[str, str]

    def train(self, pack: Pack, *, naming: bool = False) -> list[int]:
        """Pictures to learn from; `naming` leaves out the held-back styles as well."""
        return [
            i for i, slug, style in _walk(pack) if slug not in self.held_out and not self._back(slug, style, naming)
        ]

    def further(self, pack: Pack) -> list[int]:
        """Drawings in other styles than the four, of what may be learnt: more to learn names from."""
        return [
            i
            for i, picture in enumerate(pack.pictures)
            if picture.style not in STYLES and pack.concepts[picture.concept].slug not in self.held_out
        ]

    def families_kept(self, pack: Pack) -> list[int]:
        """Pictures of the families that no model sees."""
        return [i for i, slug, _ in _walk(pack) if slug in self.held_out]

    def styles_kept(self, pack: Pack) -> list[int]:
        """Pictures whose style was kept from clip and judge, of concepts that they know."""
        return [i for i, slug, style in _walk(pack) if slug not in self.held_out and self._back(slug, style, True)]

    def _back(self, slug: str, style: str, naming: bool) -> bool:
        return naming and self.held_style.get(slug) == style


def _walk(pack: Pack) -> list[tuple[int, str, str]]:
    """Index, slug and style of the pictures in the four styles."""
    return [(i, pack.concepts[p.concept].slug, p.style) for i, p in enumerate(pack.pictures) if p.style in STYLES]


def families(pack: Pack) -> list[list[int]]:
    """Concepts (by index) grouped by what would give them away: base, name without colour, twins in any style."""
    parent = list(range(len(pack.concepts)))

    def find(a: int) -> int:
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        return a

    def join(a: int, b: int) -> None:
        low, high = sorted((find(a), find(b)))
        parent[high] = low

    first: dict[str, int] = {}
    for i, concept in enumerate(pack.concepts):
        join(i, first.setdefault(concept.base, i))
        join(i, first.setdefault(_colourless(concept), i))
    features = thumbnails(pack.pixels)
    for style in STYLES:
        members = [i for i, p in enumerate(pack.pictures) if p.style == style]
        vectors = features[members]
        squares = (vectors**2).sum(1)
        distance = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * vectors @ vectors.T, 0) / vectors.shape[1])
        for a, b in zip(*np.nonzero(np.triu(distance < TWINS_BELOW, 1)), strict=True):
            join(pack.pictures[members[a]].concept, pack.pictures[members[b]].concept)
    groups: dict[int, list[int]] = {}
    for i in range(len(pack.concepts)):
        groups.setdefault(find(i), []).append(i)
    return list(groups.values())


def draw(pack: Pack, *, seed: int = 2024, share: float = 0.05, back: float = 0.25) -> Split:
    """Make the split. Deterministic for a pack and a seed."""
    dice = random.Random(seed)
    groups = families(pack)
    small = [g for g in groups if len(g) <= LARGEST_HELD_OUT]
    chosen = dice.sample(small, round(share * len(groups)))
    slugs = [c.slug for c in pack.concepts]
    held_out = frozenset(slugs[i] for group in chosen for i in group)
    known = [s for s in slugs if s not in held_out]
    kept_back = dice.sample(known, round(back * len(known)))
    held_style = {slug: dice.choice(("noto", "twemoji")) for slug in kept_back}
    return Split({slugs[i]: slugs[g[0]] for g in groups for i in g}, held_out, held_style)


def save(split: Split, pack: Pack, path: Path = SPLIT_FILE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {
        c.slug: {
            "code": c.code,
            "family": split.family[c.slug],
            **({"held_out": True} if c.slug in split.held_out else {}),
            **({"held_style": split.held_style[c.slug]} if c.slug in split.held_style else {}),
        }
        for c in pack.concepts
    }
    lines = ",\n".join(f"{json.dumps(slug)}: {json.dumps(row)}" for slug, row in rows.items())
    path.write_text("{\n" + lines + "\n}\n", encoding="utf-8")


def load(path: Path = SPLIT_FILE) -> Split:
    rows = json.loads(path.read_text(encoding="utf-8"))
    return Split(
        {slug: row["family"] for slug, row in rows.items()},
        frozenset(slug for slug, row in rows.items() if row.get("held_out")),
        {slug: row["held_style"] for slug, row in rows.items() if "held_style" in row},
    )


def check(split: Split, pack: Pack) -> None:
    """UserError where the pack has a concept that the committed split does not place."""
    strange = [c.slug for c in pack.concepts if c.slug not in split.family]
    if strange:
        raise UserError(
            Words(
                f"The pack and the committed split differ ({', '.join(strange[:5])}). Build the pack again.",
                f"数据包与已提交的划分不一致（{', '.join(strange[:5])}）。请重新构建数据包。",
            )
        )


def _colourless(concept: Concept) -> str:
    return " ".join(word for word in concept.name.en.replace(":", " ").split() if word not in _COLOURS) or concept.slug
