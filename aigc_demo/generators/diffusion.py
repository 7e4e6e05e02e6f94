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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from aigc_demo.device import MemoryMeter
from aigc_demo.errors import Invalid, Stopped
from aigc_demo.generators import schedulers
from aigc_demo.generators.diffusion_model import IMAGE, MASK, TEXT, ImageModel, unread
from aigc_demo.generators.diffusion_watch import Frame, Watch
from aigc_demo.generators.picture_fields import check_mask, check_picture, digest
from aigc_demo.generators.styles import NONE, STYLES, styled
from aigc_demo.params import SEED_LIMIT, Choice, Data, Params, Range, Seed, Text
from aigc_demo.results import Done, Step
from aigc_demo.words import Words
from aigc_demo.worker import Emit, on_worker

if TYPE_CHECKING:
    from PIL import Image

LARGEST = 2048
SHIPPED = Path(__file__).parents[2] / "assets" / "weights" / "emoji-diffusion"
DEFAULT_MODEL = "emoji-diffusion" if (SHIPPED / "model_index.json").exists() else "sd-turbo"
UNREAD_TOLD = 500
"""Characters of what fell off a prompt that a recipe holds."""
AT_ONCE = {"cpu": 512 * 512, "mps": 512 * 512, "cuda": 4 * 1024 * 1024}
"""Pixels of the pictures that go through the denoiser together; more go in turns."""


def _side(en: str, zh: str) -> Range:
    return Range(
        Words(en, zh),
        Words(
            "In pixels; 0 is the size that the model learnt. Far from it, pictures repeat themselves or fall apart.",
            "单位为像素；0 表示模型训练时的尺寸。偏离太多时，画面会重复或散乱。",
        ),
        0,
        LARGEST,
        8,
    )


@dataclass(frozen=True)
class ImageParams(Params):
    """A request for pictures: from words alone, or from words and a picture, which a mask may limit."""

    prompt: Annotated[
        str,
        Text(
            Words("Prompt", "提示词"),
            Words(
                "What the picture shows. Left empty, the model paints what it likes.",
                "图片的内容。留空时由模型自由发挥。",
            ),
            max_length=20_000,
            lines=2,
        ),
    ] = ""
    negative_prompt: Annotated[
        str,
        Text(
            Words("Negative prompt", "负面提示词"),
            Words(
                "What the guidance leads away from. Works only with guidance above 1.",
                "引导所要远离的内容。仅在引导强度大于 1 时起作用。",
            ),
            max_length=20_000,
        ),
    ] = ""
    style: Annotated[
        str,
        Choice(
            Words("Style", "风格"),
            Words(
                "Words that are laid around the prompt. A model knows only the styles that it learnt.",
                "附加在提示词前后的词语。模型只懂得它学过的风格。",
            ),
            {name: row.name for name, row in STYLES.items()},
        ),
    ] = NONE
    model: Annotated[
        str,
        Text(
            Words("Model", "模型"),
            Words(
                "A model of the list, a Hugging Face id such as owner/name, or ./name for a folder under models/.",
                "列表中的模型，或 Hugging Face 上的编号（如 owner/name），或 ./name 表示 models/ 下的文件夹。",
            ),
            max_length=200,
            required=True,
        ),
    ] = DEFAULT_MODEL
    num_inference_steps: Annotated[
        int,
        Range(
            Words("Steps", "步数"),
            Words(
                "Denoising steps. Typical 20 to 30; distilled models need 1 to 8. Too few leave blobs and noise, more than "
                "50 only cost time.",
                "去噪步数。常用 20 到 30；蒸馏模型只需 1 到 8。太少会留下色块和噪点，超过 50 只是浪费时间。",
            ),
            1,
            150,
            1,
        ),
    ] = 20
    guidance_scale: Annotated[
        float,
        Range(
            Words("Guidance", "引导强度"),
            Words(
                "How far each step is pushed from the unconditional prediction past the conditional one. Typical 3 to 8; 1 "
                "is off. Low wanders from the words, high burns the colours.",
                "每一步从无条件预测向有条件预测推多远。常用 3 到 8；1 表示关闭。过低会偏离文字，过高颜色会过饱和。",
            ),
            1,
            20,
            0.5,
        ),
    ] = 4.0
    scheduler: Annotated[
        str,
        Choice(
            Words("Sampler", "采样器"),
            Words(
                "How a step is made from the prediction. Euler a adds fresh noise at every step; the others of 20 steps "
                "come out much alike.",
                "如何由预测走出一步。Euler a 每步会加入新噪声；其余的在 20 步时结果相近。",
            ),
            {name: row.name for name, row in schedulers.SCHEDULERS.items()},
        ),
    ] = schedulers.OWN
    width: Annotated[int, _side("Width", "宽度")] = 0
    height: Annotated[int, _side("Height", "高度")] = 0
    num_images: Annotated[
        int,
        Range(
            Words("Pictures", "图片数量"),
            Words(
                "Picture n uses the seed plus n, and is the same alone as among others.",
                "第 n 张使用种子加 n；单独生成与一起生成结果相同。",
            ),
            1,
            16,
            1,
        ),
    ] = 1
    seed: Annotated[
        int,
        Seed(
            Words("Seed", "随机种子"),
            Words(
                "The same seed, settings and model give the same picture on the same machine. -1 draws one at random.",
                "在同一台机器上，相同的种子、设置和模型会生成相同的图片。-1 表示随机抽取。",
            ),
        ),
    ] = -1
    image: Annotated[
        Any,
        Data(
            Words("Picture", "图片"),
            Words("A picture to start from instead of pure noise.", "以此图片代替纯噪声作为起点。"),
            checker=check_picture,
            shape="PNG, JPEG, WebP, GIF, BMP, TIFF",
        ),
    ] = None
    mask: Annotated[
        Any,
        Data(
            Words("Mask", "蒙版"),
            Words("White where the picture is to be painted anew.", "白色部分会被重新绘制。"),
            checker=check_mask,
            shape="PNG, JPEG, WebP, GIF, BMP, TIFF",
        ),
    ] = None
    strength: Annotated[
        float,
        Range(
            Words("Strength", "重绘幅度"),
            Words(
                "How much noise the given picture gets before the steps begin. Typical 0.4 to 0.8; low keeps it nearly "
                "as it is, 1 forgets it.",
                "在开始去噪前给图片加入多少噪声。常用 0.4 到 0.8；过低几乎不变，为 1 时会忘掉原图。",
            ),
            0.05,
            1,
            0.05,
        ),
    ] = 0.6

    @property
    def task(self) -> str:
        return TEXT if self.image is None else IMAGE if self.mask is None else MASK

    def values(self) -> dict[str, Any]:
        """As JSON can hold them: a picture stands there by its digest."""
        return {**super().values(), "image": digest(self.image), "mask": digest(self.mask)}


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


