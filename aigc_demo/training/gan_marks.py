"""The exam of emoji-gan: are its samples like real faces, are they many different ones, and are they its own?

All distances are in the features of the judge, which took no part in the pair's training: of unit length, so that no
single odd picture rules a mean. Each figure stands beside what real pictures, their blur and their cross-fades reach.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aigc_demo.training import canvas, gan, metrics
from aigc_demo.training.captions import Composer
from aigc_demo.training.data import Pack
from aigc_demo.training.loop import Chance, device
from aigc_demo.training.registry import require
from aigc_demo.training.shipped import Report, load_convnet, load_gan
from aigc_demo.training.splits import Split

if TYPE_CHECKING:
    import torch

SAMPLES = 1000
FIRST_SEED = 100_000
"""Far from the seeds that a sheet or a page shows first."""
DRAWS = 1_000_000
MOST_FRECHET, LEAST_DISTINCT, LEAST_FINE = 6.0, 0.6, 0.85
BATCH, BLURRED = 256, 8
NEAR = 0.01
"""Nearer than this share of the distances between two different training pictures is a near copy: about as near as
one face is to itself in another style."""


def examine_gan(folder: Path, weights: Path, pack: Pack, split: Split) -> Report:
    """Samples of seeds in a row at full truncation (psi 1), none picked. A miss is a figure short of its goal."""
    generator, _ = load_gan(folder)
    marks = Marks(load_convnet(require(weights, "judge")), pack, gan.faces(pack, split.train(pack)))
    figures = marks(gan.sample(generator, range(FIRST_SEED, FIRST_SEED + SAMPLES)))
    real, other = marks.second, marks.second.roll(1, 0)
    baselines = {
        "real pictures": marks(real),
        f"{BLURRED} px blur": marks(blurred(real)),
        "cross-fades": marks((real + other) / 2),
    }
    goals = {
        f"Fréchet ratio at most {MOST_FRECHET:g}": figures["frechet_over_real"] <= MOST_FRECHET,
        f"distinct neighbours at least {LEAST_DISTINCT:.0%}": figures["distinct_over_random"] >= LEAST_DISTINCT,
        f"fine detail at least {LEAST_FINE:g} of real": figures["fine_over_real"] >= LEAST_FINE,
    }
    missed = [goal for goal, met in goals.items() if not met]
    return Report(figures, baselines, missed)


class Marks:
    """Marks any set of pictures against the faces that were learnt from.

    There are fewer than 2,000 of those, so real *draws* stand for them: `first` and `second` are two sets of 1,000,
    of different numbers of the training's own composer, with its jitter and its turned hues. The distance between
    these two sets is what chance alone makes of one distribution in 1,000 draws; it is the unit that the samples'
    distance to the first is told in, so 1 is as good as real.
    """

    def __init__(self, net: Any, pack: Pack, members: list[int]):
        import torch

        composer = Composer(pack, members, FIRST_SEED, gan.MIX)
        shelf = canvas.shelf(pack.pixels, gan.SIDE, device())
        numbers = random.Random(FIRST_SEED).sample(range(DRAWS), 2 * SAMPLES)
        # by epoch, so that each epoch's order is shuffled once; the sets themselves are random
        halves = [sorted(numbers[:SAMPLES]), sorted(numbers[SAMPLES:])]
        self.net = net
        self.first, self.second = (
            canvas.compose(shelf, [composer.draw(n) for n in half], Chance(FIRST_SEED, k).generator(), gan.JITTER)[0]
            for k, half in enumerate(halves)
        )
        self.seen = self.features(self.first)
        self.unit = frechet(self.seen, self.features(self.second))
        self.known = self.features(canvas.white(shelf[members]))
        one, another = torch.triu_indices(len(members), len(members), 1)
        self.near = float(distances(self.known, self.known)[one, another].quantile(NEAR))
        self.fine = float(metrics.high_pass(self.second).mean())

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        import torch

        with torch.no_grad():
            return torch.cat([self.net.features(part).float().cpu() for part in pictures.split(BATCH)])

    def __call__(self, pictures: torch.Tensor) -> dict[str, float]:
        features = self.features(pictures)
        nearest = distances(features, self.known).min(1)
        count = len(self.known)
        expected = count * (1 - (1 - 1 / count) ** len(pictures))
        return {
            "frechet_over_real": frechet(self.seen, features) / max(1e-9, self.unit),
            "distinct_over_random": len(set(nearest.indices.tolist())) / expected,
            "near_copies": float((nearest.values < self.near).float().mean()),
            "fine_over_real": float(metrics.high_pass(pictures).mean()) / self.fine,
        }


def frechet(a: torch.Tensor, b: torch.Tensor) -> float:
    """Squared Fréchet distance of two normal distributions fitted to rows a and b [n, d] (Heusel et al.,
    arXiv 1706.08500): |mean a - mean b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2), in float64."""
    import torch

    a, b = a.double(), b.double()
    one, two = a.T.cov(), b.T.cov()
    values, vectors = torch.linalg.eigh(one)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    shared = torch.linalg.eigvalsh(root @ two @ root).clamp_min(0).sqrt().sum()
    apart = (a.mean(0) - b.mean(0)).square().sum()
    return float(apart + one.trace() + two.trace() - 2 * shared)


def distances(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """1 - cosine [n, m] of rows of unit length."""
    return 1 - a @ b.T


def blurred(pictures: torch.Tensor) -> torch.Tensor:
    """What is left of pictures averaged over squares of `BLURRED` px."""
    from torch.nn.functional import interpolate

    side = pictures.shape[-1]
    small = interpolate(pictures, size=(side // BLURRED,) * 2, mode="area")
    return interpolate(small, size=(side, side), mode="bilinear", align_corners=False)
