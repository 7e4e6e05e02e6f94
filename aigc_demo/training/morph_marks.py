"""The exam of emoji-morph: what comes back of pictures it never saw, and whether the line between two is a morph.

A cross-fade shows both ends at once. A morph's halfway looks like a picture of one thing, is about as far from one
end as from the other, covers about as much, and gets there without a jump. Each is one condition; a line passes
with all four. The judge's features measure what things look like, and nothing was trained with them.
"""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aigc_demo.training import canvas, morph
from aigc_demo.training.concepts import STYLES
from aigc_demo.training.data import Pack
from aigc_demo.training.loop import device
from aigc_demo.training.marks import PAPER
from aigc_demo.training.registry import require
from aigc_demo.training.shipped import Report, load_convnet, load_morph
from aigc_demo.training.splits import Split

if TYPE_CHECKING:
    import torch

SEED, PAIRS, FRAMES = 88, 200, 16
LEAN, AREA, JUMP = 0.5, (0.5, 1.5), 3.0
"""Limits: how lopsided the middle may be, its area over the ends' mean, the largest step over the mean one."""
COMPONENTS = 64


def examine_morph(folder: Path, weights: Path, pack: Pack, split: Split) -> Report:
    """Held-out families on white; then 200 lines. A miss is a line, with the conditions that it fails."""
    import torch

    model = load_morph(folder)
    net = load_convnet(require(weights, "judge"))
    shelf = canvas.shelf(pack.pixels, morph.SIDE, device())
    everything = canvas.white(shelf)
    kept = torch.tensor(split.families_kept(pack), device=shelf.device)
    real, cover = everything[kept], shelf[kept][..., 3][:, None].float() / 255
    figures = morph.figures(model, shelf, kept.tolist())

    drawn = pairs(pack, split)
    first, second = (everything[torch.tensor(side, device=shelf.device)] for side in zip(*drawn, strict=True))
    a, b = morph.encode(model, first), morph.encode(model, second)
    lines = morph.decode(model, morph.blend(a, b, FRAMES).flatten(0, 1)).unflatten(0, (-1, FRAMES))
    middles = morph.decode(model, (a + b) / 2)
    fades = (lines[:, 0] + lines[:, -1]) / 2
    paper = torch.ones_like(middles)
    family = [split.family[pack.concepts[picture.concept].slug] for picture in pack.pictures]
    data = [i for i, picture in enumerate(pack.pictures) if picture.style in STYLES]
    judged = Judged(net, everything[data], [family[i] for i in data], [(family[i], family[j]) for i, j in drawn])

    passed = conditions(judged, lines, middles)
    figures |= shares(passed)
    pca = vector_pca(everything[torch.tensor(split.train(pack), device=shelf.device)], real)
    white = torch.ones_like(real)
    faded = morph.blend(lines[:, 0], lines[:, -1], FRAMES)
    blank = torch.cat([lines[:, :1], torch.ones_like(lines[:, 1:-1]), lines[:, -1:]], 1)
    soft = copy.deepcopy(model)
    soft.decoder[-1] = torch.nn.Identity()
    baselines = {
        "without its outlines": morph.compare(morph.reconstruct(soft, real), real, cover),
        f"PCA to {COMPONENTS} numbers": morph.compare(pca, real, cover),
        "cross-fade": shares(conditions(judged, faded, fades)),
        "white": {**morph.compare(white, real, cover), **shares(conditions(judged, blank, paper))},
    }
    misses = []
    for n, (i, j) in enumerate(drawn):
        failed = [name for name, row in passed.items() if not row[n]]
        if failed:
            names = " - ".join(pack.pictures[k].name(pack.concepts) for k in (i, j))
            misses.append(f"{names}: {', '.join(failed)}")
    return Report(figures, baselines, misses)


