"""Model cards: what it is, what it learnt from, how, how well, and to whom thanks are due."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aigc_demo.training import sources
from aigc_demo.words import Words

ABOUT: dict[str, Words] = {
    "emoji-clip": Words(
        "A small CLIP that says how well an emoji-style picture fits a caption, in English and Chinese. Its text tower "
        "conditions emoji-diffusion. It knows the concepts it was trained on; no zero-shot is claimed for others.",
        "一个小型 CLIP，判断表情风格的图片与中英文描述是否相符；其文本塔为 emoji-diffusion 提供条件。"
        "它只认识训练过的概念，对其他概念不作零样本承诺。",
    ),
    "emoji-vae": Words(
        "An autoencoder for emoji-style pictures: 128 px to a small latent of four channels and back.",
        "表情风格图片的自编码器：128 像素的图片与四通道的小潜变量互相转换。",
    ),
    "emoji-diffusion": Words(
        "A complete Stable-Diffusion-style pipeline for one narrow thing: emoji-style pictograms at 128 px, asked for in "
        "English or Chinese. It draws the concepts it was trained on; no zero-shot is claimed for others.",
        "一个完整的 Stable Diffusion 式流水线，只做一件小事：根据中英文描述绘制 128 像素的表情风格图标。"
        "它只画训练过的概念，对其他概念不作零样本承诺。",
    ),
    "emoji-morph": Words(
        "An autoencoder that makes one vector of an emoji-style picture of 64 px, and a picture of a vector. On the "
        "straight line between two vectors one picture turns into the other, and a draw from the unit normal is a "
        "picture too, of nothing in particular.",
        "把 64 像素的表情风格图片变成一个向量、再把向量变回图片的自编码器。"
        "沿两个向量之间的直线，一幅图会变形为另一幅；从标准正态分布中抽取的向量也会给出图片，但不代表任何特定事物。",
    ),
    "emoji-gan": Words(
        "An adversarial pair for one narrow thing: emoji faces at 64 px, smileys and animals in four styles. The "
        "generator's latent space can be truncated, walked through and mixed layer by layer; the discriminator ships "
        "too, and its scores mean something only in comparison.",
        "一对对抗网络，只做一件小事：64 像素的表情面孔，包括笑脸与动物，共四种风格。"
        "生成器的潜空间可以截断、漫游、逐层混合；判别器也一并提供，其分数只有相互比较才有意义。",
    ),
    "tutor": Words(
        "A convnet that names emoji concepts, for emoji-clip to learn from. It is not the judge and marks nothing.",
        "识别表情概念的卷积网络，供 emoji-clip 学习；它不是评委，不给任何模型打分。",
    ),
    "judge": Words(
        "A convnet that names emoji concepts. It marks the work of the generators and takes no part in their training.",
        "识别表情概念的卷积网络，只用来给生成模型打分，不参与它们的训练。",
    ),
    "style": Words(
        "A convnet that tells the four emoji styles apart. It only marks the work of the generators.",
        "区分四种表情风格的卷积网络，只用来给生成模型打分。",
    ),
}

MEANINGS = {
    "top5": "what was asked for is among the examiner's best five",
    "style": "style asked for = style seen",
    "top1_share_of_real": "right at the first answer, as a share of the figure on real pictures",
    "chinese_share_of_english": "best five with Chinese names, same seeds, as a share of the English figure",
    "style_share_of_real": "style asked for = style seen, as a share of the figure on real pictures",
    "colour_and_concept": "asked colour is the picture's main hue, and the name is among the best five",
    "top1_of_100": "right caption among 100, held-back Noto/Twemoji pictures",
    "top1_of_all": "right among all concepts",
    "top5_of_all": "right one among the best five of all concepts",
    "learnt_top1_of_all": "the same, on the real pictures it learnt from",
    "learnt_top5_of_all": "the same, among the best five",
    "top1": "right at the first answer",
    "frechet_over_real": "Fréchet distance to real draws in the examiner's features, over that of two sets of real draws",
    "distinct_over_random": "different nearest training pictures of 1,000 samples, over as many random draws' own",
    "near_copies": "samples about as near to a training picture as one face in two styles",
    "fine_over_real": "energy of fine detail, over that of real pictures",
    "psnr": "PSNR in dB, held-out families, mean per picture",
    "ssim": "SSIM",
    "foreground_psnr": "PSNR in dB of the foreground",
    "psnr_10th_percentile": "PSNR in dB that a tenth of the pictures fall short of",
    "high_pass_share": "energy of the finest detail, as a share of the real pictures'",
    "morphs": "lines between two pictures that meet all four conditions below, of 200",
    "midpoint_nearer": "midpoint nearer to real pictures than the cross-fade is, in the judge's features",
    "midpoint_balanced": "midpoint about as far from one end as from the other, in the judge's features",
    "midpoint_area": "midpoint covers 0.5 to 1.5 times the ends' mean area",
    "steps_even": "largest of 15 steps at most three times the mean step, in pixels",
}
RECIPE_FILE = "training.json"
LOOKED_FILE = "looked.json"
"""What the makers of a model saw on the sheet of committed prompts: {"weights": digests, "of": count, "not_recognised": prompts}."""


def record(
    folder: Path,
    preset: str,
    settings: dict[str, Any],
    seconds: float,
    begun: Mapping[str, str],
    earlier: list[dict[str, Any]],
) -> None:
    """Write down how a model was made, beside it. begun: digests of the weights that it began with, if it did.
    earlier: the `runs` that made those."""
    import platform

    import torch

    content = {
        "preset": preset,
        "settings": settings,
        "seconds_of_last_run": round(seconds),
        "begun_from": dict(begun),
        "earlier_runs": earlier,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "data": [asdict(package) for package in sources.behind(folder.name)],
    }
    (folder / RECIPE_FILE).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def runs(folder: Path) -> list[dict[str, Any]]:
    """Every run that is known to have made a folder's model, the last one last; none where it tells nothing."""
    file = folder / RECIPE_FILE
    if not file.exists():
        return []
    told = json.loads(file.read_text(encoding="utf-8"))
    last = {key: told[key] for key in ("preset", "settings", "seconds_of_last_run", "torch")}
    return [*told.get("earlier_runs", []), last]


