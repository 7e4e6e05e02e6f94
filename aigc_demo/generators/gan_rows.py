"""The adversarial pairs that the list offers, as data, and what the engine runs on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from aigc_demo.device import Device
from aigc_demo.engine import Family
from aigc_demo.errors import ModelUnavailable
from aigc_demo.generators.gan import SHIPPED, SampleParams, WalkGanParams, sample, walk
from aigc_demo.generators.gan_directions import DirectionsParams, move
from aigc_demo.generators.gan_judge import ClimbParams, JudgeParams, climb, judge
from aigc_demo.generators.gan_model import GanModel, is_pair, load
from aigc_demo.generators.gan_project import ProjectParams, project
from aigc_demo.models import ModelSpec
from aigc_demo.params import Params
from aigc_demo.weights import Source
from aigc_demo.words import Words

WEIGHTS = Path(__file__).parents[2] / "assets" / "weights"
NOTE = Words(
    "Forges emoji faces of 64 × 64 pixels and nothing else. It learnt on two processor cores: its samples come near six "
    "in ten of the different faces that real pictures do, and some fall apart.",
    "只会伪造 64 × 64 像素的表情脸。它在两个处理器核心上学成：样本所接近的不同面孔约为真图的六成，也有一些会散乱。",
)
UNKNOWN = Words(
    "Not of this app's list: its licence and manners are its makers' business.",
    "不在本应用的列表中：其许可证和表现由其作者负责。",
)


MODELS = {SHIPPED: ModelSpec(SHIPPED, SHIPPED, Source(folder=WEIGHTS / SHIPPED), "Apache-2.0", note=NOTE)}


def _adopt(id: str, name: str, source: Source) -> ModelSpec:
    if source.repo:
        raise ModelUnavailable(
            Words(
                "Pairs are not fetched from the hub: take one of the list, or ./name for a folder under models/.",
                "成对的网络不会从 Hugging Face 获取：请从列表中选择，或用 ./name 表示 models/ 下的文件夹。",
            )
        )
    return ModelSpec(id=id, name=name, source=source, note=UNKNOWN)


def _load(folder: Path, device: Device, _spec: ModelSpec) -> GanModel:
    return load(folder, device)


def family(name: str, params: type[Params], generate: Callable[..., Any]) -> Family:
    return Family(
        name=name,
        params=params,
        rows=MODELS,
        load=_load,
        generate=generate,
        adopt=_adopt,
        index="generator/config.json",
        holds=is_pair,
        kin="gan",
        lighter=Words("Ask for fewer pictures.", "请减少图片数量。"),
    )


GAN = family("gan", SampleParams, sample)
GAN_WALK = family("gan_walk", WalkGanParams, walk)
GAN_JUDGE = family("gan_judge", JudgeParams, judge)
GAN_CLIMB = family("gan_climb", ClimbParams, climb)
GAN_PROJECT = family("gan_project", ProjectParams, project)
GAN_DIRECTIONS = family("gan_directions", DirectionsParams, move)