def pairs(pack: Pack, split: Split, count: int = PAIRS) -> list[tuple[int, int]]:
    """Pictures of one style and two families each, the styles in turn; always the same for a pack."""
    dice = random.Random(SEED)
    family = [split.family[pack.concepts[picture.concept].slug] for picture in pack.pictures]
    members = [[i for i, picture in enumerate(pack.pictures) if picture.style == style] for style in STYLES]
    drawn: list[tuple[int, int]] = []
    while len(drawn) < count:
        i, j = dice.sample(members[len(drawn) % len(members)], 2)
        if family[i] != family[j]:
            drawn.append((i, j))
    return drawn


class Judged:
    """Distances in the judge's features, and how near a picture is to the data of families other than its ends'."""

    def __init__(self, net: Any, data: torch.Tensor, family: list[str], ends: list[tuple[str, str]]):
        import torch

        self.net = net
        self.known = self.features(data)
        places = {name: n for n, name in enumerate(sorted(set(family)))}
        own = torch.tensor([places[name] for name in family])
        self.barred = (own[None] == torch.tensor([[places[one]] for one, _ in ends])) | (
            own[None] == torch.tensor([[places[other]] for _, other in ends])
        )

    def features(self, pictures: torch.Tensor, batch: int = 256) -> torch.Tensor:
        """float32 [n, width] on the CPU."""
        import torch

        with torch.no_grad():
            return torch.cat([self.net.features(part).float().cpu() for part in pictures.split(batch)])

    def to_data(self, features: torch.Tensor) -> torch.Tensor:
        """Distance [n] to the nearest picture of the data, row n without the families of pair n."""
        import torch

        return torch.cdist(features, self.known).masked_fill(self.barred, float("inf")).amin(1)


def conditions(judged: Judged, lines: torch.Tensor, middles: torch.Tensor) -> dict[str, torch.Tensor]:
    """Name -> bool [n]: what each line passes. lines: [n, frames, 3, s, s] in -1..1, the first and last of them the ends
    as the model gives them back; middles: [n, 3, s, s], what it gives for halfway."""
    first, last = lines[:, 0], lines[:, -1]
    ends_area = (area(first) + area(last)) / 2
    steps = lines.diff(dim=1).flatten(2).norm(dim=2)
    middle = judged.features(middles)
    to_first, to_last = ((middle - judged.features(end)).norm(dim=1) for end in (first, last))
    return {
        "midpoint_nearer": judged.to_data(middle) < judged.to_data(judged.features((first + last) / 2)),
        "midpoint_balanced": (to_first - to_last).abs() < LEAN * (to_first + to_last),
        "midpoint_area": ((AREA[0] * ends_area <= area(middles)) & (area(middles) <= AREA[1] * ends_area)).cpu(),
        "steps_even": (steps.amax(1) <= JUMP * steps.mean(1)).cpu(),
    }


def area(pictures: torch.Tensor) -> torch.Tensor:
    """Share [n] of a picture that is not paper."""
    return ((pictures.amin(1) + 1) / 2 < PAPER).float().mean((1, 2))


def shares(passed: dict[str, torch.Tensor]) -> dict[str, float]:
    """Share of the lines that pass everything, and each condition."""
    import torch

    whole = {"morphs": torch.stack(list(passed.values())).all(0)}
    return {name: float(row.float().mean()) for name, row in {**whole, **passed}.items()}


def vector_pca(learnt: torch.Tensor, real: torch.Tensor, keep: int = COMPONENTS) -> torch.Tensor:
    """`real` after a principal component analysis of whole pictures, fitted on `learnt`."""
    import torch

    rows = learnt.flatten(1)
    mean = rows.mean(0)
    with torch.random.fork_rng():
        torch.manual_seed(SEED)  # the fit is a randomised one; exact, it would take a minute
        basis = torch.pca_lowrank(rows - mean, min(keep, *rows.shape), center=False)[2]
    return ((real.flatten(1) - mean) @ basis @ basis.T + mean).view_as(real).clamp(-1, 1)
