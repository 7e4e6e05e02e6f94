"""The diffusion models that the list offers, as data, and the family that the engine runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aigc_demo.device import Device
from aigc_demo.engine import Family
from aigc_demo.generators.diffusion import generate
from aigc_demo.generators.diffusion_memory import in_turns, room
from aigc_demo.generators.diffusion_model import ImageModel, load
from aigc_demo.generators.diffusion_params import SHIPPED, ImageParams
from aigc_demo.generators.diffusion_travel import TravelParams, travel
from aigc_demo.generators.schedulers import OWN, SCHEDULERS, suiting
from aigc_demo.models import ModelSpec, Way
from aigc_demo.params import Params
from aigc_demo.weights import Source
from aigc_demo.words import Words

WANTED = ("*/*.safetensors", "*.json", "*.txt", "*.model")
"""Weights of the parts alone: single files of everything lie beside them for other programs."""
HALF = ("*/*.fp16.safetensors", "*.json", "*.txt", "*.model")
WHOLE = ("onnx/*", "openvino/*", "*.fp16.*", "*.non_ema.*", "*/*onnx*", "vae_1_0/*", "safety_checker/*", "*flax*")
EXTRAS = ("vae_1_0/*", "safety_checker/*", "*/*onnx*")

EMOJI = Words(
    "Draws emoji faces in four styles, and nothing else; which ones stands under the prompt. Reads English and Chinese. "
    "Trained on two processor cores: an independent judge recognises nine of ten pictures, and three of four where "
    "a colour is asked for.",
    "只会画四种风格的表情面孔，其他一概不会；会画哪些，列在提示词下方。懂中文和英语。在两个处理器核心上训练："
    "独立的评判模型能认出十幅中的九幅，要求颜色时为四幅中的三幅。",
)
TURBO = Words(
    "One to four steps; guidance and negative prompt have no effect. Reads English. Licence: read it before commercial "
    "use. Nothing filters its pictures.",
    "只需 1 到 4 步；引导强度和负面提示词不起作用。懂英语。商用前请先阅读许可证。图片未经任何过滤。",
)
RESEARCH = Words(
    "One to four steps; guidance and negative prompt have no effect. Reads English. For research only. Nothing filters "
    "its pictures.",
    "只需 1 到 4 步；引导强度和负面提示词不起作用。懂英语。仅供研究。图片未经任何过滤。",
)
CLASSIC = Words(
    "Reads English. The classic: many steps, guidance and negative prompt count. Nothing filters its pictures.",
    "懂英语。经典模型：步数多，引导强度和负面提示词都有效。图片未经任何过滤。",
)
SPRINT = Words(
    "Two steps; reads English and Chinese; no negative prompt. Its licence is not for commercial use.",
    "只需 2 步；懂英语和中文；没有负面提示词。其许可证不允许商用。",
)
SCHNELL = Words(
    "Four steps; guidance and negative prompt have no effect. Reads English. The hub asks for a login (HF_TOKEN).",
    "只需 4 步；引导强度和负面提示词不起作用。懂英语。下载需要登录（HF_TOKEN）。",
)
Z_IMAGE = Words(
    "Eight steps; guidance and negative prompt have no effect. Reads English and Chinese.",
    "8 步；引导强度和负面提示词不起作用。懂英语和中文。",
)
UNKNOWN = Words(
    "Not of this app's list: its licence, manners and settings are its makers' business. Nothing filters its pictures.",
    "不在本应用的列表中：其许可证、表现和设置由其作者负责。图片未经任何过滤。",
)
UNKNOWN_DEFAULTS = {"num_inference_steps": 20, "guidance_scale": 4.0, "scheduler": OWN}
"""For a model of which nothing is known: nobody should keep the two steps of a distilled one."""
UNKNOWN_SIDE = 1024


@dataclass(frozen=True)
class ImageSpec(ModelSpec):
    """A diffusion model's row. side: pixels of its pictures. guided: whether guidance and negative prompt do anything.
    samplers: those that suit it. emoji: it knows the four emoji styles, and no other. varies: whether its noise can be
    moved towards another seed's, as far as can be told before it is loaded."""

    side: int | None = None
    guided: bool = True
    samplers: tuple[str, ...] = tuple(SCHEDULERS)
    emoji: bool = False
    varies: bool = True


def _fast(steps: int, scheduler: str = "default") -> dict[str, object]:
    return {"num_inference_steps": steps, "guidance_scale": 1.0, "scheduler": scheduler}


