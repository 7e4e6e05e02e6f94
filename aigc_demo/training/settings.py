"""What every training run can be told. Models add their own settings beside their code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from aigc_demo.params import Choice, Params, Range, Seed
from aigc_demo.words import Words

ADAMW, MUON = "adamw", "muon"
_BETWEEN = Words("Steps between two of them.", "两次之间的步数。")


def _steps(en: str, zh: str) -> Range:
    return Range(Words(en, zh), _BETWEEN, 1, 1_000_000, 1)


def weight(en: str, zh: str, help_en: str, help_zh: str) -> Range:
    """Of one term of a loss."""
    return Range(Words(en, zh), Words(help_en, help_zh), 0, 100, 1e-7)


@dataclass(frozen=True)
class TrainingParams(Params):
    """Settings of the loop."""

    steps: Annotated[int, Range(Words("Steps", "步数"), Words("Optimiser steps.", "优化器步数。"), 1, 1_000_000, 1)] = (
        1000
    )
    batch_size: Annotated[
        int, Range(Words("Batch", "批量"), Words("Pictures per step.", "每步的图片数。"), 1, 4096, 1)
    ] = 64
    learning_rate: Annotated[
        float,
        Range(
            Words("Learning rate", "学习率"),
            Words("The highest; it warms up to it, then falls as a cosine.", "最高值；先预热到它，再按余弦下降。"),
            1e-6,
            0.1,
            1e-6,
        ),
    ] = 1e-3
    warmup: Annotated[
        int, Range(Words("Warm-up", "预热"), Words("Steps of linear rise.", "线性上升的步数。"), 0, 100_000, 1)
    ] = 100
    weight_decay: Annotated[
        float,
        Range(Words("Weight decay", "权重衰减"), Words("Of matrices, by AdamW.", "AdamW 对矩阵的衰减。"), 0, 1, 0.01),
    ] = 0.05
    optimiser: Annotated[
        str,
        Choice(
            Words("Optimiser", "优化器"),
            Words(
                "Muon takes the matrices of linear layers; a transformer learns faster by it.",
                "Muon 负责线性层的矩阵；Transformer 用它学得更快。",
            ),
            {ADAMW: Words("AdamW", "AdamW"), MUON: Words("Muon", "Muon")},
        ),
    ] = ADAMW
    clip_norm: Annotated[
        float,
        Range(
            Words("Gradient limit", "梯度上限"),
            Words("A longer gradient is shortened to this norm.", "更长的梯度会被缩短到此范数。"),
            0.01,
            1000,
            0.01,
        ),
    ] = 1.0
    ema_decay: Annotated[
        float,
        Range(
            Words("Averaging", "滑动平均"),
            Words("Decay of the weights' moving average, which is what ships.", "权重滑动平均的衰减；发布的是平均值。"),
            0,
            0.99999,
            0.001,
        ),
    ] = 0.999
    report_every: Annotated[int, _steps("Reports", "报告")] = 25
    held_out_every: Annotated[int, _steps("Held-out checks", "留出检验")] = 500
    sheet_every: Annotated[int, _steps("Sample sheets", "样张")] = 500
    save_every: Annotated[int, _steps("Checkpoints", "检查点")] = 250
    seed: Annotated[
        int, Seed(Words("Seed", "种子"), Words("Of weights, order and chance.", "权重、顺序与随机性。"))
    ] = 0


@dataclass(frozen=True)
class OpposedParams(TrainingParams):
    """Settings of a run that may look at more than pixels: features of emoji-clip, and a patch critic that joins late."""

    features: Annotated[
        float,
        weight(
            "Features",
            "特征",
            "Weight of emoji-clip's features; 0 does without.",
            "emoji-clip 特征的权重；0 表示不用。",
        ),
    ] = 0.0
    adversary: Annotated[
        float,
        weight("Adversary", "对抗", "Weight of the patch discriminator; 0: none.", "块判别器的权重；0 表示没有。"),
    ] = 0.0
    adversary_from: Annotated[
        int, Range(Words("Adversary from", "对抗起点"), Words("Step where it joins.", "开始的步数。"), 0, 1_000_000, 1)
    ] = 0
