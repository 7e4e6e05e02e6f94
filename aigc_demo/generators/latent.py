"""What lies between pictures: an autoencoder makes latents of them, ways lead from one to the next, and every point
of a way is decoded into a picture again.

    picture -> encoder -> mean, variance -> decoder -> rebuilt picture
    pictures -> means -> a way through them -> decoder -> frames
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from aigc_demo.device import MemoryMeter
from aigc_demo.errors import Invalid
from aigc_demo.generators import paths
from aigc_demo.generators.latent_model import LatentModel
from aigc_demo.generators.latent_pictures import (
    batch_of,
    batches,
    channel_pictures,
    decoded,
    encoded,
    fitted,
    picture_of,
    pictures,
    side_of,
    squared,
    tensor,
)
from aigc_demo.generators.picture_fields import KINDS, check_picture, check_pictures, digest
from aigc_demo.params import Choice, Data, Params, Range, Seed, Switch, Text
from aigc_demo.pictures import changes
from aigc_demo.results import Done, Step
from aigc_demo.words import Words
from aigc_demo.worker import Emit, on_worker

if TYPE_CHECKING:
    from PIL import Image

LARGEST = 2048
WEIGHTS = Path(__file__).parents[2] / "assets" / "weights"
"""Where the models that ship are."""
SPATIAL_MODEL = "emoji-vae"
VECTOR_MODEL = "emoji-morph"
"""What lies between pictures, or is drawn from noise, is worth seeing where the latent is a vector."""
FEWEST, MOST = 2, 6
"""Pictures on a way."""
MOST_FRAMES = 600

_MODEL = Text(
    Words("Model", "模型"),
    Words(
        "An autoencoder of the list, a Hugging Face id such as owner/name, or ./name for a folder under models/.",
        "列表中的自编码器，或 Hugging Face 上的编号（如 owner/name），或 ./name 表示 models/ 下的文件夹。",
    ),
    max_length=200,
    required=True,
)
_SIZE = Range(
    Words("Size", "尺寸"),
    Words(
        "Pixels of the longer side; 0 is the size that the model learnt. A vector autoencoder knows its own size only.",
        "较长一边的像素数；0 表示模型训练时的尺寸。向量自编码器只能使用自己的尺寸。",
    ),
    0,
    LARGEST,
    8,
)
_SEED = Seed(
    Words("Seed", "随机种子"),
    Words("The same seed draws the same numbers. -1 draws one at random.", "相同的种子抽取相同的数。-1 表示随机抽取。"),
)


@dataclass(frozen=True)
class RebuildParams(Params):
    """A picture through an autoencoder and back."""

    image: Annotated[
        Any,
        Data(
            Words("Picture", "图片"),
            Words("What goes through the autoencoder.", "要经过自编码器的图片。"),
            checker=check_picture,
            shape=KINDS,
        ),
    ]
    model: Annotated[str, _MODEL] = SPATIAL_MODEL
    size: Annotated[int, _SIZE] = 0
    spread: Annotated[
        float,
        Range(
            Words("Spread", "散布"),
            Words(
                "How far from its mean the latent is drawn, in the encoder's own standard deviations. 0 decodes the mean; "
                "1 is what the model was trained with; above 3 pictures fall apart.",
                "从均值偏离多远来抽取潜变量，以编码器自己的标准差为单位。0 表示解码均值；1 是训练时的做法；超过 3 画面会散乱。",
            ),
            0,
            10,
            0.1,
        ),
    ] = 0.0
    seed: Annotated[int, _SEED] = 0

    def values(self) -> dict[str, Any]:
        return {**super().values(), "image": digest(self.image)}


@dataclass(frozen=True)
class WalkParams(Params):
    """A way through the latents of several pictures.

    No field is called `path`: gradio takes whatever bears that name for a file.
    """

    images: Annotated[
        Any,
        Data(
            Words("Pictures", "图片"),
            Words("From two to six, in the order of the way.", "2 到 6 张，按经过的顺序。"),
            checker=partial(check_pictures, fewest=FEWEST, most=MOST),
            shape=f"{FEWEST}–{MOST} × {KINDS}",
        ),
    ]
    model: Annotated[str, _MODEL] = VECTOR_MODEL
    interpolation: Annotated[
        str,
        Choice(
            Words("Way", "路径"),
            Words(
                "The straight line, the great circle, which keeps the length that latents usually have, or a curve "
                "without corners.",
                "直线；大圆弧，能保持潜变量通常的长度；或没有拐角的曲线。",
            ),
            paths.PATHS,
        ),
    ] = paths.LINEAR
    frames: Annotated[
        int,
        Range(
            Words("Frames", "帧数"),
            Words("Pictures of the whole way, both ends included.", "整条路径的图片数，包括两端。"),
            2,
            MOST_FRAMES,
            1,
        ),
    ] = 24
    easing: Annotated[
        str,
        Choice(
            Words("Pace", "节奏"),
            Words("How the way is divided into frames.", "路径如何分成各帧。"),
            {name: words for name, (words, _) in paths.EASINGS.items()},
        ),
    ] = "even"
    loop: Annotated[
        bool,
        Switch(
            Words("Loop", "循环"),
            Words("From the last picture back to the first.", "从最后一张图片回到第一张。"),
        ),
    ] = False
    size: Annotated[int, _SIZE] = 0

    def values(self) -> dict[str, Any]:
        return {**super().values(), "images": [digest(one) for one in self.images]}


@dataclass(frozen=True)
class PriorParams(Params):
    """Pictures of latents that no picture was encoded into."""

    model: Annotated[str, _MODEL] = VECTOR_MODEL
    temperature: Annotated[
        float,
        Range(
            Words("Temperature", "温度"),
            Words(
                "Standard deviation of the draw. 1 is the prior that the model was trained towards, 0 its middle.",
                "抽取的标准差。1 是训练所趋向的先验分布，0 是它的中心。",
            ),
            0,
            3,
            0.05,
        ),
    ] = 1.0
    num_images: Annotated[
        int,
        Range(
            Words("Pictures", "图片数量"), Words("Picture n uses the seed plus n.", "第 n 张使用种子加 n。"), 1, 64, 1
        ),
    ] = 8
    size: Annotated[int, _SIZE] = 0
    seed: Annotated[int, _SEED] = 0


@dataclass(frozen=True)
class Rebuilt:
    """original: as the encoder saw it. difference: of the two, of 255, absolute. mean, deviation: a picture of every
    channel of the latent, or of all of a vector; deviation is None for a plain autoencoder."""

    original: Image.Image
    rebuilt: Image.Image
    difference: Image.Image
    mean: tuple[Image.Image, ...]
    deviation: tuple[Image.Image, ...] | None


@dataclass(frozen=True)
class Walked:
    """frames: decoded. crossfade: the same way through the pixels. ends: index of the frame of each picture given;
    changes, crossfade_changes: mean absolute difference of every frame to the one before, of 255."""

    frames: tuple[Image.Image, ...]
    crossfade: tuple[Image.Image, ...]
    changes: tuple[float, ...]
    crossfade_changes: tuple[float, ...]
    finish: str = "end"


def rebuild(
    request: RebuildParams, model: LatentModel, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Step[Any] | Done[Rebuilt]]:
    """A Step of stage "encode", one of stage "decode", then Done."""
    return on_worker(lambda emit: _rebuild(request, model, emit), name="rebuild")


def walk(
    request: WalkParams, model: LatentModel, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Step[tuple[Image.Image, ...]] | Done[Walked]]:
    """Steps of stage "frames" with the frames that are new, then Done. stopped: asked after every batch of frames."""
    return on_worker(lambda emit: _walk(request, model, stopped, emit), name="walk")


def draw_prior(
    request: PriorParams, model: LatentModel, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Step[tuple[Image.Image, ...]] | Done[tuple[Image.Image, ...]]]:
    """Steps of stage "frames" with the pictures that are new, then Done with all of them."""
    return on_worker(lambda emit: _draw_prior(request, model, stopped, emit), name="prior")


def _rebuild(request: RebuildParams, model: LatentModel, emit: Emit[Any]) -> None:
    import torch
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    begun = time.perf_counter()
    meter = MemoryMeter(model.device)
    if request.image is None:
        raise Invalid(
            Words("There is no picture yet: give one, or take a sample.", "还没有图片：请提供一张，或选用样例。")
        )
    original = fitted(request.image, model, request.size)
    given = tensor([original])
    with torch.no_grad():
        mean, log_variance = model.encode(given)
        emit(Step("encode", 1, 1))
        between = time.perf_counter()
        deviation = None if log_variance is None else (log_variance / 2).exp()
        latent = mean
        if request.spread and deviation is not None:
            noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(max(request.seed, 0)))
            latent = mean + request.spread * deviation * noise
        made = model.decode(latent)
        meter.sample()
    emit(Step("decode", 1, 1))
    ended = time.perf_counter()
    rebuilt = pictures(made)[0]
    seen, real = tensor([rebuilt]).add(1) / 2, given.add(1) / 2  # as they are shown, in whole numbers of 255
    gap = np.abs(np.asarray(original, np.int16) - np.asarray(rebuilt, np.int16)).astype(np.uint8)
    numbers = mean[0].numel()
    emit(
        Done(
            Rebuilt(
                original,
                rebuilt,
                picture_of(gap),
                channel_pictures(mean[0]),
                None if deviation is None else channel_pictures(deviation[0]),
            ),
            timings={"total": ended - begun, "encode": between - begun, "decode": ended - between},
            figures={
                "psnr": None if not gap.any() else float(peak_signal_noise_ratio(seen, real, data_range=1.0)),
                "ssim": float(structural_similarity_index_measure(seen, real, data_range=1.0))  # type: ignore[arg-type] # a tensor, unless asked for more
                if min(original.size) > 10
                else None,
                "width": original.width,
                "height": original.height,
                "latent_shape": list(mean.shape[1:]),
                "numbers_share": numbers / (3 * original.width * original.height),
                "mean_deviation": None if deviation is None else float(deviation.mean()),
                "peak_memory_bytes": meter.peak,
            },
        )
    )


def _walk(request: WalkParams, model: LatentModel, stopped: Callable[[], bool], emit: Emit[Any]) -> None:
    import torch

    begun = time.perf_counter()
    meter = MemoryMeter(model.device)
    given = [squared(one, model, request.size) for one in request.images]
    points = torch.cat([encoded(model, part) for part in batches(given, batch_of(model, given[0].size))])
    between = time.perf_counter()
    places = paths.places(len(given), request.frames, request.easing, request.loop)
    ends = tensor(given)
    frames: list[Image.Image] = []
    crossfade: list[Image.Image] = []
    finish = "end"
    for part in batches(places, batch_of(model, given[0].size)):
        z = torch.stack([paths.point(points, request.interpolation, *place, request.loop) for place in part])
        made = decoded(model, z)
        meter.sample()
        frames += made
        # pixels have no sphere that pictures lie on: their way is straight, or as curved as the latents'
        through = paths.SPLINE if request.interpolation == paths.SPLINE else paths.LINEAR
        crossfade += pictures(torch.stack([paths.point(ends, through, *place, request.loop) for place in part]))
        emit(Step("frames", len(frames), len(places), tuple(made)))
        if stopped() and len(frames) < len(places):
            finish = "stopped"
            break
    ended = time.perf_counter()
    emit(
        Done(
            Walked(tuple(frames), tuple(crossfade), changes(frames), changes(crossfade), finish),
            timings={"total": ended - begun, "encode": between - begun, "decode": ended - between},
            figures={
                "frames": len(frames),
                "width": given[0].width,
                "height": given[0].height,
                "latent_shape": list(points.shape[1:]),
                "frames_per_second": len(frames) / max(1e-9, ended - between),
                "peak_memory_bytes": meter.peak,
                "finish": finish,
            },
        )
    )


def _draw_prior(request: PriorParams, model: LatentModel, stopped: Callable[[], bool], emit: Emit[Any]) -> None:
    import torch

    begun = time.perf_counter()
    side = side_of(model, request.size)
    shape = model.latent_shape(side, side)
    made: list[Image.Image] = []
    finish = "end"
    for part in batches(range(request.num_images), batch_of(model, (side, side))):
        noise = [torch.randn(shape, generator=torch.Generator().manual_seed(max(request.seed, 0) + n)) for n in part]
        new = decoded(model, torch.stack(noise) * request.temperature)
        made += new
        emit(Step("frames", len(made), request.num_images, tuple(new)))
        if stopped() and len(made) < request.num_images:
            finish = "stopped"
            break
    total = time.perf_counter() - begun
    emit(
        Done(
            tuple(made),
            timings={"total": total},
            figures={"pictures": len(made), "latent_shape": list(shape), "finish": finish},
        )
    )
