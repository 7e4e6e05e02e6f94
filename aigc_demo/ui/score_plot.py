"""Scores to look at: a histogram for every group of pictures over one axis, and a curve over steps. HTML, for page.css."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

BINS = 40
TICKS = 6


def signed(score: float, digits: int = 2) -> str:
    return f"{score:+.{digits}f}".replace("-", "−")


def plain(number: float, digits: int = 3) -> str:
    """Of what is never below zero."""
    return f"{number:.{digits}f}"


def histograms(
    groups: Sequence[tuple[str, str, Sequence[float]]], written: Callable[[float, int], str] = signed
) -> str:
    """groups: (name, what to say of it, scores); those without scores are left out. All share one axis.
    written: a number with so many digits."""
    there = [group for group in groups if group[2]]
    if not there:
        return ""
    low, high = min(min(scores) for *_, scores in there), max(max(scores) for *_, scores in there)
    margin = max((high - low) * 0.04, 1e-3)
    low, high = low - margin, high + margin
    rows = "".join(
        f"<div><p>{escape(name)} <span>{escape(told)}</span></p>"
        f"<div class='aigc-bars' role='img' aria-label='{escape(f'{name}: {told}')}'>{_bars(scores, low, high)}</div></div>"
        for name, told, scores in there
    )
    return f"<div class='aigc-scores'>{rows}{_axis(low, high, written)}</div>"


def _bars(scores: Sequence[float], low: float, high: float) -> str:
    counts = [0] * BINS
    for score in scores:
        counts[min(BINS - 1, int((score - low) / (high - low) * BINS))] += 1
    return "".join(f"<i style='height:{count / max(counts):.1%}'></i>" for count in counts)


def _axis(low: float, high: float, written: Callable[[float, int], str]) -> str:
    step = 10 ** math.floor(math.log10((high - low) / TICKS))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= TICKS)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step), math.floor(high / step)
    spans = ""
    for n in range(first, last + 1):
        share = (n * step - low) / (high - low)
        if 0.03 <= share <= 0.97:  # a label at the very edge would hang over it
            spans += f"<span style='left:{share:.1%}'>{written(n * step, digits) if n else '0'}</span>"
    return f"<div class='aigc-axis' aria-hidden='true'>{spans}</div>"


def curve(name: str, scores: Sequence[float], total: int, written: Callable[[float], str] = signed) -> str:
    """Scores from step 0 on; total: the last step that there will be."""
    if len(scores) < 2:
        return ""
    low, high = min(scores), max(scores)
    span, width = max(high - low, 1e-9), max(1, total)
    points = " ".join(f"{n / width * 100:.2f},{96 - (score - low) / span * 92:.2f}" for n, score in enumerate(scores))
    told = f"{written(scores[0])} → {written(scores[-1])}"
    return (
        f"<div class='aigc-scores'><div><p>{escape(name)} <span>{told}</span></p>"
        f"<svg class='aigc-curve' viewBox='0 0 100 100' preserveAspectRatio='none' role='img' aria-label='{escape(name)}: {told}'>"
        f"<polyline points='{points}'></polyline></svg></div></div>"
    )
