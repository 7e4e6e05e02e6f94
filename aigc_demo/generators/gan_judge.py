"""What the detective says of pictures, where in them it looks, and what pleases it most.

picture -> score -> its slope by every pixel: the heat map
w -> picture -> score -> its slope by w -> a step of w that way, again and again: the climb
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from aigc_demo.device import MemoryMeter
from aigc_demo.errors import Invalid
from aigc_demo.generators.gan import MODEL, SEED, SHIPPED, TRUNCATION
from aigc_demo.generators.gan_model import AT_ONCE, LAYERS, GanModel, images, tensor
from aigc_demo.generators.picture_fields import KINDS, check_pictures, digest
from aigc_demo.params import Data, Params, Range, Seed
from aigc_demo.results import Done, Step
from aigc_demo.words import Words
from aigc_demo.worker import Emit, on_worker

if TYPE_CHECKING:
    import torch
    from PIL import Image

MOST = 12
"""Pictures of a kind that a person may give."""
HEATED = 12
"""Pictures of a kind that get a heat map."""
HOT = (217, 72, 15)
BRIGHTEST = 0.99
"""The share of a picture's pixels below its full heat: one pixel alone must not make all others cold."""
REACH = 2
"""Pixels to each side that a heat map is averaged over."""


@dataclass(frozen=True)
class JudgeParams(Params):
    """Pictures of three kinds before one discriminator."""

    model: Annotated[str, MODEL] = SHIPPED
    real: Annotated[
        Any,
        Data(
            Words("Real pictures", "真图"),
            Words("What the forged ones are measured against.", "用来与伪造图片比较。"),
            checker=partial(check_pictures, fewest=0, most=MOST),
            shape=f"0–{MOST} × {KINDS}",
        ),
    ] = ()
    given: Annotated[
        Any,
        Data(
            Words("Your pictures", "你的图片"),
            Words("Judged beside them.", "一并鉴定。"),
            checker=partial(check_pictures, fewest=0, most=MOST),
            shape=f"0–{MOST} × {KINDS}",
        ),
    ] = ()
    num_images: Annotated[
        int,
        Range(Words("Forged pictures", "伪造图片数"), Words("How many are judged.", "要鉴定多少张。"), 8, 256, 8),
    ] = 64
    truncation: Annotated[float, TRUNCATION] = 1.0
    seed: Annotated[int, SEED] = 0

    def values(self) -> dict[str, Any]:
        pictures = {name: [digest(one) for one in getattr(self, name)] for name in ("real", "given")}
        return {**super().values(), **pictures}


@dataclass(frozen=True)
class ClimbParams(Params):
    """A way of w up the discriminator's score."""

    model: Annotated[str, MODEL] = SHIPPED
    seed: Annotated[
        int,
        Seed(
            Words("Seed", "随机种子"),
            Words("Where it begins. -1 draws one at random.", "从哪里开始。-1 表示随机抽取。"),
        ),
    ] = 0
    truncation: Annotated[float, TRUNCATION] = 0.7
    steps: Annotated[int, Range(Words("Steps", "步数"), Words("How many, at most.", "最多走多少步。"), 1, 300, 1)] = 60
    rate: Annotated[
        float,
        Range(
            Words("Step length", "步长"),
            Words(
                "As a share of the usual distance of a w from the mean. Above 0.2 it stumbles over the top.",
                "以 w 到均值的通常距离为单位。超过 0.2 会越过顶点。",
            ),
            0.01,
            0.5,
            0.01,
        ),
    ] = 0.05


@dataclass(frozen=True)
class Opinion:
    """pictures: as the discriminator saw them. heat: of the first of them."""

    pictures: tuple[Image.Image, ...]
    scores: tuple[float, ...]
    heat: tuple[Image.Image, ...]


@dataclass(frozen=True)
class Judged:
    real: Opinion
    forged: Opinion
    given: Opinion


@dataclass(frozen=True)
class Climbed:
    """The picture and its score before every step, and after the last."""

    frames: tuple[Image.Image, ...]
    scores: tuple[float, ...]


def judge(
    request: JudgeParams, model: GanModel, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Step[Any] | Done[Judged]]:
    """A Step of stage "judge" for every few pictures, then Done."""
    return on_worker(lambda emit: _judge(request, model, stopped, emit), name="gan-judge")


def climb(
    request: ClimbParams, model: GanModel, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Step[tuple[Image.Image, float]] | Done[Climbed]]:
    """Steps of stage "climb" with (picture, score), then Done."""
    return on_worker(lambda emit: _climb(request, model, stopped, emit), name="gan-climb")


def slopes(model: GanModel, pictures: torch.Tensor) -> torch.Tensor:
    """[n, h, w]: how much the score moves with each pixel of [n, 3, h, w], the colours' absolute slopes added up."""
    import torch

    if not len(pictures):
        return torch.empty(0, *pictures.shape[2:])
    found = []
    for part in pictures.split(AT_ONCE):
        given = part.to(model.device.kind).requires_grad_()
        (slope,) = torch.autograd.grad(model.discriminator(given).sum(), given)
        found.append(slope.abs().sum(1).cpu())
    return torch.cat(found)


