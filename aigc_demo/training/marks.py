"""The exam of emoji-diffusion: its pictures of the committed prompts, marked by the judge and the style classifier.

Each figure stands beside what the same examiner gives to the real pictures of the same prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aigc_demo.training import hue, judge, prompts, shipped
from aigc_demo.training.concepts import STYLES
from aigc_demo.training.data import SIZE, Pack
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


class Judges:
    """The judge and the style classifier, which took no part in the training. They are not told what was asked."""

    def __init__(self, weights: Path):
        self._things, self._styles = (load_convnet(require(weights, name)) for name in ("judge", "style"))
        self.labels = self._things.labels
        self._order = [self._styles.labels.index(style) for style in STYLES]

    def things(self, pictures: torch.Tensor) -> torch.Tensor:
        return judge.name_all(self._things, pictures)

    def styles(self, pictures: torch.Tensor) -> torch.Tensor:
        return judge.name_all(self._styles, pictures)[:, self._order]


def examine_diffusion(folder: Path, weights: Path, pack: Pack, split: Split) -> Report:
    """Names, styles and colours, in both languages; a miss is a prompt whose concept is not in the top five."""
    import torch

    from aigc_demo.training import canvas

    pipeline = load_pipeline(folder)
    subjects = shipped.settings(folder).get("subjects", "everything")
    examiner = Judges(weights)
    asked = prompts.load(subjects)
    rows = [row for row in asked["exam"] if row["slug"] in examiner.labels]
    places = pack.places()
    drawn = [(row, places[row["slug"], row["style"]]) for row in rows if (row["slug"], row["style"]) in places]
    shelf = canvas.shelf(pack.pixels, SIZE, device())
    real = canvas.white(shelf[torch.tensor([at for _, at in drawn], device=shelf.device)])
    ceiling, _ = _marked(examiner, real, [row for row, _ in drawn])
    figures: dict[str, float] = {}
    misses: list[str] = []
    for language in LANGUAGES:
        made = draw(pipeline, [row[language] for row in rows], [row["seed"] for row in rows])
        marked, found = _marked(examiner, made, rows)
        figures |= {f"{name}_{language}": value for name, value in marked.items()}
        misses += [row[language] for row, there in zip(rows, found, strict=True) if not there]
    figures["top1_share_of_real"] = figures["top1_en"] / max(1e-9, ceiling["top1"])
    figures["chinese_share_of_english"] = figures["top5_zh"] / max(1e-9, figures["top5_en"])
    figures["style_share_of_real"] = figures["style_en"] / max(1e-9, ceiling["style"])
    figures["colour_and_concept"] = _coloured(pipeline, examiner, asked["colours"])
    chance = {"top1": 1 / len(examiner.labels), "top5": 5 / len(examiner.labels), "style": 1 / len(STYLES)}
    return Report(figures, {"real pictures": ceiling, "chance": chance}, misses)


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


def _marked(
    examiner: Judges, pictures: torch.Tensor, rows: Sequence[prompts.Row]
) -> tuple[dict[str, float], list[bool]]:
    """Its marks, and for each picture whether what was asked for is in the top five."""
    scores = examiner.things(pictures)
    place = [examiner.labels.index(row["slug"]) for row in rows]
    style = [list(STYLES).index(row["style"]) for row in rows]
    marks = {
        "top1": judge.top(scores, place, 1),
        "top5": judge.top(scores, place, 5),
        "style": judge.top(examiner.styles(pictures), style, 1),
    }
    five = scores.topk(min(5, scores.shape[1])).indices.tolist()
    return marks, [p in best for p, best in zip(place, five, strict=True)]


def _coloured(pipeline: Any, examiner: Judges, asked: list[prompts.Row]) -> float:
    """Share of the colour prompts whose dominant hue is the asked one *and* whose concept is in the top five."""
    rows = [row for row in asked if row["slug"] in examiner.labels]
    made = draw(pipeline, [row["en"] for row in rows], [row["seed"] for row in rows])
    _, found = _marked(examiner, made, rows)
    right = [
        foreground_colour(picture) == row["colour"] and there
        for picture, row, there in zip(made, rows, found, strict=True)
    ]
    return sum(right) / max(1, len(right))


def foreground_colour(picture: torch.Tensor) -> str | None:
    """The colour word of a picture [3, h, w] on white, or None where it has hardly any colour."""
    rgb = ((picture.permute(1, 2, 0).cpu().numpy() + 1) / 2).clip(0, 1).astype(np.float32)
    found = hue.dominant(rgb, (rgb.min(-1) < PAPER).astype(np.float32))
    return None if found is None else hue.nearest(found)
