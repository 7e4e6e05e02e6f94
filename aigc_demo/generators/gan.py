"""What a forger makes of seeds, and what its detective says: samples, styles mixed, and ways between seeds.

seed -> z -> w -> truncated towards the mean of w -> a w for every layer -> picture -> score
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from aigc_demo.device import MemoryMeter
from aigc_demo.errors import Invalid
from aigc_demo.generators import paths
from aigc_demo.generators.gan_model import AT_ONCE, LAYERS, SIDE, GanModel, images
from aigc_demo.params import SEED_LIMIT, Choice, Params, Range, Seed, Switch, Text
from aigc_demo.pictures import changes
from aigc_demo.results import Done, Step
from aigc_demo.words import Words
from aigc_demo.worker import Emit, on_worker

if TYPE_CHECKING:
    import torch
    from PIL import Image

SHIPPED = "emoji-gan"
MOST_SEEDS = 8
MOST_FRAMES = 600
CIRCLE = "circle"
WAYS = {
    paths.SPHERE: Words("From seed to seed", "从种子到种子"),
    paths.SPLINE: Words("A smooth curve", "平滑曲线"),
    CIRCLE: Words("A circle", "圆"),
}

MODEL = Text(
    Words("Model", "模型"),
    Words(
        "A pair of the list, or ./name for a folder under models/.",
        "列表中的一对网络，或 ./name 表示 models/ 下的文件夹。",
    ),
    max_length=200,
    required=True,
)
TRUNCATION = Range(
    Words("Truncation", "截断"),
    Words(
        "How far from the mean of w a sample may be: 1 as it was learnt, 0 gives everyone the mean picture. Less is safer "
        "and duller; above 1 is beyond what was learnt.",
        "样本离 w 的均值有多远：1 为训练时的样子，0 则人人都是均值图片。越小越稳妥，也越单调；大于 1 超出所学范围。",
    ),
    0,
    2,
    0.05,
)
SEED = Seed(
    Words("Seed", "随机种子"),
    Words("Picture n uses the seed plus n. -1 draws one at random.", "第 n 张使用种子加 n。-1 表示随机抽取。"),
)


@dataclass(frozen=True)
class SampleParams(Params):
    """Pictures of seeds."""

    model: Annotated[str, MODEL] = SHIPPED
    seed: Annotated[int, SEED] = 0
    num_images: Annotated[
        int, Range(Words("Pictures", "图片数量"), Words("How many to forge.", "要伪造多少张。"), 1, 64, 1)
    ] = 16
    truncation: Annotated[float, TRUNCATION] = 0.7
    mix_layer: Annotated[
        int,
        Range(
            Words("Mix styles from layer", "从第几层起混合风格"),
            Words(
                "Layers from this one on, of 0 to 7, take the second seed's w. Early layers hold the shape, late ones colour "
                "and line. 0 is off.",
                "从这一层起（共 0 到 7 层）改用第二个种子的 w。前面的层决定形状，后面的层决定颜色和线条。0 表示不混合。",
            ),
            0,
            LAYERS - 1,
            1,
        ),
    ] = 0
    style_seed: Annotated[
        int,
        Seed(
            Words("Second seed", "第二个种子"),
            Words(
                "Whose style all pictures take. -1 draws one at random.", "所有图片都采用它的风格。-1 表示随机抽取。"
            ),
        ),
    ] = 1


@dataclass(frozen=True)
class WalkGanParams(Params):
    """A way through z, and the same way through w."""

    model: Annotated[str, MODEL] = SHIPPED
    seeds: Annotated[
        str,
        Text(
            Words("Seeds", "种子"),
            Words(
                "From 2 to 8, with commas between them, in the order of the way; for a circle two.",
                "2 到 8 个，以逗号分隔，按经过的顺序；圆需要两个。",
            ),
            max_length=200,
            required=True,
        ),
    ] = "1, 2, 3, 4"
    interpolation: Annotated[
        str,
        Choice(
            Words("Way", "路径"),
            Words(
                "From seed to seed z keeps to its sphere and w goes straight. A circle leads through two seeds and back, "
                "around 0 in z and around the mean in w.",
                "从种子到种子时，z 沿球面走，w 走直线。圆经过两个种子再回来：在 z 中绕 0，在 w 中绕均值。",
            ),
            WAYS,
        ),
    ] = paths.SPHERE
    frames: Annotated[
        int,
        Range(Words("Frames", "帧数"), Words("Pictures of the whole way.", "整条路径的图片数。"), 2, MOST_FRAMES, 1),
    ] = 48
    truncation: Annotated[float, TRUNCATION] = 0.7
    easing: Annotated[
        str,
        Choice(
            Words("Pace", "节奏"),
            Words("How the way is divided into frames.", "路径如何分成各帧。"),
            {
                "even": paths.EASINGS["even"][0],
                "smooth": Words("Slow at every seed", "在每个种子处放慢"),
            },
        ),
    ] = "even"
    loop: Annotated[
        bool,
        Switch(Words("Loop", "循环"), Words("From the last seed back to the first.", "从最后一个种子回到第一个。")),
    ] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        found = seeds_of(self.seeds)
        if self.interpolation == CIRCLE and len(found) != 2:
            raise Invalid(
                Words(
                    "A circle leads through two seeds, and there are {n}. Give two.",
                    "圆经过两个种子，而现在有 {n} 个。请给出两个。",
                ).format(n=len(found))
            )


def seeds_of(text: str) -> list[int]:
    """The seeds that a person listed. Raises `Invalid`."""
    parts = [part for part in re.split(r"[\s,;，；、]+", text) if part]
    found = [int(part) for part in parts if re.fullmatch("[0-9]{1,10}", part) and int(part) < SEED_LIMIT]
    if len(found) != len(parts) or not 2 <= len(found) <= MOST_SEEDS:
        raise Invalid(
            Words(
                "Seeds must be from 2 to {most} whole numbers from 0 to {high}, such as 1, 2, 3.",
                "种子须为 2 到 {most} 个 0 到 {high} 的整数，例如 1, 2, 3。",
            ).format(most=MOST_SEEDS, high=SEED_LIMIT - 1)
        )
    return found


@dataclass(frozen=True)
class Sampled:
    """seeds, scores: of each picture, in order."""

    pictures: tuple[Image.Image, ...]
    seeds: tuple[int, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class WalkedGan:
    """in_z, in_w: the frames of each way; changes: mean absolute difference of a frame to the one before, of 255."""

    in_z: tuple[Image.Image, ...]
    in_w: tuple[Image.Image, ...]
    z_changes: tuple[float, ...]
    w_changes: tuple[float, ...]


def sample(
    request: SampleParams, model: GanModel, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Step[Sampled] | Done[Sampled]]:
    """Steps of stage "forge" with the samples that are new, then Done with all of them."""
    return on_worker(lambda emit: _sample(request, model, stopped, emit), name="gan")


def walk(
    request: WalkGanParams, model: GanModel, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Step[Any] | Done[WalkedGan]]:
    """Steps of stage "forge" with the new frames (in z, in w), then Done. stopped: asked after every few frames."""
    return on_worker(lambda emit: _walk(request, model, stopped, emit), name="gan-walk")


def _sample(request: SampleParams, model: GanModel, stopped: Callable[[], bool], emit: Emit[Any]) -> None:
    import torch

    begun = time.perf_counter()
    meter = MemoryMeter(model.device)
    first = max(request.seed, 0)
    seeds = [(first + n) % SEED_LIMIT for n in range(request.num_images)]
    style = model.truncated(model.w(model.z(max(request.style_seed, 0))[None]), request.truncation)
    made: list[Image.Image] = []
    scores: list[float] = []
    finish = "end"
    for start in range(0, len(seeds), AT_ONCE):
        part = seeds[start : start + AT_ONCE]
        w = model.truncated(model.w(torch.stack([model.z(seed) for seed in part])), request.truncation)
        ws = w[:, None].repeat(1, LAYERS, 1)
        if request.mix_layer:
            ws[:, request.mix_layer :] = style
        pixels = model.pictures(ws)
        new = Sampled(tuple(images(pixels)), tuple(part), tuple(model.scores(pixels)))
        made += new.pictures
        scores += new.scores
        meter.sample()
        emit(Step("forge", len(made), len(seeds), new))
        if stopped() and len(made) < len(seeds):
            finish = "stopped"
            break
    total = time.perf_counter() - begun
    emit(
        Done(
            Sampled(tuple(made), tuple(seeds[: len(made)]), tuple(scores)),
            timings={"total": total, "per_picture": total / len(made)},
            figures={
                "pictures": len(made),
                "width": SIDE,
                "height": SIDE,
                "scores": [round(score, 4) for score in scores],
                "peak_memory_bytes": meter.peak,
                "finish": finish,
            },
        )
    )


def _walk(request: WalkGanParams, model: GanModel, stopped: Callable[[], bool], emit: Emit[Any]) -> None:
    import torch

    begun = time.perf_counter()
    meter = MemoryMeter(model.device)
    z = torch.stack([model.z(seed) for seed in seeds_of(request.seeds)])
    w = model.w(z)
    places = _places(request, len(z))
    in_z: list[Image.Image] = []
    in_w: list[Image.Image] = []
    finish = "end"
    for start in range(0, len(places), AT_ONCE):
        part = places[start : start + AT_ONCE]
        through_z = model.w(torch.stack([_point(request, z, torch.zeros(()), *place) for place in part]))
        through_w = torch.stack([_point(request, w, model.mean_w, *place, straight=True) for place in part])
        both = model.truncated(torch.cat([through_z, through_w]), request.truncation)
        made = images(model.pictures(both))
        new = made[: len(part)], made[len(part) :]
        in_z += new[0]
        in_w += new[1]
        meter.sample()
        emit(Step("forge", len(in_z), len(places), new))
        if stopped() and len(in_z) < len(places):
            finish = "stopped"
            break
    total = time.perf_counter() - begun
    emit(
        Done(
            WalkedGan(tuple(in_z), tuple(in_w), changes(in_z), changes(in_w)),
            timings={"total": total},
            figures={
                "frames": len(in_z),
                "width": SIDE,
                "height": SIDE,
                "frames_per_second": len(in_z) / max(1e-9, total),
                "peak_memory_bytes": meter.peak,
                "finish": finish,
            },
        )
    )


def _places(request: WalkGanParams, count: int) -> list[tuple[int, float]]:
    if request.interpolation == CIRCLE:
        return [(0, n / request.frames) for n in range(request.frames)]
    return paths.places(count, request.frames, request.easing, request.loop)


def _point(
    request: WalkGanParams,
    points: torch.Tensor,
    middle: torch.Tensor,
    stretch: int,
    share: float,
    straight: bool = False,
) -> torch.Tensor:
    """A point of the way. A circle goes around `middle` through the first two points, a quarter of it apart (an
    ellipse where their distances or their angle differ). straight: for a space whose points lie on no sphere."""
    if request.interpolation == CIRCLE:
        turn = 2 * math.pi * share
        return middle + math.cos(turn) * (points[0] - middle) + math.sin(turn) * (points[1] - middle)
    path = paths.LINEAR if straight and request.interpolation == paths.SPHERE else request.interpolation
    return paths.point(points, path, stretch, share, request.loop)
