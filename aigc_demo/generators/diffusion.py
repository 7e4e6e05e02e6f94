"""Pictures by diffusion: noise, then one denoising step at a time towards what the words say.

    words -> embeddings;  noise -> [denoiser -> guidance -> scheduler step]* -> decoder -> picture

The loop is diffusers' own `pipeline.__call__`, so the pixels are those of the bare call. What happens inside
is looked at from three places: the callback after each step, the scheduler's `step`, and the denoiser's output.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from aigc_demo.device import MemoryMeter
from aigc_demo.errors import Invalid, Stopped
from aigc_demo.generators import diffusion_noise
from aigc_demo.generators.diffusion_memory import at_once, decode_frugally
from aigc_demo.generators.diffusion_model import TEXT, ImageModel, unread
from aigc_demo.generators.diffusion_params import LARGEST, ImageParams
from aigc_demo.generators.diffusion_watch import Frame, Watch
from aigc_demo.generators.prompt_embeds import tell
from aigc_demo.generators.prompt_weights import plain
from aigc_demo.generators.styles import styled
from aigc_demo.params import SEED_LIMIT
from aigc_demo.results import Done, Step
from aigc_demo.words import Words
from aigc_demo.worker import Emit, on_worker

if TYPE_CHECKING:
    from PIL import Image

UNREAD_TOLD = 500
"""Characters of what fell off a prompt that a recipe holds."""


@dataclass(frozen=True)
class Picture:
    """One finished picture and the seed that makes it alone."""

    image: Image.Image
    seed: int


@dataclass(frozen=True)
class ImageResult:
    """pictures: in the order of their seeds. finish: "end"; "stopped", where the last are previews of what was
    there; or "between", where the run was ended after a whole picture."""

    pictures: tuple[Picture, ...]
    finish: str = "end"
    width: int = 0
    height: int = 0


class Halt(Exception):
    """Raised at a step's end by a person's Stop."""


def generate(
    request: ImageParams, model: ImageModel, stopped: Callable[[], bool] = lambda: False, *, previews: bool = True
) -> Iterator[Step[Frame] | Done[ImageResult]]:
    """Steps of stage "denoise" (index over all pictures), of stage "decode" when the last is done, then Done.

    request: with its seed drawn (`resolved()`); -1 counts as 0. stopped: asked after every step; what is there then
    is kept as a preview. Its `between`, where it has one (`worker.Stop`), is asked between pictures. previews: whether
    the steps hold a look inside. Raises `Invalid` where model and request do not go together.
    """

    def draw(emit: Emit[Any]) -> None:
        with model.running(request.task, request.scheduler, lambda: emit(Step("wait", 0, None))) as pipeline:
            _draw(request, model, pipeline, stopped, previews, emit)

    return on_worker(draw, name="denoise")


def _draw(
    request: ImageParams,
    model: ImageModel,
    pipeline: Any,
    stopped: Callable[[], bool],
    previews: bool,
    emit: Emit[Any],
) -> None:
    import torch

    begun = time.perf_counter()
    meter = MemoryMeter(model.device)
    width, height = size(request, model)
    if request.image is not None and int(request.num_inference_steps * request.strength) < 1:
        raise Invalid(
            Words(
                "Of {steps} steps a strength of {strength:g} leaves none. Raise one of them.",
                "{steps} 步乘以重绘幅度 {strength:g} 后一步不剩。请提高其中之一。",
            ).format(steps=request.num_inference_steps, strength=request.strength)
        )
    takes = model.takes(request.task)
    seeds = [(max(request.seed, 0) + n) % SEED_LIMIT for n in range(request.num_images)]
    together = at_once(model.device, width, height)
    decoded = decode_frugally(pipeline, model.device, width, height, min(together, len(seeds)))
    words = styled(request.prompt, request.style)
    guidance = request.guidance_scale if model.guided else 0.0
    told = tell(model.encoded, pipeline, words, request.negative_prompt, guidance)
    watch = Watch(pipeline, model, width, height)
    pictures: list[Picture] = []
    marks: list[float] = []
    finish = "end"
    between: Callable[[], bool] = getattr(stopped, "between", stopped)
    rounds = [seeds[n : n + together] for n in range(0, len(seeds), together)]

    def after_step(pipe: Any, index: int, _time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        count = getattr(pipe, "num_timesteps", None) or request.num_inference_steps
        marks.append(time.perf_counter())
        meter.sample()
        done = len(pictures) // together if together else 0
        seen = watch.frame(tensors.get("latents")) if previews else None
        emit(Step("denoise", done * count + index + 1, len(rounds) * count, seen))
        if stopped():
            raise Halt
        return {}

    for part in rounds:
        arguments = arguments_of(request, takes, width, height, part, model.guided) | told.arguments(len(part))
        if request.variation_strength and request.task == TEXT:
            shift = max(request.variation_seed, 0) - max(request.seed, 0)
            pairs = [(seed, (seed + shift) % SEED_LIMIT) for seed in part]
            arguments["latents"] = diffusion_noise.varied(pipeline, pairs, request.variation_strength, width, height)
        if "callback_on_step_end" in takes:
            arguments["callback_on_step_end"] = after_step
        else:
            emit(Step("denoise", 0, None))  # it cannot be looked into; say at least what is being done
        try:
            with watch if previews else nullcontext(), torch.no_grad():
                made = pipeline(**arguments).images
        except Halt:
            finish = "stopped"
            pictures += [Picture(image, seed) for image, seed in zip(watch.previews(), part, strict=False)]
            break
        pictures += [Picture(image, seed) for image, seed in zip(made, part, strict=True)]
        if between() and len(pictures) < len(seeds):
            finish = "between"
            break
    if not pictures:
        raise Stopped(Words("Stopped before there was anything to see.", "在看到任何结果之前已停止。"))
    ended = time.perf_counter()
    with model.encoded.lock:
        rest = unread(pipeline, plain(words))
    seen = []
    if model.witness and words.strip():
        seen = model.witness.judge([one.image for one in pictures], plain(words))
    steps = [after - before for before, after in itertools.pairwise(marks)]
    emit(
        Done(
            ImageResult(tuple(pictures), finish, width, height),
            timings={
                "total": ended - begun,
                "first_step": (marks[0] if marks else ended) - begun,
                "per_step": sorted(steps)[len(steps) // 2] if steps else 0.0,
                "decode": ended - (marks[-1] if marks else begun),
            },
            figures={
                "steps": len(marks),
                "pictures": len(pictures),
                "width": width,
                "height": height,
                "peak_memory_bytes": meter.peak,
                "finish": finish,
                "pipeline": type(pipeline).__name__,
                **model.means(decoded),
                "unread": rest[:UNREAD_TOLD],
                **({"weights": told.weights} if told.weights else {}),
                **({"seen": [asdict(verdict) for verdict in seen]} if seen else {}),
            },
        )
    )


def size(request: ImageParams, model: ImageModel) -> tuple[int, int]:
    """(width, height) of the request's pictures. Raises `Invalid` for sides that the model cannot halve as it must."""
    if request.image is not None and not (request.width and request.height):
        # the picture's own shape, with about as many pixels as the model learnt
        wide, high = request.image.size
        scale = model.side / (wide * high) ** 0.5
        sides = (request.width or wide * scale, request.height or high * scale)
        fitted = [int(max(1, round(s / model.multiple)) * model.multiple) for s in sides]
        return min(fitted[0], LARGEST), min(fitted[1], LARGEST)
    width, height = request.width or model.side, request.height or model.side
    for name, side in (("width", width), ("height", height)):
        if side % model.multiple or side < model.multiple:
            low = max(1, side // model.multiple) * model.multiple
            raise Invalid(
                Words(
                    "The {name} of {side} px is not a multiple of {multiple}, which this model needs. Near it lie {low} "
                    "and {high}.",
                    "{name}为 {side} 像素，不是该模型所需的 {multiple} 的倍数。附近的有 {low} 和 {high}。",
                ).format(
                    name=ImageParams.markers()[name][1].label,
                    side=side,
                    multiple=model.multiple,
                    low=low,
                    high=low + model.multiple,
                )
            )
    return width, height


def arguments_of(
    request: ImageParams, takes: frozenset[str], width: int, height: int, seeds: list[int], guided: bool
) -> dict[str, Any]:
    """What the pipeline is called with; each picture has a generator of its own, on the CPU."""
    import torch

    from aigc_demo.pictures import fit, mask

    n, negative = len(seeds), plain(request.negative_prompt)
    offered: dict[str, Any] = {
        "prompt": [plain(styled(request.prompt, request.style))] * n,
        "negative_prompt": [negative] * n if negative else None,
        "num_inference_steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale if guided else 0.0,
        "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        "width": width,
        "height": height,
        "output_type": "pil",
    }
    if request.num_inference_steps != 2:  # SANA-Sprint has a step of its own in between for two, and for two only
        offered["intermediate_timesteps"] = None
    if request.image is not None:
        offered |= {"image": [fit(request.image, width, height)] * n, "strength": request.strength}
    if request.mask is not None:
        offered["mask_image"] = [mask(request.mask, (width, height))] * n
    return {name: value for name, value in offered.items() if name in takes}
