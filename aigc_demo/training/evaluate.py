"""`python -m aigc_demo.training evaluate`: the figures of the shipped models, from their folders as they ship.

Every figure stands beside what a trivial method reaches, so that nobody is fooled, and every miss is listed.
The results go into `figures.json`, with the digests of the weights they were computed from, and into the card.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from aigc_demo.errors import UserError
from aigc_demo.results import Done, Step
from aigc_demo.training import canvas, cards, data, splits
from aigc_demo.training.data import SIZE, Pack
from aigc_demo.training.exams import AMONG, Exam
from aigc_demo.training.loop import device
from aigc_demo.training.registry import MODELS, home, require
from aigc_demo.training.shipped import Report, digests, load_clip, load_convnet, load_vae
from aigc_demo.training.splits import Split
from aigc_demo.words import Words


def run(names: list[str], weights: Path, pack: Pack, split: Split) -> Iterator[Step[Report] | Done[dict[str, Report]]]:
    """Evaluate the models in `weights`, writing each one's figures and card."""
    import time

    begun = time.perf_counter()
    reports: dict[str, Report] = {}
    for done, name in enumerate(names, 1):
        folder = require(weights, name)
        reports[name] = EXAMINERS[name](folder, weights, pack, split)
        write(name, reports[name], folder)
        cards.write(name, folder)
        yield Step(name, done, len(names), reports[name])
    yield Done(reports, {"total": time.perf_counter() - begun})


def main(options: argparse.Namespace) -> int:
    pack, split = data.load(options.cache), splits.load()
    splits.check(split, pack)
    names = options.models or [name for name in EXAMINERS if (home(options.weights, name) / cards.RECIPE_FILE).exists()]
    if not names:
        raise UserError(
            Words(f"There is no trained model in {options.weights}.", f"{options.weights} 中没有已训练的模型。")
        )
    for item in run(names, options.weights, pack, split):
        if isinstance(item, Step) and item.value:
            print(item.stage, json.dumps({"figures": item.value.figures, **item.value.baselines}, indent=2))
    return 0


def write(name: str, report: Report, folder: Path) -> None:
    """figures.json, tied to the weights by their digests."""
    content = {
        "figures": rounded(report.figures),
        "baselines": {name: rounded(figures) for name, figures in report.baselines.items()},
        "misses": report.misses,
        "weights": digests(folder),
        "command": f"python -m aigc_demo.training evaluate {name}",
    }
    text = json.dumps(content, ensure_ascii=False, indent=1)
    (folder / "figures.json").write_text(text + "\n", encoding="utf-8")


def rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in figures.items()}


def examine_clip(folder: Path, weights: Path, pack: Pack, split: Split) -> Report:
    """Held-back styles by caption, in both languages; beside it the judge, and chance."""
    import torch

    from aigc_demo.training import clip

    model, tokenizer = load_clip(folder)
    exam = Exam(pack, split)
    shelf = canvas.shelf(pack.pixels, clip.SIDE, device())
    figures = clip.figures(model, tokenizer, shelf, exam)
    seen = clip.embed_images(model, canvas.white(shelf[torch.tensor(exam.pictures, device=shelf.device)]))
    misses = []
    for language in ("en", "zh"):
        scores = clip.scores(model, tokenizer, seen, exam, language)
        misses += [f"{language} {miss}" for miss in exam.misses(scores)]
    baselines = {"chance": {"top1_of_100": 1 / AMONG}}
    judged = weights / "judge" / "figures.json"
    if judged.exists():
        baselines["judge"] = json.loads(judged.read_text(encoding="utf-8"))["figures"]
    return Report(figures, baselines, misses)


def examine_judge(folder: Path, weights: Path, pack: Pack, split: Split) -> Report:
    """Held-back styles; and its top-1 and top-5 on the real pictures of all concepts, the generators' ceiling."""
    import torch

    from aigc_demo.training import judge

    net = load_convnet(folder)
    exam = Exam(pack, split)
    shelf = canvas.shelf(pack.pixels, net.side, device())
    scores = judge.name_all(net, canvas.white(shelf[torch.tensor(exam.pictures, device=shelf.device)]))
    learnt = split.train(pack, naming=True)
    known = judge.name_all(net, canvas.white(shelf[torch.tensor(learnt, device=shelf.device)]))
    right = [exam.place[pack.pictures[i].concept] for i in learnt]
    figures = exam.marks(scores)
    figures |= {"learnt_top1_of_all": judge.top(known, right, 1), "learnt_top5_of_all": judge.top(known, right, 5)}
    chance = {"top1_of_100": 1 / AMONG, "top5_of_all": 5 / len(exam.known)}
    return Report(figures, {"chance": chance}, exam.misses(scores))


