"""The autoencoders that the list offers, as data, and what the engine runs on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aigc_demo.device import Device
from aigc_demo.engine import Family
from aigc_demo.errors import ModelUnavailable
from aigc_demo.generators.latent import (
    VECTOR_MODEL,
    WEIGHTS,
    PriorParams,
    RebuildParams,
    WalkParams,
    draw_prior,
    rebuild,
    walk,
)
from aigc_demo.generators.latent_map import LatentMap, MapParams, Point, decode_point, of_weights
from aigc_demo.generators.latent_model import LatentModel, is_autoencoder, load
from aigc_demo.models import ModelSpec
from aigc_demo.params import Params
from aigc_demo.results import Done, Step
from aigc_demo.weights import Source
from aigc_demo.words import Words

WANTED = ("diffusion_pytorch_model.safetensors", "config.json")
"""The original files lie beside them under other names."""


@dataclass(frozen=True)
class LatentSpec(ModelSpec):
    """An autoencoder's row. side: of the pictures that it learnt, in pixels, where its configuration says another."""

    side: int | None = None


EMOJI = Words(
    "Made for emoji-style pictures on white. Its latent is a small picture: half way between two lies one laid over the "
    "other.",
    "为白底的表情风格图片而制作。它的潜变量是一幅小图：两幅图的中点只是一幅叠在另一幅上。",
)
MORPH = Words(
    "Made for emoji-style pictures on white. Its latent is one vector without places: half way between two lies another "
    "picture.",
    "为白底的表情风格图片而制作。它的潜变量是一个没有位置的向量：两幅图的中点是另一幅图。",
)
PHOTOS = Words(
    "The autoencoder of Stable Diffusion 1, tuned for faces and photographs.",
    "Stable Diffusion 1 的自编码器，针对人脸和照片微调过。",
)
LARGE = Words("The autoencoder of Stable Diffusion XL.", "Stable Diffusion XL 的自编码器。")
TINY = Words(
    "Thirty times smaller than the one that it imitates, and without a variance.",
    "比它所模仿的小三十倍，没有方差。",
)
UNKNOWN = Words(
    "Not of this app's list: its licence and manners are its makers' business.",
    "不在本应用的列表中：其许可证和表现由其作者负责。",
)


def _shipped(name: str, folder: Path, note: Words) -> LatentSpec:
    return LatentSpec(name, name, Source(folder=folder), "Apache-2.0", note=note)


ROWS = (
    _shipped("emoji-morph", WEIGHTS / "emoji-morph", MORPH),
    _shipped("emoji-vae", WEIGHTS / "emoji-diffusion" / "vae", EMOJI),
    LatentSpec(
        "sd-vae-ft-mse",
        "SD VAE ft-MSE",
        Source("stabilityai/sd-vae-ft-mse", wanted=WANTED),
        "MIT",
        83_653_863,
        334_643_276,
        PHOTOS,
        side=512,
    ),
    LatentSpec(
        "sdxl-vae",
        "SDXL VAE",
        Source("stabilityai/sdxl-vae", wanted=WANTED),
        "MIT",
        83_653_863,
        334_643_268,
        LARGE,
        side=1024,
    ),
    LatentSpec(
        "taesd", "TAESD", Source("madebyollin/taesd", wanted=WANTED), "MIT", 2_445_063, 9_793_292, TINY, side=512
    ),
    LatentSpec(
        "taesdxl", "TAESDXL", Source("madebyollin/taesdxl", wanted=WANTED), "MIT", 2_445_063, 9_793_292, TINY, side=1024
    ),
)
MODELS: dict[str, LatentSpec] = {row.id: row for row in ROWS}


def _adopt(id: str, name: str, source: Source) -> LatentSpec:
    if source.repo:
        source = Source(source.repo, wanted=WANTED)
    return LatentSpec(id=id, name=name, source=source, note=UNKNOWN)


def _load(folder: Path, device: Device, spec: LatentSpec) -> LatentModel:
    return load(folder, device, spec.side)


def _family(name: str, params: type[Params], generate: Callable[..., Any]) -> Family:
    return Family(
        name=name,
        params=params,
        rows=MODELS,
        load=_load,
        generate=generate,
        adopt=_adopt,
        holds=is_autoencoder,
        kin="latent",
        lighter=Words("Choose a smaller size or model.", "请选择更小的尺寸或模型。"),
    )


NO_MAP = Words(
    "There is no map of these weights of {model}. Make it: python -m aigc_demo.training map",
    "没有与 {model} 当前权重对应的地图。请重新生成：python -m aigc_demo.training map",
).format(model=VECTOR_MODEL)


def chart() -> LatentMap | None:
    """The map that ships, if it is of the weights that ship."""
    return of_weights(WEIGHTS / VECTOR_MODEL)


def _point(
    request: MapParams, model: LatentModel, stopped: Callable[[], bool] = lambda: False
) -> Iterator[Step[Any] | Done[Point]]:
    found = chart()
    if found is None:
        raise ModelUnavailable(NO_MAP)
    yield from decode_point(request, model, found, stopped)


REBUILD = _family("rebuild", RebuildParams, rebuild)
WALK = _family("walk", WalkParams, walk)
PRIOR = _family("prior", PriorParams, draw_prior)
MAP = _family("map", MapParams, _point)
