"""judge and style: two classifiers that only ever mark the work of others.

The judge names the concept of a picture, the style classifier its style. Neither may choose a checkpoint, a
guidance or a loss, and nothing learns from their features.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from aigc_demo.params import Range
from aigc_demo.training import canvas, captions, export, sheets
from aigc_demo.training.concepts import STYLES
from aigc_demo.training.data import SIZE, Pack
from aigc_demo.training.exams import Exam
from aigc_demo.training.loop import Chance, autocast, device, placed
from aigc_demo.training.settings import TrainingParams
from aigc_demo.training.splits import Split
from aigc_demo.words import Words

if TYPE_CHECKING:
    import torch
    from PIL import Image

SIDE = 64
JITTER = canvas.Jitter(rotate=25, scale=(0.6, 1.2), shift=0.12, mirror=0.5, light=0.35)
MIX = {"plain": 0.5, "colour": 0.25, "ground": 0.25}
"""Hue and ground are no part of what a thing is called, so the judge sees them turned."""
STYLE_JITTER = canvas.Jitter(scale=(0.9, 1.0), shift=0.03, mirror=0.5)
STYLE_MIX = {"plain": 0.8, "ground": 0.2}


@dataclass(frozen=True)
class JudgeParams(TrainingParams):
    width: Annotated[
        int, Range(Words("Width", "宽度"), Words("Of the last stage.", "最后一级的宽度。"), 16, 1024, 16)
    ] = 160
    smoothing: Annotated[
        float, Range(Words("Label smoothing", "标签平滑"), Words("Share of doubt.", "存疑的比例。"), 0, 0.5, 0.05)
    ] = 0.1
    small: Annotated[
        float,
        Range(
            Words("Small first", "先小后大"),
            Words(
                "Share of the steps, at the beginning, that see pictures of half the side: they take a quarter of the time.",
                "开头多大比例的步数只看边长减半的图片：这些步只需四分之一的时间。",
            ),
            0,
            0.9,
            0.05,
        ),
    ] = 0.0


PRESETS: dict[str, JudgeParams] = {
    "smoke": JudgeParams(
        steps=20, batch_size=16, warmup=4, width=32, report_every=5, held_out_every=20, sheet_every=20, save_every=10,
        ema_decay=0.9, seed=4242,
    ),
    "cpu": JudgeParams(
        steps=4000, batch_size=96, warmup=100, learning_rate=3e-3, held_out_every=400, sheet_every=800, seed=4242,
        ema_decay=0.995, small=0.5,
    ),
    "gpu": JudgeParams(
        steps=10000, batch_size=256, warmup=300, learning_rate=3e-3, width=192, held_out_every=2000, sheet_every=5000,
        save_every=2000, report_every=100, seed=4242,
    ),
}  # fmt: skip


class NamingTask:
    """Classify pictures that were moved, turned in hue, put on grounds, blurred and partly covered."""

    averaged = ("net",)
    name = "judge"
    side, jitter, mix = SIDE, JITTER, MIX
    shares: tuple[int, ...] = (3, 6, 10)
    """Of the full width in tenths, at each halving of the side."""
    shades = 0

    def __init__(self, params: JudgeParams, pack: Pack, split: Split, weights: Path):
        import torch

        from aigc_demo.training.convnet import ConvNet

        torch.manual_seed(params.seed)
        self.params, self.pack, self.weights = params, pack, weights
        self.exam = Exam(pack, split)
        self.composer = captions.Composer(pack, self.learnt(split), params.seed, self.mix)
        self.shelf = canvas.shelf(pack.pixels, self.side, device())
        self.kept = torch.tensor(self.asked(split), device=self.shelf.device)
        widths = [max(8, share * params.width // 10 // 8 * 8) for share in self.shares]
        net = ConvNet(self.labels(), widths, side=self.side, shades=self.shades)
        self.groups: dict[str, torch.nn.Module] = {"net": placed(net)}

    def labels(self) -> list[str]:
        return [self.pack.concepts[c].slug for c in self.exam.known]

    def target(self, picture: int) -> int:
        return self.exam.place[self.pack.pictures[picture].concept]

    def learnt(self, split: Split) -> list[int]:
        return split.train(self.pack, naming=True) + split.further(self.pack)

    def asked(self, split: Split) -> list[int]:
        """Held-out pictures that it is examined on."""
        return self.exam.pictures

    def plans(self, numbers: range) -> list[captions.Plan]:
        return [self.composer.draw(number) for number in numbers]

    def spoilt(self, pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return spoil(pictures, generator)

    def prepare(self) -> Iterator[tuple[int, int]]:
        yield from ()

    def turns(self, step: int, chance: Chance) -> Iterator[tuple[str, dict[str, Any]]]:
        import torch

        count = self.params.batch_size
        plans = self.plans(range(step * count, (step + 1) * count))
        pictures, _ = canvas.compose(self.shelf, plans, chance.generator(), self.jitter)
        pictures = self.spoilt(pictures, chance.generator(1))
        target = torch.tensor([self.target(plan.pieces[0][0]) for plan in plans], device=pictures.device)
        net: Any = self.groups["net"]
        net.train()
        net.side = self.side // 2 if step < self.params.small * self.params.steps else self.side
        with autocast():
            told = net.opinions(pictures)
        cross = torch.nn.functional.cross_entropy
        loss = torch.stack([cross(one.float(), target, label_smoothing=self.params.smoothing) for one in told]).sum()
        yield "net", {"naming": loss}

    def held_out(self) -> dict[str, float]:
        return self.exam.marks(name_all(self.groups["net"], canvas.white(self.shelf[self.kept])))

    def sheet(self) -> Image.Image:
        """The held-out pictures that it gets wrong, as many as fit."""
        scores = name_all(self.groups["net"], canvas.white(self.shelf[self.kept]))
        wrong = [n for n, i in enumerate(self.kept.tolist()) if int(scores[n].argmax()) != self.target(i)]
        shown = self.kept[wrong[:64] or [0]]
        return sheets.grid(canvas.white(self.shelf[shown]), columns=16)

    def export(self, folder: Path) -> None:
        export.half(self.groups["net"]).save_pretrained(folder)


class StyleTask(NamingTask):
    """The same net, asked for the style, at the pictures' full size: how a line ends and a colour fades tells more than
    what is drawn; most is told by which colours there are. Colours, margins and clean edges are what a style is: of the
    judge's troubles it gets only what made pictures have too, blur and what emoji-vae makes of a picture. With all of
    them it told the style of three pictures in four."""

    name = "style"
    side, jitter, mix = SIZE, STYLE_JITTER, STYLE_MIX
    shares = (2, 4, 6, 10)
    shades = 24

    def prepare(self) -> Iterator[tuple[int, int]]:
        """Half of the pictures once more, as emoji-vae gives them back: behind the others on the shelf."""
        import torch

        from aigc_demo.training.registry import require
        from aigc_demo.training.shipped import load_vae
        from aigc_demo.training.vae import reconstruct

        vae = load_vae(require(self.weights, "emoji-vae"))
        members = random.Random(self.params.seed).sample(self.composer.members, len(self.composer.members) // 2)
        parts = torch.tensor(members, device=self.shelf.device).split(64)
        copies = []
        for done, part in enumerate(parts, 1):
            seen = reconstruct(vae, canvas.white(self.shelf[part]))
            copies.append(((seen + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1))
            yield done, len(parts)
        opaque = torch.nn.functional.pad(torch.cat(copies), (0, 1), value=255)
        self.copy = {member: len(self.shelf) + n for n, member in enumerate(members)}
        self.original = {n: member for member, n in self.copy.items()}
        self.shelf = torch.cat([self.shelf, opaque])

    def plans(self, numbers: range) -> list[captions.Plan]:
        """As drawn; of the plain ones that have a copy, two in three show the copy."""
        drawn = super().plans(numbers)
        for n, (number, plan) in enumerate(zip(numbers, drawn, strict=True)):
            (picture, turn), *_ = plan.pieces
            if plan.kind == "plain" and number % 3 and picture in self.copy:
                drawn[n] = replace(plan, pieces=((self.copy[picture], turn),))
        return drawn

    def learnt(self, split: Split) -> list[int]:
        return split.train(self.pack, naming=True)

    def labels(self) -> list[str]:
        return list(STYLES)

    def target(self, picture: int) -> int:
        return self.labels().index(self.pack.pictures[self.original.get(picture, picture)].style)

    def asked(self, split: Split) -> list[int]:
        return split.families_kept(self.pack) + split.styles_kept(self.pack)

    def held_out(self) -> dict[str, float]:
        scores = name_all(self.groups["net"], canvas.white(self.shelf[self.kept]))
        right = [int(row.argmax()) == self.target(i) for row, i in zip(scores, self.kept.tolist(), strict=True)]
        return {"top1": sum(right) / len(right)}


STYLE_PRESETS: dict[str, JudgeParams] = {
    "smoke": PRESETS["smoke"],
    "cpu": JudgeParams(
        steps=1800, batch_size=96, warmup=50, learning_rate=3e-3, width=96, held_out_every=400, sheet_every=800,
        seed=4343, ema_decay=0.995, small=0.4,
    ),
    "gpu": JudgeParams(
        steps=2000, batch_size=256, warmup=100, learning_rate=3e-3, width=64, held_out_every=1000, sheet_every=1000,
        seed=4343, ema_decay=0.995,
    ),
}  # fmt: skip


def spoil(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Blur a third of the pictures a little, add noise to a third, cover a square of a half."""
    import torch

    n, _, side, _ = pictures.shape
    draw = torch.rand(n, 6, generator=generator)
    noise = torch.randn(pictures.shape, generator=generator).to(pictures.device) * 0.08
    which = draw.to(pictures.device)[:, :, None, None]
    out = blur(pictures, draw[:, 0] < 0.33) + noise * (which[:, 1:2] < 0.33)
    rows = torch.arange(side, device=pictures.device) / side
    inside_y = (rows[None, :, None] - which[:, 2]).abs() < 0.08 + 0.07 * which[:, 3]
    inside_x = (rows[None, None, :] - which[:, 4]).abs() < 0.08 + 0.07 * which[:, 3]
    covered = (inside_y & inside_x & (which[:, 5] < 0.5))[:, None]
    return out.masked_fill(covered, 0.0)


def blur(pictures: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """The chosen ones [n] a little blurred."""
    import torch

    blurred = torch.nn.functional.avg_pool2d(pictures, 3, 1, 1, count_include_pad=False)
    return torch.where(chosen.to(pictures.device)[:, None, None, None], blurred, pictures)


def name_all(net: Any, pictures: torch.Tensor, batch: int = 256) -> torch.Tensor:
    """Logits float32 [n, labels] on the CPU, in eval mode, for pictures [n, 3, s, s] in -1..1."""
    import torch

    net.eval()
    with torch.no_grad(), autocast():
        return torch.cat([net(part).float().cpu() for part in pictures.split(batch)])


def top(scores: torch.Tensor, right: Sequence[int], k: int) -> float:
    """Share of rows whose right label is among the k best."""
    best = scores.topk(min(k, scores.shape[1])).indices.tolist()
    return sum(r in b for r, b in zip(right, best, strict=True)) / max(1, len(right))
