"""Which w makes a given picture, or comes nearest to it; and how near the forger comes to its own pictures and to real ones.

the nearest of the mean and 256 seeds -> picture -> its distance at 64, 32 and 16 px, and a pull to the mean -> Adam -> w
(after Karras et al., arXiv 1912.04958, section 5; distances are of pixels here, as no perceptual net ships)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from aigc_demo.device import MemoryMeter
from aigc_demo.errors import Invalid, ModelDamaged
from aigc_demo.generators.gan import MODEL, SHIPPED
from aigc_demo.generators.gan_model import LAYERS, NO_NUMBER, GanModel, images, tensor
from aigc_demo.generators.picture_fields import KINDS, check_picture, check_pictures, digest
from aigc_demo.params import Data, Params, Range
from aigc_demo.results import Done, Step
from aigc_demo.words import Words
from aigc_demo.worker import Emit, on_worker

if TYPE_CHECKING:
    import torch
    from PIL import Image

STARTS = 256
"""Seeds, from 0 on, among which the nearest start is sought."""
OWN = tuple(range(2**30, 2**30 + 4))
"""Seeds, none of them a start, whose pictures the forger can make for certain."""
MOST = 12
"""Real pictures that a search is measured against."""
SCALES = (1, 2, 4)
"""Pixels to a side that are averaged before pictures are compared."""
RATE = 0.15
"""Adam's, in the usual deviation of a number of w."""
MOMENTA = (0.9, 0.999)
AS_NEAR = 1.5
"""Times the distance of the worst of its own pictures, within which a picture counts as its own."""
USUAL = 0.98
"""The share of seeds whose w lies nearer to the mean than what counts as far out."""
MANY = 4096
CAN, OUTSIDE, LIKENESS, CANNOT, UNKNOWN = "can", "outside", "likeness", "cannot", "unknown"
"""Verdicts: it makes this; it comes near only by a w that seeds hardly give; as far as real ones; farther; not compared."""


def _required(value: Any) -> Image.Image:
    found = check_picture(value)
    if found is None:
        raise Invalid(Words("Give a picture first.", "请先提供一张图片。"))
    return found


@dataclass(frozen=True)
class ProjectParams(Params):
    """The search for the w of a picture."""

    image: Annotated[
        Any,
        Data(
            Words("Picture", "图片"),
            Words("What the forger shall make.", "要伪造者做出的图片。"),
            checker=_required,
            shape=KINDS,
        ),
    ]
    model: Annotated[str, MODEL] = SHIPPED
    real: Annotated[
        Any,
        Data(
            Words("Real pictures", "真图"),
            Words("Sought in the same way, to compare with.", "以同样方式寻找，用来比较。"),
            checker=partial(check_pictures, fewest=0, most=MOST),
            shape=f"0–{MOST} × {KINDS}",
        ),
    ] = ()
    steps: Annotated[int, Range(Words("Steps", "步数"), Words("How long it searches.", "寻找多久。"), 10, 400, 10)] = (
        150
    )
    pull: Annotated[
        float,
        Range(
            Words("Pull to the mean", "向均值的拉力"),
            Words(
                "Keeps w where seeds land. At 0 it comes nearer to the picture by a w that no seed would give.",
                "让 w 留在种子所及的范围内。为 0 时能更接近图片，但所用的 w 没有种子会给出。",
            ),
            0,
            0.1,
            0.005,
        ),
    ] = 0.01

    def values(self) -> dict[str, Any]:
        return {**super().values(), "image": digest(self.image), "real": [digest(one) for one in self.real]}


@dataclass(frozen=True)
class Projected:
    """target: as the model sees it. picture: the nearest, made by w. errors: root of the mean squared difference, of the
    whole range of a pixel, before each step and after the last; of the best until then. own, real: the same of pictures
    that the search was measured on, after as many steps."""

    target: Image.Image
    picture: Image.Image
    w: tuple[float, ...]
    errors: tuple[float, ...]
    own: tuple[float, ...]
    real: tuple[float, ...]
    verdict: str


def project(
    request: ProjectParams, model: GanModel, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Step[Any] | Done[Projected]]:
    """Steps of stage "project" with (target, nearest so far, its error), of "compare" the first time with these settings,
    then Done. stopped: asked after every step; the nearest until then is kept."""
    return on_worker(lambda emit: _project(request, model, stopped, emit), name="gan-project")


@dataclass(frozen=True)
class _Best:
    """The nearest until now, of each picture: w [n, latent], pixels [n, 3, h, w], errors [n]."""

    w: torch.Tensor
    pixels: torch.Tensor
    errors: torch.Tensor


def _project(request: ProjectParams, model: GanModel, stopped: Callable[[], bool], emit: Emit[Any]) -> None:
    begun = time.perf_counter()
    meter = MemoryMeter(model.device)
    target = tensor([request.image])
    (seen,) = images(target)
    errors: list[float] = []
    finish = "end"
    for best in nearest(model, target, request.steps, request.pull):
        errors.append(float(best.errors[0]))
        meter.sample()
        emit(Step("project", len(errors), request.steps + 1, (seen, images(best.pixels)[0], errors[-1])))
        if stopped() and len(errors) <= request.steps:
            finish = "stopped"
            break
    searched = time.perf_counter() - begun
    own, real = _compared(request, model, stopped, emit)
    w = best.w[0]
    away = float((w - model.mean_w).norm()) / model.spread
    at = len(errors) - 1
    others = tuple(one[at] for one in own), tuple(one[at] for one in real)
    meter.sample()
    found = Projected(
        seen,
        images(best.pixels)[0],
        tuple(w.tolist()),
        tuple(errors),
        *others,
        verdict(errors[-1], away, far_out(model), *others),
    )
    emit(
        Done(
            found,
            timings={
                "total": time.perf_counter() - begun,
                "search": searched,
                "per_step": searched / len(errors),
            },
            figures={
                "steps": at,
                "rmse": round(errors[-1], 5),
                "psnr": -20 * math.log10(max(errors[-1], 1e-6)),
                "away": round(away, 3),
                "own": [round(error, 5) for error in found.own],
                "real": [round(error, 5) for error in found.real],
                "verdict": found.verdict,
                "peak_memory_bytes": meter.peak,
                "finish": finish,
            },
        )
    )