def write(name: str, folder: Path) -> None:
    """README.md of a model folder, from its training.json and figures.json."""
    recipe = json.loads((folder / RECIPE_FILE).read_text(encoding="utf-8"))
    told = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    parts = [
        f"---\nlicense: apache-2.0\nlanguage: [en, zh]\n---\n\n# {name}\n",
        f"{ABOUT[name].en}\n\n{ABOUT[name].zh}\n",
        "## Figures\n\n" + _table(told["figures"], told["baselines"]) + f"\n\nComputed by `{told['command']}`.\n",
        "## Recipe\n\n"
        f"`python -m aigc_demo.training {name} --preset {recipe['preset']}`, torch {recipe['torch']}"
        + (", begun from an earlier run's weights" if recipe.get("begun_from") else "")
        + "; settings in `training.json`.\n"
        + _runs(folder),
        "## Data\n\n" + credits(recipe["data"]) + "\n",
    ]
    looked = _looked(folder)
    if looked and looked["weights"] == told["weights"]:
        missed = looked["not_recognised"]
        parts.append(
            f"## Looked at\n\nOf the {looked['of']} committed prompts, each drawn once, its makers recognised "
            f"{looked['of'] - len(missed)}. Not: {'; '.join(missed)}.\n"
        )
    if told["misses"]:
        parts.append(f"## Misses ({len(told['misses'])})\n\n" + "; ".join(told["misses"]) + "\n")
    (folder / "README.md").write_text("\n".join(parts), encoding="utf-8")


def _runs(folder: Path) -> str:
    """The runs of a chain, a line each."""
    chain = runs(folder)
    if len(chain) == 1:
        return ""
    lines = []
    for number, run in enumerate(chain, 1):
        chosen = run["settings"]
        lines.append(
            f"{number}. {chosen['steps']:,} steps of {chosen['batch_size']}, learning rate {chosen['learning_rate']:g}, "
            f"{chosen.get('optimiser', 'adamw')}"
        )
    return "\nThe runs that are recorded, each from the weights of the one before:\n\n" + "\n".join(lines) + "\n"


def _looked(folder: Path) -> dict[str, Any] | None:
    file = folder / LOOKED_FILE
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def credits(packages: Iterable[Mapping[str, str]]) -> str:
    """The sources that a recipe names, one line each, as their licences ask."""
    return "\n".join(
        f"- {package['credit']} ({package['licence']}), npm package `{package['name']}` {package['version']}"
        for package in packages
    )


def _table(figures: dict[str, float], baselines: dict[str, dict[str, float]]) -> str:
    head = ["figure", "this model", *baselines]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, value in figures.items():
        plain = name.removesuffix("_en").removesuffix("_zh")
        language = {"_en": ", English", "_zh": ", Chinese"}.get(name[len(plain) :], "")
        others = [_number(row.get(name, row.get(plain))) for row in baselines.values()]
        lines.append("| " + " | ".join([MEANINGS.get(plain, plain) + language, _number(value), *others]) + " |")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if value < 1 else f"{value:.2f}"
