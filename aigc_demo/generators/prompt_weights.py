r"""Weights of words in a prompt, as the widely used web UIs write them, and what they do to a prompt's embeddings.

    (a cat:1.3)   weight 1.3          (a cat)   weight 1.1          [a cat]   weight 1 / 1.1
    ((a [red] cat):1.2)   nested weights are multiplied             \( \) \[ \] \\   the character itself

An open mark that nobody closes reaches to the end; a closing one that nobody opened is a character like any other. The
syntax and both formulas are those of AUTOMATIC1111's stable-diffusion-webui (modules/prompt_parser.py, `parse_prompt_attention`;
modules/sd_emphasis.py, `EmphasisOriginal`). It knows no pipeline.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

STRONGER = 1.1
LARGEST = 10.0
"""A weight is kept between 0 and this: further out there is only noise."""
SMALLEST_DIVISOR = 0.1
_STEPS, _HUGE = 200, 1e100
"""Thousands of brackets must not overflow on the way there."""
_MARKS = re.compile(r"\\[()\[\]\\]|:\s*\+?(\d*\.?\d+)\s*\)|[()\[\]]|[^\\()\[\]:]+|[\\:]")
_CLOSING = {"(": ")", "[": "]"}
_OPENING = {mark: opening for opening, mark in _CLOSING.items()}

Piece = tuple[str, float]


def parse(text: str) -> list[Piece]:
    """(text without marks, weight) of every stretch of one weight; their texts joined are `plain(text)`."""
    marks = list(_MARKS.finditer(text))
    powers, factors, _ = _ranges(marks)
    pieces: list[Piece] = []
    power, inside = 0, dict[int, float]()
    for n, mark in enumerate(marks):
        if n in powers or n in factors:
            power += powers.get(n, 0)
            start, factor = factors.get(n, (None, 1.0))
            if start == n:
                inside[n] = factor
            elif start is not None:
                del inside[start]
            continue
        found = mark.group()
        word = found[1:] if found[0] == "\\" and len(found) > 1 else found
        weight = STRONGER ** max(-_STEPS, min(power, _STEPS))
        for factor in inside.values():
            weight = min(weight * factor, _HUGE)
        weight = min(weight, LARGEST)
        if pieces and pieces[-1][1] == weight:
            pieces[-1] = (pieces[-1][0] + word, weight)
        else:
            pieces.append((word, weight))
    return pieces


def closed(text: str) -> str:
    """The same prompt with its open marks closed, so that words can follow that they do not reach."""
    *_, opened = _ranges(list(_MARKS.finditer(text)))
    left = sorted((place, _CLOSING[mark]) for mark, places in opened.items() for place in places)
    escape = "\\" if left and text.endswith("\\") and not text.endswith("\\\\") else ""
    return text + escape + "".join(mark for _, mark in reversed(left))


def _ranges(
    marks: Sequence[re.Match[str]],
) -> tuple[dict[int, int], dict[int, tuple[int, float]], dict[str, list[int]]]:
    """What brackets do, by their place: the change of the power of STRONGER; and, at both ends of a bracket with a
    number, (where it was opened, the number). Places that are in neither are text. Third, what stays open."""
    powers: dict[int, int] = {}
    factors: dict[int, tuple[int, float]] = {}
    opened: dict[str, list[int]] = {opening: [] for opening in _CLOSING}
    for n, (mark, number) in enumerate((found.group(), found.group(1)) for found in marks):
        if mark in opened:
            opened[mark].append(n)
            powers[n] = 1 if mark == "(" else -1
        elif number is not None and opened["("]:
            start = opened["("].pop()
            del powers[start]
            factors[start] = factors[n] = (start, min(float(number), LARGEST))
        elif mark in _OPENING and opened[_OPENING[mark]]:
            powers[n] = -powers[opened[_OPENING[mark]].pop()]
    return powers, factors, opened


def plain(text: str) -> str:
    """A prompt without its marks: the words that the model reads."""
    return "".join(words for words, _ in parse(text))


def weighted(text: str) -> bool:
    """Whether any word of a prompt has a weight other than 1."""
    return any(weight != 1 and words.strip() for words, weight in parse(text))


def of_tokens(pieces: Sequence[Piece], spans: Sequence[tuple[int, int]]) -> list[float]:
    """The weight of each token: the mean over its characters, spaces aside. spans: (start, end) of each in the text
    without marks; (0, 0) for the tokens that stand for no text, which have weight 1."""
    characters = [None if letter.isspace() else weight for words, weight in pieces for letter in words]
    found = []
    for start, end in spans:
        own = [weight for weight in characters[start:end] if weight is not None]
        found.append(own[0] if len(set(own)) == 1 else sum(own) / len(own) if own else 1.0)
    return found


def scaled(embeddings: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """z'[t] = w[t] z[t]. embeddings: [1, tokens, channels]; the result is float32."""
    import torch

    factors = torch.tensor(weights, dtype=torch.float32, device=embeddings.device)
    return embeddings.float() * factors[None, :, None]


def restored(embeddings: torch.Tensor, changed: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """z'' = z' mean(z) / mean(z'), so that a heavy word does not make the whole prompt louder; in z's dtype.

    The source divides whatever the means are. Where they nearly vanish, their quotient says nothing, so it is kept
    within 1 / the largest and 1 / the smallest weight, where it lies by itself if the tokens' means have one sign.
    """
    import torch

    quotient = torch.nan_to_num(embeddings.float().mean() / changed.mean(), nan=1.0)
    low, high = 1 / max(weights), 1 / max(min(weights), SMALLEST_DIVISOR)
    return (changed * quotient.clamp(low, high)).to(embeddings.dtype)