def verdict(error: float, away: float, far: float, own: tuple[float, ...], real: tuple[float, ...]) -> str:
    """What may be said of a picture that the forger comes within `error` of, at a w `away` from the mean; both of others,
    and `far`, are of the same model at the same settings."""
    if not own:
        return UNKNOWN
    own_like = error <= AS_NEAR * max(own)
    if not own_like and error > max(real, default=0):
        return CANNOT
    if away > far:
        return OUTSIDE
    return CAN if own_like else LIKENESS


def far_out(model: GanModel) -> float:
    """The distance from the mean, in usual ones, within which nearly all seeds' w lie."""
    import torch

    if "far_out" not in model.measured:
        w = model.w(torch.randn(MANY, model.generator.latent, generator=torch.Generator().manual_seed(0)))
        model.measured["far_out"] = float((w - model.mean_w).norm(dim=1).quantile(USUAL)) / model.spread
    return model.measured["far_out"]


def _compared(
    request: ProjectParams, model: GanModel, stopped: Callable[[], bool], emit: Emit[Any]
) -> tuple[list[list[float]], list[list[float]]]:
    """The errors by step of the forger's own pictures and of the real ones but for the one that is sought; measured once
    for the same settings. None at all where a stop comes first."""
    import torch

    names = [digest(one) for one in request.real]
    key = ("projected", request.steps, request.pull, *names)
    if key not in model.measured:
        if stopped():
            return [], []
        made = model.pictures(model.w(torch.stack([model.z(seed) for seed in OWN])))
        curves: list[torch.Tensor] = []
        for best in nearest(model, torch.cat([made, tensor(request.real)]), request.steps, request.pull):
            curves.append(best.errors)
            emit(Step("compare", len(curves), request.steps + 1))
            if stopped() and len(curves) <= request.steps:
                return [], []
        model.measured[key] = torch.stack(curves, 1).tolist()
    found: list[list[float]] = model.measured[key]
    real = zip(names, found[len(OWN) :], strict=True)
    return found[: len(OWN)], [errors for name, errors in real if name != digest(request.image)]


def nearest(model: GanModel, targets: torch.Tensor, steps: int, pull: float) -> Iterator[_Best]:
    """The nearest pictures before each step of Adam and after the last; each target [3, h, w] for itself."""
    import torch

    unit = model.spread / math.sqrt(model.generator.latent)
    w = _starts(model, targets)
    kept = _Best(w, targets, torch.full((len(targets),), math.inf))
    least = torch.full((len(targets),), math.inf)
    slow, power = torch.zeros_like(w), torch.zeros_like(w)
    for n in range(steps + 1):
        at = w.clone().requires_grad_()
        raw = model.generator.synthesize(at.to(model.device.kind)[:, None].expand(-1, LAYERS, -1)).cpu()
        away = (at - model.mean_w).square().sum(1) / model.spread**2
        loss = distance(raw, targets) + pull * away
        (slope,) = torch.autograd.grad(loss.sum(), at)
        if not (loss.isfinite().all() and slope.isfinite().all()):
            raise ModelDamaged(NO_NUMBER)
        pixels, loss = raw.detach().clamp(-1, 1), loss.detach()
        nearer = loss < least
        least = torch.where(nearer, loss, least)
        errors = ((pixels - targets) / 2).square().mean((1, 2, 3)).sqrt()
        kept = _Best(
            torch.where(nearer[:, None], w, kept.w),
            torch.where(nearer[:, None, None, None], pixels, kept.pixels),
            torch.where(nearer, errors, kept.errors),
        )
        yield kept
        slow = MOMENTA[0] * slow + (1 - MOMENTA[0]) * slope
        power = MOMENTA[1] * power + (1 - MOMENTA[1]) * slope.square()
        step = slow / (1 - MOMENTA[0] ** (n + 1)) / ((power / (1 - MOMENTA[1] ** (n + 1))).sqrt() + 1e-12)
        w = w - RATE * unit * min(1, 4 * (1 - n / max(1, steps))) * step  # shorter steps in the last quarter


def distance(raw: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """[n]: mean squared differences of pixels in -1..1, averaged over `SCALES`. A pixel beyond black or white is black or
    white, where the target is that; anywhere else it is beyond, so that it finds back."""
    import torch
    from torch.nn import functional

    seen = torch.where(targets >= 1, raw.clamp(max=1), torch.where(targets <= -1, raw.clamp(min=-1), raw))
    parts = [functional.avg_pool2d(seen - targets, size).square().mean((1, 2, 3)) for size in SCALES]
    return torch.stack(parts).mean(0)


def _starts(model: GanModel, targets: torch.Tensor) -> torch.Tensor:
    """The w of the nearest picture to each target, among the mean's and those of the first seeds."""
    import torch
    from torch.nn import functional

    coarse = SCALES[-1]
    if "starts" not in model.measured:
        drawn = model.w(torch.stack([model.z(seed) for seed in range(STARTS)]))
        w = torch.cat([model.mean_w[None], drawn])
        model.measured["starts"] = w, functional.avg_pool2d(model.pictures(w), coarse).flatten(1)
    w, pictures = model.measured["starts"]
    return w[torch.cdist(functional.avg_pool2d(targets, coarse).flatten(1), pictures).argmin(1)]