def heated(picture: Image.Image, slope: np.ndarray) -> Image.Image:
    """The picture in pale grey, orange where its score's slope [h, w] is steep: averaged over neighbouring pixels, as
    single ones are noise, and from each picture's own median to its own steepest."""
    from PIL import Image

    reach = range(2 * REACH + 1)
    wide = np.pad(slope, REACH, mode="edge")
    height, width = slope.shape
    smooth = np.mean([wide[y : y + height, x : x + width] for y in reach for x in reach], axis=0)
    usual, steep = np.quantile(smooth, (0.5, BRIGHTEST))
    strength = np.clip((smooth - usual) / max(float(steep - usual), 1e-12), 0, 1)[..., None]
    pale = np.asarray(picture.convert("L"), np.float32)[..., None] * 0.45 + 140
    return Image.fromarray((pale * (1 - strength) + np.array(HOT) * strength).round().astype(np.uint8))


def _opinion(model: GanModel, pixels: torch.Tensor) -> Opinion:
    seen, scores = images(pixels), model.scores(pixels)
    warm = slopes(model, pixels[:HEATED]).numpy()
    heat = tuple(heated(picture, slope) for picture, slope in zip(seen, warm, strict=False))
    return Opinion(tuple(seen), tuple(scores), heat)


def _judge(request: JudgeParams, model: GanModel, stopped: Callable[[], bool], emit: Emit[Any]) -> None:
    import torch

    begun = time.perf_counter()
    meter = MemoryMeter(model.device)
    made: list[torch.Tensor] = []
    finish, count = "end", 0
    while count < request.num_images and finish == "end":
        part = range(count, min(count + AT_ONCE, request.num_images))
        w = model.w(torch.stack([model.z(max(request.seed, 0) + n) for n in part]))
        made.append(model.pictures(model.truncated(w, request.truncation)))
        meter.sample()
        count = part.stop
        emit(Step("judge", count, request.num_images))
        if stopped() and count < request.num_images:
            finish = "stopped"
    found = Judged(
        *(_opinion(model, pixels) for pixels in (tensor(request.real), torch.cat(made), tensor(request.given)))
    )
    emit(
        Done(
            found,
            timings={"total": time.perf_counter() - begun},
            figures={
                "pictures": count,
                "scores": {
                    name: [round(score, 4) for score in getattr(found, name).scores]
                    for name in ("real", "forged", "given")
                },
                "told_apart": told_apart(found.real.scores, found.forged.scores),
                "peak_memory_bytes": meter.peak,
                "finish": finish,
            },
        )
    )


def told_apart(real: Sequence[float], forged: Sequence[float]) -> float | None:
    """The share of all pairs of a real and a forged picture in which the real one scores higher; ties are half.
    1 is a perfect detective, 1/2 one that guesses. None without any real picture."""
    if not real or not forged:
        return None
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in real for b in forged]
    return sum(wins) / len(wins)


def _climb(request: ClimbParams, model: GanModel, stopped: Callable[[], bool], emit: Emit[Any]) -> None:
    import torch

    begun = time.perf_counter()
    meter = MemoryMeter(model.device)
    w = model.truncated(model.w(model.z(max(request.seed, 0))[None]), request.truncation)
    away = [float((w - model.mean_w).norm()) / model.spread]
    frames: list[Image.Image] = []
    scores: list[float] = []
    finish = "end"
    for n in range(request.steps + 1):
        at = w.clone().requires_grad_()
        picture = model.synthesize(at[:, None].expand(-1, LAYERS, -1))
        score = model.discriminator(picture).sum()
        (slope,) = torch.autograd.grad(score, at)
        frames += images(picture.detach().cpu())
        scores.append(float(score.detach()))
        if not np.isfinite(scores[-1]):
            raise Invalid(Words("The score left all bounds. Take shorter steps.", "得分超出了范围。请缩短步长。"))
        meter.sample()
        emit(Step("climb", n + 1, request.steps + 1, (frames[-1], scores[-1])))
        length = float(slope.norm())
        if n == request.steps:
            break
        if stopped():
            finish = "stopped"
            break
        if not length > 0:
            finish = "flat"
            break
        w = w + request.rate * model.spread * slope / length
    away.append(float((w - model.mean_w).norm()) / model.spread)
    total = time.perf_counter() - begun
    emit(
        Done(
            Climbed(tuple(frames), tuple(scores)),
            timings={"total": total, "per_step": total / len(frames)},
            figures={
                "steps": len(frames) - 1,
                "scores": [round(score, 4) for score in scores],
                "away": [round(share, 3) for share in away],
                "peak_memory_bytes": meter.peak,
                "finish": finish,
            },
        )
    )