ROWS = (
    ImageSpec(
        "emoji-diffusion",
        "emoji-diffusion",
        Source(folder=SHIPPED),
        "Apache-2.0",
        note=EMOJI,
        defaults={"num_inference_steps": 20, "guidance_scale": 2.0, "scheduler": OWN},
        samplers=suiting({"num_train_timesteps": 1000, "beta_schedule": "", "rescale_betas_zero_snr": True}),
        emoji=True,
    ),
    ImageSpec(
        "sd-turbo",
        "SD-Turbo",
        Source("stabilityai/sd-turbo", wanted=HALF, unwanted=EXTRAS),
        "Stability AI",
        1_289_952_427,
        2_580_000_000,
        TURBO,
        _fast(2),
        side=512,
        guided=False,
        largest=865_910_724,
    ),
    ImageSpec(
        "sdxl-turbo",
        "SDXL-Turbo",
        Source("stabilityai/sdxl-turbo", wanted=HALF, unwanted=EXTRAS),
        "SAI-NC-Community",
        3_468_837_867,
        6_938_011_430,
        RESEARCH,
        _fast(2),
        side=512,
        guided=False,
        largest=2_567_463_684,
    ),
    ImageSpec(
        "sd-1.5",
        "Stable Diffusion 1.5",
        Source("stable-diffusion-v1-5/stable-diffusion-v1-5", wanted=HALF, unwanted=EXTRAS),
        "CreativeML OpenRAIL-M",
        1_066_235_307,
        2_132_605_510,
        CLASSIC,
        {"num_inference_steps": 25, "guidance_scale": 7.5, "scheduler": "dpmpp_2m"},
        side=512,
        largest=859_520_964,
    ),
    ImageSpec(
        "sdxl",
        "Stable Diffusion XL",
        Source("stabilityai/stable-diffusion-xl-base-1.0", wanted=HALF, unwanted=EXTRAS),
        "OpenRAIL++-M",
        3_468_837_867,
        6_938_011_430,
        CLASSIC,
        {"num_inference_steps": 25, "guidance_scale": 5.0, "scheduler": "dpmpp_2m_karras"},
        side=1024,
        largest=2_567_463_684,
    ),
    ImageSpec(
        "sana-sprint",
        "SANA-Sprint 0.6B",
        Source("Efficient-Large-Model/Sana_Sprint_0.6B_1024px_diffusers", wanted=WANTED, unwanted=WHOLE),
        "NSCL v2-custom",
        3_520_093_379,
        7_670_000_000,
        SPRINT,
        {"num_inference_steps": 2, "guidance_scale": 4.5, "scheduler": "default"},
        samplers=(OWN,),
        side=1024,
        varies=False,
        largest=2_614_341_888,
    ),
    ImageSpec(
        "flux-schnell",
        "FLUX.1-schnell",
        Source("black-forest-labs/FLUX.1-schnell", wanted=WANTED, unwanted=WHOLE),
        "Apache-2.0",
        16_860_369_379,
        33_720_000_000,
        SCHNELL,
        _fast(4),
        samplers=(OWN,),
        side=1024,
        guided=False,
        varies=False,
        largest=11_901_408_320,
    ),
    ImageSpec(
        "z-image-turbo",
        "Z-Image-Turbo",
        Source("Tongyi-MAI/Z-Image-Turbo", wanted=WANTED, unwanted=WHOLE),
        "Apache-2.0",
        10_261_196_515,
        32_830_000_000,
        Z_IMAGE,
        _fast(8),
        samplers=(OWN,),
        side=1024,
        guided=False,
        varies=False,
        largest=6_155_000_000,
    ),
)
MODELS: dict[str, ImageSpec] = {row.id: row for row in ROWS}
"""What was not trained yet is not offered."""


def _adopt(id: str, name: str, source: Source) -> ImageSpec:
    if source.repo:
        source = Source(source.repo, wanted=WANTED, unwanted=WHOLE)
    samplers = _samplers_of(source.folder) if source.folder else tuple(SCHEDULERS)
    return ImageSpec(id=id, name=name, source=source, note=UNKNOWN, samplers=samplers, defaults=UNKNOWN_DEFAULTS)


def _samplers_of(folder: Path) -> tuple[str, ...]:
    """Those that suit a folder's pipeline; all of them where it does not tell, which loading it will."""
    try:
        config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return tuple(SCHEDULERS)
    return suiting(config) if isinstance(config, dict) else tuple(SCHEDULERS)


def _load(folder: Path, device: Device, spec: ImageSpec) -> ImageModel:
    return load(folder, device, spec.side, spec.guided)


def _sparing(folder: Path, device: Device, spec: ImageSpec) -> Way | None:
    """Its parts in turns: slower, for each is moved to the GPU and back in every run."""
    least = in_turns(folder, device)
    return None if least is None else (least, lambda: load(folder, device, spec.side, spec.guided, turns=True))


def _family(name: str, params: type[Params], generate: Callable[..., Any]) -> Family:
    return Family(
        name=name,
        params=params,
        rows=MODELS,
        load=_load,
        generate=generate,
        adopt=_adopt,
        index="model_index.json",
        kin="images",
        sparing=_sparing,
        room=lambda device, spec: room(device, spec.side or UNKNOWN_SIDE),
        lighter=Words(
            "Make smaller pictures or fewer at once, or choose a smaller model.",
            "请减小图片尺寸或减少图片数量，或选择更小的模型。",
        ),
    )


IMAGES = _family("images", ImageParams, generate)
TRAVEL = _family("travel", TravelParams, travel)
