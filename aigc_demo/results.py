"""Step and Done: what every generator yields.

A run is an iterator of any number of `Step`s and, last, exactly one `Done`, also when it was stopped
early by a stop condition of its own (a run that is *closed* yields nothing more). The non-streaming
form of a generator is `finish(generator)`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Step(Generic[T]):
    """One step of a run.

    stage: what is being done, a name of the generator's own ("prefill", "decode", "denoise").
    index: steps of this stage finished so far, from 1.
    total: how many there will be at most; None where nobody knows.
    value: what this step made (a token, a preview); None where it made nothing to look at.
    """

    stage: str
    index: int
    total: int | None
    value: T | None = None


@dataclass(frozen=True)
class Done(Generic[T]):
    """The end of a run.

    value: the result.
    timings: seconds by name; always holds "total".
    figures: other measured numbers by name (tokens, tokens per second, bytes).
    recipe: how to make it again; the engine stamps it, a bare generator leaves it empty.
    """

    value: T
    timings: dict[str, float]
    figures: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)


def finish(run: Iterable[Step[Any] | Done[T]]) -> Done[T]:
    """Consume a run and return its end."""
    for item in run:
        if isinstance(item, Done):
            return item
    raise RuntimeError("the run ended without Done")