def examine_style(folder: Path, weights: Path, pack: Pack, split: Split) -> Report:
    """The style of pictures that it never saw: held-out families and held-back styles."""
    import torch

    from aigc_demo.training import judge

    net = load_convnet(folder)
    asked = split.families_kept(pack) + split.styles_kept(pack)
    shelf = canvas.shelf(pack.pixels, net.side, device())
    scores = judge.name_all(net, canvas.white(shelf[torch.tensor(asked, device=shelf.device)]))
    right = [net.labels.index(pack.pictures[i].style) for i in asked]
    answers = scores.argmax(1).tolist()
    misses = [
        f"{pack.pictures[i].name(pack.concepts)}: {net.labels[given]}"
        for i, given, r in zip(asked, answers, right, strict=True)
        if given != r
    ]
    return Report({"top1": judge.top(scores, right, 1)}, {"chance": {"top1": 1 / len(net.labels)}}, misses)


def examine_vae(folder: Path, weights: Path, pack: Pack, split: Split) -> Report:
    """Held-out families on white, beside bicubic from 32 px and a patch PCA with the same count per picture / 4."""
    import torch
    from torch.nn import functional

    from aigc_demo.training import metrics, vae

    model = load_vae(folder)
    shelf = canvas.shelf(pack.pixels, SIZE, device())
    kept = split.families_kept(pack)
    chosen = shelf[torch.tensor(kept, device=shelf.device)]
    real, cover = canvas.white(chosen), chosen[..., 3][:, None].float() / 255
    made = vae.reconstruct(model, real)
    small = functional.interpolate(real, size=(32, 32), mode="area")
    bicubic = functional.interpolate(small, size=(SIZE, SIZE), mode="bicubic", align_corners=False).clamp(-1, 1)
    learnt = split.train(pack)[::8]
    patched = patch_pca(canvas.white(shelf[torch.tensor(learnt, device=shelf.device)]), real)
    each = metrics.psnr(made, real).tolist()
    worst = sorted(zip(each, kept, strict=True))[: len(kept) // 10]
    misses = [f"{pack.pictures[i].name(pack.concepts)}: {value:.1f} dB" for value, i in worst]
    baselines = {
        "bicubic from 32 px": metrics.reconstruction(bicubic, real, cover),
        "patch PCA to 16x16x4": metrics.reconstruction(patched, real, cover),
    }
    return Report(metrics.reconstruction(made, real, cover), baselines, misses)


def patch_pca(learnt: Any, real: Any, side: int = 8, keep: int = 4) -> Any:
    """`real` after a principal component analysis of `side` px patches, fitted on `learnt`, keeping `keep` numbers."""
    import torch
    from torch.nn import functional

    def patches(pictures: Any) -> Any:
        return functional.unfold(pictures, side, stride=side).transpose(1, 2)

    rows = patches(learnt).reshape(-1, 3 * side * side)
    mean = rows.mean(0)
    basis = torch.linalg.eigh((rows - mean).T @ (rows - mean)).eigenvectors[:, -keep:]
    given = (patches(real) - mean) @ basis @ basis.T + mean
    return functional.fold(given.transpose(1, 2), real.shape[-2:], side, stride=side).clamp(-1, 1)


def examine_diffusion(folder: Path, weights: Path, pack: Pack, split: Split) -> Report:
    from aigc_demo.training import marks

    return marks.examine_diffusion(folder, weights, pack, split)


def examine_morph(folder: Path, weights: Path, pack: Pack, split: Split) -> Report:
    from aigc_demo.training import morph_marks

    return morph_marks.examine_morph(folder, weights, pack, split)


def examine_gan(folder: Path, weights: Path, pack: Pack, split: Split) -> Report:
    from aigc_demo.training import gan_marks

    return gan_marks.examine_gan(folder, weights, pack, split)


EXAMINERS: dict[str, Callable[[Path, Path, Pack, Split], Report]] = {
    "judge": examine_judge,
    "style": examine_style,
    "emoji-clip": examine_clip,
    "emoji-vae": examine_vae,
    "emoji-diffusion": examine_diffusion,
    "emoji-morph": examine_morph,
    "emoji-gan": examine_gan,
}
"""Judge first: the others' figures stand beside its own."""
assert set(EXAMINERS) <= set(MODELS)