class _Halt(Exception):
    """Raised at a step's end by a person's Stop."""


def generate(
    request: ImageParams, model: ImageModel, stopped: Callable[[], bool] = lambda: False, *, previews: bool = True
) -> Iterator[Step[Frame] | Done[ImageResult]]:
    """Steps of stage "denoise" (index over all pictures), of stage "decode" when the last is done, then Done.

    request: with its seed drawn (`resolved()`); -1 counts as 0. stopped: asked after every step; what is there then
    is kept as a preview. Its `between`, where it has one (`worker.Stop`), is asked between pictures. previews: whether
    the steps hold a look inside. Raises `Invalid` where model and request do not go together.
    """
    return on_worker(lambda emit: _draw(request, model, stopped, previews, emit), name="denoise")


def _draw(
    request: ImageParams, model: ImageModel, stopped: Callable[[], bool], previews: bool, emit: Emit[Any]
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
    pipeline = model.run(request.task, request.scheduler)
    takes = model.takes(request.task)
    seeds = [(max(request.seed, 0) + n) % SEED_LIMIT for n in range(request.num_images)]
    together = max(1, AT_ONCE[model.device.kind] // (width * height))
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
            raise _Halt
        return {}

    for part in rounds:
        arguments = _arguments(request, takes, width, height, part, model.guided)
        if "callback_on_step_end" in takes:
            arguments["callback_on_step_end"] = after_step
        else:
            emit(Step("denoise", 0, None))  # it cannot be looked into; say at least what is being done
        try:
            with watch if previews else nullcontext(), torch.no_grad():
                made = pipeline(**arguments).images
        except _Halt:
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
                "unread": unread(pipeline, styled(request.prompt, request.style))[:UNREAD_TOLD],
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


def _arguments(
    request: ImageParams, takes: frozenset[str], width: int, height: int, seeds: list[int], guided: bool
) -> dict[str, Any]:
    """What the pipeline is called with; each picture has a generator of its own, on the CPU."""
    import torch

    from aigc_demo.pictures import fit, mask

    n = len(seeds)
    offered: dict[str, Any] = {
        "prompt": [styled(request.prompt, request.style)] * n,
        "negative_prompt": [request.negative_prompt] * n if request.negative_prompt else None,
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
