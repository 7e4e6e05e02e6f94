"""The exam of emoji-diffusion: its pictures of the committed prompts, marked by the judge and the style classifier.

Each figure stands beside what the same examiner gives to the real pictures of the same prompts.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aigc_demo.training import hue, judge, prompts, shipped
from aigc_demo.training.data import Pack
from aigc_demo.training.diffusion import GUIDANCE, SAMPLING_STEPS
from aigc_demo.training.loop import device
from aigc_demo.training.registry import require
from aigc_demo.training.shipped import Report, load_convnet
from aigc_demo.training.splits import Split
from aigc_demo.words import LANGUAGES

if TYPE_CHECKING:
    import torch

BATCH = 20
PAPER = 0.92
"""A pixel whose darkest channel is above this belongs to the white ground."""


def examine_diffusion(folder: Path, weights: Path, pack: Pack, split: Split) -> Report:
    """All of the issue's figures for the diffusion model; a miss is a prompt whose concept is not in the top five."""
    import torch

    from aigc_demo.training import canvas

    pipeline = load_pipeline(folder)
    net, styles = load_convnet(require(weights, "judge")), load_convnet(require(weights, "style"))
    asked = prompts.load(shipped.settings(folder).get("subjects", "everything"))
    rows = [row for row in asked["exam"] if row["slug"] in net.labels]
    place = [net.labels.index(row["slug"]) for row in rows]
    style = [styles.labels.index(row["style"]) for row in rows]
    places = pack.places()
    real_at = [places.get((row["slug"], row["style"])) for row in rows]
    there = [n for n, i in enumerate(real_at) if i is not None]
    shelf = canvas.shelf(pack.pixels, judge.SIDE, device())
    real = canvas.white(shelf[torch.tensor([real_at[n] for n in there], device=shelf.device)])
    ceiling = _named(net, styles, real, [place[n] for n in there], [style[n] for n in there])
    figures: dict[str, float] = {}
    misses: list[str] = []
    for language in LANGUAGES:
        made = draw(pipeline, [row[language] for row in rows], [row["seed"] for row in rows])
        marked = _named(net, styles, made, place, style)
        figures |= {f"{name}_{language}": value for name, value in marked.items()}
        best = judge.name_all(net, made).topk(5).indices.tolist()
        misses += [row[language] for row, p, five in zip(rows, place, best, strict=True) if p not in five]
    figures["top1_share_of_real"] = figures["top1_en"] / max(1e-9, ceiling["top1"])
    figures["chinese_share_of_english"] = figures["top5_zh"] / max(1e-9, figures["top5_en"])
    figures["style_share_of_real"] = figures["style_en"] / max(1e-9, ceiling["style"])
    figures["colour_and_concept"] = _coloured(pipeline, net, asked["colours"])
    return Report(figures, {"real pictures": ceiling}, misses)


def draw(pipeline: Any, texts: list[str], seeds: list[int]) -> torch.Tensor:
    """Pictures [n, 3, 128, 128] in -1..1 of the stock pipeline, each from a generator of its own."""
    import torch

    parts = []
    for start in range(0, len(texts), BATCH):
        chosen = slice(start, start + BATCH)
        made = pipeline(
            texts[chosen],
            num_inference_steps=SAMPLING_STEPS,
            guidance_scale=GUIDANCE,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds[chosen]],
            output_type="pt",
        ).images
        parts.append(made.float() * 2 - 1)
    return torch.cat(parts)


def load_pipeline(folder: Path) -> Any:
    """The shipped folder through diffusers' public door, from disk only, quietly."""
    import torch
    from diffusers import AutoPipelineForText2Image

    pipeline = AutoPipelineForText2Image.from_pretrained(
        folder, torch_dtype=torch.float32, use_safetensors=True, local_files_only=True
    ).to(device())
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _named(net: Any, styles: Any, pictures: torch.Tensor, place: list[int], style: list[int]) -> dict[str, float]:
    scores = judge.name_all(net, pictures)
    return {
        "top1": judge.top(scores, place, 1),
        "top5": judge.top(scores, place, 5),
        "style": judge.top(judge.name_all(styles, pictures), style, 1),
    }


def _coloured(pipeline: Any, net: Any, asked: list[prompts.Row]) -> float:
    """Share of the colour prompts whose dominant hue is the asked one *and* whose concept is in the top five."""
    rows = [row for row in asked if row["slug"] in net.labels]
    made = draw(pipeline, [row["en"] for row in rows], [row["seed"] for row in rows])
    best = judge.name_all(net, made).topk(5).indices.tolist()
    right = [
        foreground_colour(picture) == row["colour"] and net.labels.index(row["slug"]) in five
        for picture, row, five in zip(made, rows, best, strict=True)
    ]
    return sum(right) / max(1, len(right))


def foreground_colour(picture: torch.Tensor) -> str | None:
    """The colour word of a picture [3, h, w] on white, or None where it has hardly any colour."""
    rgb = ((picture.permute(1, 2, 0).cpu().numpy() + 1) / 2).clip(0, 1).astype(np.float32)
    found = hue.dominant(rgb, (rgb.min(-1) < PAPER).astype(np.float32))
    return None if found is None else hue.nearest(found)
