"""The exam that clip and judge sit: name a picture whose style, of this concept, was never seen.

"Right among 100" puts the right caption beside 99 of concepts outside its family, the same 99 for everyone.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from aigc_demo.training.captions import named
from aigc_demo.training.data import Pack
from aigc_demo.training.splits import Split

if TYPE_CHECKING:
    import torch

SEED = 77
AMONG = 100


class Exam:
    """pictures: indices asked about. known: the concepts (indices) that can be answered. choices: per picture,
    places in `known`, the right one first."""

    def __init__(self, pack: Pack, split: Split):
        self.pack = pack
        self.pictures = split.styles_kept(pack)
        self.known = [c for c, concept in enumerate(pack.concepts) if concept.slug not in split.held_out]
        self.place = {concept: place for place, concept in enumerate(self.known)}
        self.styles = sorted({self.style(i) for i in self.pictures})
        family = [split.family[pack.concepts[c].slug] for c in self.known]
        self.choices: list[list[int]] = []
        for i in self.pictures:
            dice = random.Random(f"{SEED}/{pack.pictures[i].name(pack.concepts)}")
            right = self.place[pack.pictures[i].concept]
            others = [place for place in range(len(self.known)) if family[place] != family[right]]
            self.choices.append([right, *dice.sample(others, min(AMONG - 1, len(others)))])

    def style(self, picture: int) -> str:
        return self.pack.pictures[picture].style

    def caption(self, picture: int, language: str) -> str:
        shown = self.pack.pictures[picture]
        return named(self.pack.concepts[shown.concept].name.to(language), shown.style, language)

    def captions(self, style: str | None, language: str) -> list[str]:
        """One caption per known concept."""
        return [named(self.pack.concepts[c].name.to(language), style, language) for c in self.known]

    def marks(self, scores: torch.Tensor) -> dict[str, float]:
        """scores: [pictures, known]. Shares in 0-1."""
        right = [c[0] for c in self.choices]
        among = [float(s[c].argmax() == 0) for s, c in zip(scores, self.choices, strict=True)]
        best = scores.topk(min(5, scores.shape[1])).indices.tolist()
        n = len(right)
        return {
            "top1_of_100": sum(among) / n,
            "top1_of_all": sum(r == b[0] for r, b in zip(right, best, strict=True)) / n,
            "top5_of_all": sum(r in b for r, b in zip(right, best, strict=True)) / n,
        }

    def misses(self, scores: torch.Tensor) -> list[str]:
        """ "style/slug: answered" for every miss among 100."""
        told = []
        for i, row, choice in zip(self.pictures, scores, self.choices, strict=True):
            answer = int(row[choice].argmax())
            if answer:
                given = self.pack.concepts[self.known[choice[answer]]].slug
                told.append(f"{self.pack.pictures[i].name(self.pack.concepts)}: {given}")
        return told
