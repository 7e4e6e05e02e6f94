"""Time several ways of doing the same thing side by side, in shuffled order, and be strict about noise.

The baseline runs twice per round under two names. Where its two medians differ by more than 2%, the
machine was too restless for any ratio to mean something, and the run is void.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

VOID = 0.02
TOO_GOOD = 1.10
"""A ratio this far above 1 is a fault of the benchmark until somebody has explained it."""


@dataclass(frozen=True)
class Wanted:
    """A ratio to the baseline's speed, and whether at least or at most this is wanted."""

    name: str
    ratio: float
    at_least: bool = True


def compare(
    baseline: str,
    ways: Mapping[str, Callable[[], float]],
    wanted: list[Wanted],
    *,
    rounds: int,
    unit: str,
    faster_is_more: bool = True,
    seed: int = 0,
) -> bool:
    """Run every way once per round and print a table. Returns whether the run is valid and every ratio reached.

    ways: name -> a function that does the work once and returns its figure, in `unit`.
    wanted: ratios of medians, way / baseline.
    """
    again = f"{baseline} (again)"
    every = {**ways, again: ways[baseline]}
    order = list(every)
    shuffle = random.Random(seed)
    figures: dict[str, list[float]] = {name: [] for name in every}
    for way in every.values():
        way()  # warm: caches, thread pools, allocations
    for _ in range(rounds):
        shuffle.shuffle(order)
        for name in order:
            figures[name].append(every[name]())
    median = {name: statistics.median(values) for name, values in figures.items()}
    noise = abs(median[again] / median[baseline] - 1)
    print(f"\n{'':38} {'median':>10} {'spread':>16} {'ratio':>7}  wanted   ({unit}, {rounds} rounds)")
    fine = True
    for name, values in figures.items():
        ratio = median[name] / median[baseline]
        target = next((w for w in wanted if w.name == name), None)
        verdict = ""
        if target:
            reached = ratio >= target.ratio if target.at_least else ratio <= target.ratio
            good = ratio > TOO_GOOD if faster_is_more else ratio < 1 / TOO_GOOD and target.ratio >= 1
            fine &= reached
            verdict = f"{'>=' if target.at_least else '<='} {target.ratio:<5} {'ok' if reached else 'MISSED'}"
            verdict += "  better than can be: explain it" if good else ""
        print(f"{name:38} {median[name]:10.3f} {min(values):7.3f}..{max(values):7.3f} {ratio:7.3f}  {verdict}")
    if noise > VOID:
        print(f"VOID: the baseline differs from itself by {noise:.1%}, more than {VOID:.0%}.")
    return fine and noise <= VOID
