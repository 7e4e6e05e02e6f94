"""The ways in which w varies most, and what a step along them does to a picture: GANSpace (Härkönen et al., arXiv 2004.02546).

4096 draws of z -> w -> principal components: directions of unit length, and the deviation along each
w of a seed, or one that was found -> plus deviations along the directions -> picture
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from aigc_demo.device import MemoryMeter
from aigc_demo.errors import Invalid
from aigc_demo.generators.gan import MODEL, SHIPPED, TRUNCATION
from aigc_demo.generators.gan_model import SIDE, GanModel, images
from aigc_demo.params import Choice, Data, Params, Range, Refused, Seed
from aigc_demo.results import Done, Step
from aigc_demo.words import Words
from aigc_demo.worker import Emit, on_worker

if TYPE_CHECKING:
    import torch
    from PIL import Image

DRAWS = 4096
COUNT = 6
"""Directions that are offered, the strongest first."""
LARGEST = 1e4
"""Of a number of w; those of seeds are a few units."""
SEEDED, FOUND = "seed", "found"


def _numbers(value: Any) -> tuple[float, ...]:
    if not isinstance(value, list | tuple) or len(value) > 4096:
        raise Refused(Words("must be a list of numbers", "须为数字列表"))
    if any(isinstance(one, bool) or not isinstance(one, int | float) or not abs(one) <= LARGEST for one in value):
        raise Refused(Words("must be a list of finite numbers", "须为有限数字的列表"))
    return tuple(map(float, value))


def _along(n: int) -> Range:
    return Range(
        Words("Direction {n}", "方向 {n}").format(n=n),
        Words("In standard deviations of w along it.", "以 w 沿该方向的标准差为单位。"),
        -3,
        3,
        0.1,
    )


@dataclass(frozen=True)
class DirectionsParams(Params):
    """A picture, moved along the directions in which w varies most."""

    model: Annotated[str, MODEL] = SHIPPED
    start: Annotated[
        str,
        Choice(
            Words("Start", "起点"),
            Words("Where the directions lead from.", "从哪里沿各方向移动。"),
            {SEEDED: Words("A seed", "种子"), FOUND: Words("The picture found by projection", "投影找到的图片")},
        ),
    ] = SEEDED
    seed: Annotated[
        int,
        Seed(Words("Seed", "随机种子"), Words("Whose picture is moved.", "移动哪一个种子的图片。")),
    ] = 0
    truncation: Annotated[float, TRUNCATION] = 0.7
    w: Annotated[
        Any,
        Data(
            Words("w", "w"),
            Words("Of the picture that was found; not truncated.", "所找到图片的 w；不截断。"),
            checker=_numbers,
            shape="[number, …]",
        ),
    ] = ()
    direction_1: Annotated[float, _along(1)] = 0.0
    direction_2: Annotated[float, _along(2)] = 0.0
    direction_3: Annotated[float, _along(3)] = 0.0
    direction_4: Annotated[float, _along(4)] = 0.0
    direction_5: Annotated[float, _along(5)] = 0.0
    direction_6: Annotated[float, _along(6)] = 0.0

    def values(self) -> dict[str, Any]:
        return {**super().values(), "w": list(self.w) if self.start == FOUND else []}

    @property
    def steps(self) -> tuple[float, ...]:
        """Along each direction, in deviations."""
        return tuple(getattr(self, name) for name in NAMES)


NAMES = tuple(f"direction_{n}" for n in range(1, COUNT + 1))


@dataclass(frozen=True)
class Directions:
    """axes: [count, latent], of length 1. deviations: of w along each. shares: of all of w's variance."""

    axes: torch.Tensor
    deviations: torch.Tensor
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Moved:
    """away: the distance of w from the mean, in usual ones."""

    picture: Image.Image
    shares: tuple[float, ...]
    score: float
    away: float


def directions(model: GanModel) -> Directions:
    """The strongest ones of the model's w; computed once."""
    import torch

    if "directions" not in model.measured:
        z = torch.randn(DRAWS, model.generator.latent, generator=torch.Generator().manual_seed(0))
        model.measured["directions"] = principal(model.w(z), COUNT)
    return model.measured["directions"]


def principal(w: torch.Tensor, count: int) -> Directions:
    """The principal components of w [n, latent]. Of the two signs that each may have, the one whose largest number is
    positive, so that it is the same on every machine."""
    import torch

    centred = (w - w.mean(0)).double()
    variances, columns = torch.linalg.eigh(centred.T @ centred / (len(w) - 1))
    variances, axes = variances.flip(0).clamp_min(0), columns.T.flip(0)
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    shares = variances / variances.sum().clamp_min(1e-30)
    axes = axes * largest.sign()
    return Directions(axes[:count].float(), variances[:count].sqrt().float(), tuple(shares[:count].tolist()))


def move(
    request: DirectionsParams, model: GanModel, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Step[Any] | Done[Moved]]:
    """Done, after no step: it is one picture."""
    return on_worker(lambda emit: _move(request, model, emit), name="gan-directions")


def _move(request: DirectionsParams, model: GanModel, emit: Emit[Any]) -> None:
    import torch

    begun = time.perf_counter()
    meter = MemoryMeter(model.device)
    found = directions(model)
    w = _start(request, model)
    # a model of fewer dimensions than there are directions has no more of them
    along = torch.tensor(request.steps[: len(found.deviations)]) * found.deviations
    w = w + along @ found.axes
    pixels = model.pictures(w[None])
    (score,) = model.scores(pixels)
    away = float((w - model.mean_w).norm()) / model.spread
    meter.sample()
    emit(
        Done(
            Moved(images(pixels)[0], found.shares, score, away),
            timings={"total": time.perf_counter() - begun},
            figures={
                "width": SIDE,
                "height": SIDE,
                "score": round(score, 4),
                "away": round(away, 3),
                "shares": [round(share, 4) for share in found.shares],
                "peak_memory_bytes": meter.peak,
            },
        )
    )


def _start(request: DirectionsParams, model: GanModel) -> torch.Tensor:
    import torch

    if request.start == SEEDED:
        return model.truncated(model.w(model.z(max(request.seed, 0))[None])[0], request.truncation)
    if not request.w:
        raise Invalid(
            Words(
                "No picture has been found yet. Find one by projection first, or start from a seed.",
                "还没有找到图片。请先用投影找一张，或从种子开始。",
            )
        )
    if len(request.w) != model.generator.latent:
        raise Invalid(
            Words(
                "The picture was found with another model. Find it with this one, or start from a seed.",
                "该图片是用另一个模型找到的。请用当前模型重新寻找，或从种子开始。",
            )
        )
    return torch.tensor(request.w)
