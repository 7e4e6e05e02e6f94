"""emoji-gan: an adversarial pair for emoji *faces* at 64 px (Goodfellow et al., arXiv 1406.2661; the loss is R3GAN's,
Huang et al., arXiv 2501.05441).

A loss on pairs and a penalty on both sides' slopes is all that keeps it stable: no batch statistics, no tricks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from aigc_demo.params import Range
from aigc_demo.training import canvas, captions, export, sheets
from aigc_demo.training.data import Pack
from aigc_demo.training.loop import Chance, autocast, device, placed
from aigc_demo.training.settings import TrainingParams, weight
from aigc_demo.training.splits import Split
from aigc_demo.words import Words

if TYPE_CHECKING:
    import torch
    from PIL import Image

NAME = "emoji-gan"
SIDE = 64
JITTER = canvas.Jitter(scale=(0.94, 1.0), shift=0.02, mirror=0.5)
"""Mirrored, for most faces look straight ahead; hardly moved, for that they all stand alike is what makes faces easy."""
MIX = {"plain": 0.75, "colour": 0.25}
"""Some are turned in hue: it makes colour a thing of its own, which the late layers can hold and style mixing swaps."""

UPDATE_OF_MEAN = 0.005
SHOWN = 24


@dataclass(frozen=True)
class GanParams(TrainingParams):
    width: Annotated[
        int,
        Range(
            Words("Width", "宽度"),
            Words("Channels at 32 px; doubled at each smaller size.", "32 像素处的通道数；尺寸每减半则翻倍。"),
            4,
            64,
            4,
        ),
    ] = 32
    blocks: Annotated[
        int,
        Range(
            Words("Blocks", "块数"),
            Words("Of the discriminator, at each size.", "判别器在每个尺寸上的块数。"),
            1,
            4,
            1,
        ),
    ] = 1
    gamma: Annotated[
        float,
        Range(
            Words("Penalty", "惩罚"),
            Words(
                "Weight of the discriminator's squared slope, on real and made pictures.",
                "判别器斜率平方的权重，真实图片与生成图片各一项。",
            ),
            0,
            100,
            0.01,
        ),
    ] = 20.0
    """At 20 from chance on it was steady and learnt few moulds; what ships went on from there at 2, and tells many more faces."""
    penalty_every: Annotated[
        int,
        Range(
            Words("Penalty every", "惩罚间隔"),
            Words(
                "Only in every n-th step, and n times as heavy: the steps between take half its time.",
                "每 n 步才计算一次，权重乘以 n：其余各步只需它一半的时间。",
            ),
            1,
            32,
            1,
        ),
    ] = 1
    mixed: Annotated[
        float,
        Range(
            Words("Mixed styles", "混合风格"),
            Words("Share of samples made of two latents.", "由两个潜变量拼成的样本比例。"),
            0,
            1,
            0.05,
        ),
    ] = 0.3
    coverage: Annotated[
        float,
        weight(
            "Coverage",
            "覆盖",
            "Weight of drawing a sample towards each training picture; 0 leaves it all to the discriminator.",
            "把样本拉向每一幅训练图片的权重；0 表示全部交给判别器。",
        ),
    ] = 0.0
    candidates: Annotated[
        int,
        Range(
            Words("Candidates", "候选"),
            Words(
                "Fresh samples per training picture to choose from. With 1 none is left over, so what is made too often is "
                "drawn to what is left out.",
                "每幅训练图片可选的新样本数。为 1 时没有样本剩下，于是生成过多的会被拉向遗漏的。",
            ),
            1,
            16,
            1,
        ),
    ] = 1
    """Recorded runs with a coverage that do not tell it had two, and found them one after the other."""
    alone: Annotated[
        int,
        Range(
            Words("Coverage alone", "仅覆盖"),
            Words(
                "Steps at the beginning that do nothing else: so many pictures are drawn to in a short time, and blurred.",
                "开头只做覆盖的步数：短时间内能拉向许多图片，但会模糊。",
            ),
            0,
            1_000_000,
            1,
        ),
    ] = 0


PRESETS: dict[str, GanParams] = {
    "smoke": GanParams(
        steps=12, batch_size=4, warmup=2, width=4, report_every=2, held_out_every=12, sheet_every=12, save_every=6,
        ema_decay=0.9, weight_decay=0.0,
    ),
    "cpu": GanParams(
        steps=11000, batch_size=32, warmup=100, learning_rate=3e-4, weight_decay=0.0, clip_norm=10, gamma=2.0,
        penalty_every=4, held_out_every=1000, sheet_every=1000, save_every=250, ema_decay=0.999,
    ),
    "gpu": GanParams(
        steps=12000, batch_size=128, warmup=200, learning_rate=3e-4, weight_decay=0.0, clip_norm=10, width=44, blocks=2,
        gamma=10.0, held_out_every=1000, sheet_every=2000, save_every=2000, report_every=100,
    ),
}  # fmt: skip


class GanTask:
    """Two players, a turn each: tell real from made, and make what cannot be told."""

    name = NAME
    averaged = ("generator",)
    betas = (0.0, 0.99)

    def __init__(self, params: GanParams, pack: Pack, split: Split, weights: Path):
        import torch

        from aigc_demo.nets.gan import Discriminator, Generator
        from aigc_demo.training.coverage import Coverage

        torch.manual_seed(params.seed)
        self.params = params
        down = tuple(params.width * factor for factor in (8, 4, 2, 1))
        self.groups: dict[str, torch.nn.Module] = {
            "discriminator": placed(Discriminator(down[::-1], params.blocks)),
            "generator": placed(Generator(widths=down)),
        }
        self.composer = captions.Composer(pack, faces(pack, split.train(pack)), params.seed, MIX)
        self.shelf = canvas.shelf(pack.pixels, SIDE, device())
        if params.coverage or params.alone:
            maker: Any = self.groups["generator"]
            self.groups["coverage"] = Coverage(self._white(self.composer.members), maker.latent, params.candidates)
        self.kept = faces(pack, split.families_kept(pack))

    def prepare(self) -> Iterator[tuple[int, int]]:
        yield from ()

    def turns(self, step: int, chance: Chance) -> Iterator[tuple[str, dict[str, Any]]]:
        """The penalty is in float32: it is a gradient of a gradient, and bfloat16 leaves little of it."""
        import torch

        p = self.params
        if step < p.alone:
            yield "generator", {"coverage": self._covered(step, chance, p.batch_size)}
            return
        critic = self.groups["discriminator"]
        plans = [self.composer.draw(step * p.batch_size + i) for i in range(p.batch_size)]
        real, _ = canvas.compose(self.shelf, plans, chance.generator(), JITTER)
        with torch.no_grad(), autocast():
            made = self._make(chance.generator(1)).float()
        both = disturb(torch.cat([real, made]), chance.generator(2))
        penalty: dict[str, torch.Tensor] = {}
        if step % p.penalty_every == 0:
            scores, slopes = with_slopes(critic, both.requires_grad_())
            # as heavy as if it were in every step (Karras et al., arXiv 1912.04958, section 3.1)
            r1, r2 = (p.gamma / 2 * p.penalty_every * slopes).chunk(2)
            penalty = {"r1": r1.mean(), "r2": r2.mean()}
        else:
            with autocast():
                scores = critic(both).float()
        on_real, on_made = scores.chunk(2)
        yield "discriminator", {"critic": relativistic(on_real, on_made), **penalty}
        critic.requires_grad_(False)  # its own gradients are not wanted here, and cost a third of the way back
        with autocast():
            with torch.no_grad():
                on_real = critic(disturb(real, chance.generator(3))).float()
            made = self._make(chance.generator(4), learning=True).float()
            on_made = critic(disturb(made, chance.generator(5))).float()
        losses = {"maker": relativistic(on_made, on_real)}
        if p.coverage:
            losses["coverage"] = p.coverage * self._covered(step, chance, p.batch_size // 2)
        yield "generator", losses
        critic.requires_grad_(True)

    def _covered(self, step: int, chance: Chance, count: int) -> torch.Tensor:
        from aigc_demo.training import coverage

        covering: Any = self.groups["coverage"]
        maker = self.groups["generator"]
        with autocast():
            if step % coverage.EVERY == 0:
                covering.choose(maker, chance.generator(6))
            return covering(maker, count, chance.generator(7))

    def _make(self, generator: torch.Generator, learning: bool = False) -> torch.Tensor:
        """A batch of samples, some of them with another w from a random layer on; where `learning`, the mean of w
        takes note."""
        import torch

        maker: Any = self.groups["generator"]
        n = self.params.batch_size
        w, other = maker.mapping(torch.randn(2 * n, maker.latent, generator=generator).to(device())).chunk(2)
        if learning:
            maker.mean_w.lerp_(w.detach().float().mean(0), UPDATE_OF_MEAN)
        cut = torch.randint(1, maker.layers, (n,), generator=generator)
        cut[torch.rand(n, generator=generator) >= self.params.mixed] = maker.layers
        late = (torch.arange(maker.layers) >= cut[:, None]).to(device())
        return maker.synthesize(torch.where(late[:, :, None], other[:, None], w[:, None]))

    def held_out(self) -> dict[str, float]:
        """Mean scores, less the samples': of faces that the discriminator learnt from and of faces that it never
        saw. The first running away from the second is overfitting."""
        critic: Any = self.groups["discriminator"]
        made = float(critic(sample(self.groups["generator"], range(64))).mean())
        learnt = self.composer.members[:: max(1, len(self.composer.members) // 64)]
        real = {"score_learnt": learnt, "score_unseen": self.kept}
        return {name: float(critic(self._white(members)).mean()) - made for name, members in real.items()}

    def _white(self, members: Sequence[int]) -> torch.Tensor:
        import torch

        return canvas.white(self.shelf[torch.tensor(members, device=self.shelf.device)])

    def sheet(self) -> Image.Image:
        """The same seeds twice: as they come, and truncated."""
        import torch

        maker = self.groups["generator"]
        return sheets.grid(torch.cat([sample(maker, range(SHOWN), psi) for psi in (1.0, 0.7)]), columns=12)

    def export(self, folder: Path) -> None:
        for part in ("generator", "discriminator"):
            export.half(self.groups[part]).save_pretrained(folder / part)
            (folder / part / "README.md").unlink()  # the library's; the card of the pair says it all


def faces(pack: Pack, members: Sequence[int]) -> list[int]:
    """Those of `members` that show a face; all of them where there are none, as among the toys."""
    return pack.about("faces", members) or list(members)


def sample(generator: Any, seeds: Sequence[int], psi: float = 1.0) -> torch.Tensor:
    """Pictures [n, 3, 64, 64] in -1..1, one per seed, each from a CPU generator of its own."""
    import torch

    shape = (1, generator.latent)
    z = torch.cat([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    with torch.no_grad():
        return torch.cat([generator(part, psi) for part in z.to(device()).split(64)])


def relativistic(winning: torch.Tensor, losing: torch.Tensor) -> torch.Tensor:
    """mean softplus(losing - winning): each pair's loss is how far the one that should score higher doesn't
    (Jolicoeur-Martineau, arXiv 1807.00734). The generator's loss is the discriminator's with the sides changed."""
    import torch

    return torch.nn.functional.softplus(losing - winning).mean()


def with_slopes(critic: Any, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(scores [n], squared norm [n] of each score's gradient by its picture), both to be derived further.

    On real pictures its mean is R1 (Mescheder et al., arXiv 1801.04406), on made ones R2.
    """
    import torch

    scores = critic(pictures)
    (slope,) = torch.autograd.grad(scores.sum(), pictures, create_graph=True)
    return scores, slope.square().sum((1, 2, 3))


def disturb(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """What the discriminator gets to see: lighter or darker, moved by up to an eighth, a square whitened in half
    of them. Real and made alike and differentiably, so it learns fewer pictures by heart while the generator
    learns none of this (Zhao et al., arXiv 2006.10738)."""
    import torch

    n, _, side, _ = pictures.shape
    draw = torch.rand(n, 6, generator=generator)
    move = (draw[:, :2] * 2 - 1) * (side // 8)
    reach = side // 8
    padded = torch.nn.functional.pad(pictures, (reach,) * 4, value=1.0)
    places = (move.round().long() + reach).tolist()
    moved = torch.stack([padded[i, :, y : y + side, x : x + side] for i, (y, x) in enumerate(places)])
    light = ((draw[:, 2] - 0.5) * 0.4).to(pictures.device)[:, None, None, None]
    rows = torch.arange(side) / side
    hole = (rows[None, :, None] - draw[:, 3, None, None]).abs() < 0.15
    hole = hole & ((rows[None, None] - draw[:, 4, None, None]).abs() < 0.15) & (draw[:, 5, None, None] < 0.5)
    return (moved + light).masked_fill(hole[:, None].to(pictures.device), 1.0)
