"""Travel: a walk from prompt to prompt through the words' embeddings, or around a seed through noise.

Every frame is a whole picture of its own, made by the same pipeline call as any other; only its words or its
noise lie between those of its neighbours.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from aigc_demo.device import MemoryMeter
from aigc_demo.errors import Invalid, Stopped
from aigc_demo.generators import diffusion_noise, paths
from aigc_demo.generators.diffusion import Halt, arguments_of, size
from aigc_demo.generators.diffusion_memory import at_once, decode_frugally
from aigc_demo.generators.diffusion_model import TEXT, ImageModel
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.generators.prompt_embeds import Embeddings, tell
from aigc_demo.generators.styles import styled
from aigc_demo.params import Choice, Range, Switch
from aigc_demo.pictures import changes
from aigc_demo.results import Done, Step
from aigc_demo.words import Words
from aigc_demo.worker import Emit, on_worker

if TYPE_CHECKING:
    import torch
    from PIL import Image

PROMPTS, CIRCLE = "prompts", "circle"
MOST_PROMPTS = 8


@dataclass(frozen=True)
class TravelParams(ImageParams):
    """A request for frames: what a picture is asked for with, one prompt a line, and the way between them."""

    route: Annotated[
        str,
        Choice(
            Words("Route", "路线"),
            Words(
                "From prompt to prompt, one a line, with one noise; or with one prompt once around the seed and back.",
                "从一个提示词到下一个（每行一个），噪声不变；或用同一提示词绕种子一圈再回来。",
            ),
            {
                PROMPTS: Words("Between prompts", "在提示词之间"),
                CIRCLE: Words("Around the seed", "绕种子一圈"),
            },
        ),
    ] = PROMPTS
    frames: Annotated[
        int,
        Range(Words("Frames", "帧数"), Words("Pictures of the whole way.", "整条路线的图片数。"), 2, 120, 1),
    ] = 12
    loop: Annotated[
        bool,
        Switch(
            Words("Loop", "循环"),
            Words(
                "From the last prompt back to the first. A circle closes anyway.",
                "从最后一个提示词回到第一个。绕圈本来就是闭合的。",
            ),
        ),
    ] = False

    @property
    def varies(self) -> bool:
        return self.route == CIRCLE

    @property
    def prompts(self) -> list[str]:
        """Each line in the words of the style; on a circle all of it is one."""
        if self.route == CIRCLE:
            return [styled(self.prompt, self.style)]
        return [styled(line.strip(), self.style) for line in self.prompt.splitlines() if line.strip()]


@dataclass(frozen=True)
class Travelled:
    """frames: in order. changes: mean absolute difference of every frame to the one before, of 255."""

    frames: tuple[Image.Image, ...]
    changes: tuple[float, ...]
    finish: str = "end"


def travel(
    request: TravelParams, model: ImageModel, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Step[tuple[Image.Image, ...]] | Done[Travelled]]:
    """Steps of stage "denoise", those of stage "frames" with the frames that are new, then Done.

    request: with its seeds drawn; its picture, mask and number of pictures count for nothing. stopped: asked after
    every step; whole frames are kept. Raises `Invalid` where the model's words or noise cannot be looked into.
    """

    def go(emit: Emit[Any]) -> None:
        with model.running(TEXT, request.scheduler, lambda: emit(Step("wait", 0, None))) as pipeline:
            _travel(request, model, pipeline, stopped, emit)

    return on_worker(go, name="travel")


def _travel(
    request: TravelParams, model: ImageModel, pipeline: Any, stopped: Callable[[], bool], emit: Emit[Any]
) -> None:
    import torch

    begun = time.perf_counter()
    meter = MemoryMeter(model.device)
    width, height = size(request, model)
    takes = model.takes(TEXT)
    _check(request, pipeline)
    steps_made = 0

    def after_step(_pipe: Any, _index: int, _time: Any, _tensors: dict[str, Any]) -> dict[str, Any]:
        nonlocal steps_made
        steps_made += 1
        meter.sample()
        emit(Step("denoise", steps_made, steps_made + left(len(frames))))
        if stopped():
            raise Halt
        return {}

    together = at_once(model.device, width, height)
    decoded = decode_frugally(pipeline, model.device, width, height, min(together, request.frames))

    def left(done: int) -> int:
        """Steps that are still to be made, those of the batch in hand included."""
        rounds = math.ceil((request.frames - done) / together)
        return max(0, rounds * request.num_inference_steps - steps_made % request.num_inference_steps)

    frames: list[Image.Image] = []
    finish = "end"
    seed = max(request.seed, 0)
    with torch.no_grad():
        guidance = request.guidance_scale if model.guided else 0.0
        told = [tell(model.encoded, pipeline, prompt, request.negative_prompt, guidance) for prompt in request.prompts]
        words = [each.embeddings for each in told if each.embeddings is not None]
        numbers = iter(range(request.frames))
        while part := list(itertools.islice(numbers, together)):
            arguments = arguments_of(request, takes, width, height, [seed] * len(part), model.guided)
            arguments = {name: value for name, value in arguments.items() if not name.endswith("prompt")}
            arguments |= _between(words, part, request)
            if request.route == CIRCLE:
                arguments["latents"] = _around(pipeline, part, request, width, height)
            try:
                made = pipeline(**arguments, callback_on_step_end=after_step).images
            except Halt:
                finish = "stopped"
                break
            frames += made
            emit(Step("frames", len(frames), request.frames, tuple(made)))
    if not frames:
        raise Stopped(Words("Stopped before the first frame was there.", "在第一帧完成之前已停止。"))
    total = time.perf_counter() - begun
    emit(
        Done(
            Travelled(tuple(frames), changes(frames), finish),
            timings={"total": total},
            figures={
                "frames": len(frames),
                "width": width,
                "height": height,
                "frames_per_second": len(frames) / total,
                "peak_memory_bytes": meter.peak,
                **model.means(decoded),
                "finish": finish,
                **next(({"weights": each.weights} for each in told if each.weights), {}),
            },
        )
    )


def _check(request: TravelParams, pipeline: Any) -> None:
    if not diffusion_noise.known(pipeline):
        raise Invalid(
            Words(
                "This model cannot travel: how it takes its words and draws its noise is not known here.",
                "该模型无法漫游：本应用不了解它如何读取文字和抽取噪声。",
            )
        )
    if request.route == PROMPTS and not 2 <= len(request.prompts) <= MOST_PROMPTS:
        raise Invalid(
            Words(
                "A way needs from 2 to {most} prompts, one a line; here are {n}.",
                "漫游需要 2 到 {most} 个提示词，每行一个；这里有 {n} 个。",
            ).format(most=MOST_PROMPTS, n=len(request.prompts))
        )


def _between(words: list[Embeddings], part: list[int], request: TravelParams) -> dict[str, torch.Tensor]:
    """The embeddings of some frames, by the names under which the pipeline takes them."""
    import torch

    if len(words) == 1:
        places = [(0, 0.0)] * len(part)
        words = words * 2
    else:
        every = paths.places(len(words), request.frames, "even", request.loop)
        places = [every[n] for n in part]
    found = {}
    for name in words[0]:
        ends = [made for each in words if (made := each[name]) is not None]
        if ends:
            points = torch.cat(ends).cpu()
            route = [paths.point(points, paths.SPHERE, *place, request.loop) for place in places]
            found[name] = torch.stack(route).to(ends[0].device)
    return found


def _around(pipeline: Any, part: list[int], request: TravelParams, width: int, height: int) -> torch.Tensor:
    """The noise of some frames: cos(t) a + sin(t) b keeps the length that noise has, once around."""
    import torch

    a, b = (
        diffusion_noise.noise(pipeline, max(seed, 0), width, height).double()
        for seed in (request.seed, request.variation_seed)
    )
    turns = [2 * math.pi * n / request.frames for n in part]
    found = torch.cat([math.cos(turn) * a + math.sin(turn) * b for turn in turns])
    return found.to(pipeline.unet.dtype if hasattr(pipeline, "unet") else pipeline.transformer.dtype).to(
        pipeline._execution_device
    )
