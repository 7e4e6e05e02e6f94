"""emoji-morph: a variational autoencoder with one vector per picture, 64 px, made for the way between two pictures.

Differences of pixels and a little KL alone give a blur, and a blur halfway. So the strength of fine detail is
asked for by itself (`metrics.detail`), and a patch critic (Isola et al., arXiv 1611.07004) joins late. Besides
reconstructions it sees the midpoints of random pairs, so that what lies between two pictures has to look like a
picture too: the idea of ACAI (Berthelot et al., arXiv 1807.07543), with "is it real?" in place of "how far along?".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from aigc_demo.params import Range
from aigc_demo.training import canvas, captions, export, metrics, sheets
from aigc_demo.training.data import Pack
from aigc_demo.training.loop import Chance, autocast, device, placed
from aigc_demo.training.settings import OpposedParams, weight
from aigc_demo.training.splits import Split
from aigc_demo.words import Words

if TYPE_CHECKING:
    import torch
    from PIL import Image

NAME = "emoji-morph"
SIDE = 64
JITTER = canvas.Jitter(rotate=8, scale=(0.85, 1.08), shift=0.05, mirror=0.5)
MIX = {"plain": 0.7, "colour": 0.3}
"""Of Composer: one thing on white, as drawn or turned to another hue."""
CHECKED = 96
"""Held-out pictures looked at during a run; `evaluate` takes all."""


@dataclass(frozen=True)
class MorphParams(OpposedParams):
    latent: Annotated[
        int, Range(Words("Latent", "潜变量"), Words("Numbers per picture.", "每幅图的数字个数。"), 64, 256, 16)
    ] = 128
    width: Annotated[
        int,
        Range(
            Words("Width", "宽度"),
            Words(
                "Channels at 32x32; twice, four and five times as many below.", "32×32 处的通道数；其下为 2、4、5 倍。"
            ),
            8,
            128,
            8,
        ),
    ] = 32
    edges: Annotated[float, weight("Edges", "边缘", "Weight of gradient differences.", "梯度差的权重。")] = 0.5
    detail: Annotated[
        float,
        weight(
            "Detail",
            "细节",
            "Weight of how strong fine detail is, not where exactly.",
            "细节强度的权重，不计确切位置。",
        ),
    ] = 2.0
    kl: Annotated[float, weight("KL", "KL", "Pull of the latents to a unit normal.", "将潜变量拉向标准正态。")] = 1e-5


PRESETS: dict[str, MorphParams] = {
    "smoke": MorphParams(
        steps=10, batch_size=8, warmup=2, width=8, latent=64, report_every=2, held_out_every=10, sheet_every=10,
        save_every=5, ema_decay=0.9, adversary=0.02, adversary_from=6,
    ),
    "cpu": MorphParams(
        steps=4000, batch_size=32, warmup=150, learning_rate=1e-3, weight_decay=0.01, held_out_every=500,
        sheet_every=1000, save_every=250, ema_decay=0.999, adversary=0.03, adversary_from=2500,
    ),
    "gpu": MorphParams(
        steps=9000, batch_size=256, warmup=300, learning_rate=1.5e-3, weight_decay=0.01, features=0.1,
        adversary=0.02, adversary_from=4500, held_out_every=1500, sheet_every=3000, save_every=1500, report_every=100,
    ),
}  # fmt: skip


class MorphTask:
    """Give back what was seen, the foreground twice as dearly as the ground; then make the halfway look real too."""

    name = NAME
    averaged = ("vae",)

    def __init__(self, params: MorphParams, pack: Pack, split: Split, weights: Path):
        import torch

        from aigc_demo.nets.vectorvae import VectorVae
        from aigc_demo.training.critics import ClipFeatures, PatchCritic

        torch.manual_seed(params.seed)
        self.params = params
        self.groups: dict[str, torch.nn.Module] = {"vae": placed(VectorVae(SIDE, params.latent, params.width))}
        if params.adversary:
            self.groups["critic"] = placed(PatchCritic())
        self.likeness: Any = ClipFeatures(weights, device()) if params.features else None
        self.composer = captions.Composer(pack, split.train(pack), params.seed, MIX)
        self.shelf = canvas.shelf(pack.pixels, SIDE, device())
        self.kept = split.families_kept(pack)

    def prepare(self) -> Iterator[tuple[int, int]]:
        yield from ()

    def turns(self, step: int, chance: Chance) -> Iterator[tuple[str, dict[str, Any]]]:
        import torch

        p, vae = self.params, self.groups["vae"]
        opposed = bool(p.adversary) and step >= p.adversary_from
        plans = [self.composer.draw(step * p.batch_size + i) for i in range(p.batch_size)]
        real, cover = canvas.compose(self.shelf, plans, chance.generator(), JITTER)
        with autocast():
            mean, log_variance = vae.encode(real)  # type: ignore[operator]
            noise = torch.randn(mean.shape, generator=chance.generator(1)).to(real.device)
            z = mean + (log_variance / 2).exp() * noise
            half = len(z) // 2
            halfway = (z[:half] + z[half : 2 * half]) / 2
            decoded = vae.decode(torch.cat([z, halfway]) if opposed else z)  # type: ignore[operator]
        made = decoded[: len(real)]
        far = (made - real).abs().mean(1, keepdim=True)
        kl = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
        losses = {
            "pixels": (far * (1 + cover)).mean(),
            "edges": p.edges * metrics.edges(made, real),
            "detail": p.detail * metrics.detail(made, real),
            "kl": p.kl * kl.mean(),
        }
        if self.likeness:
            losses["features"] = p.features * self.likeness(made, real)
        if not opposed:
            yield "vae", losses
            return
        # a stronger weight lets the decoder fool the critic with grids before it learns what a picture is
        critic, relu = self.groups["critic"], torch.nn.functional.relu
        with autocast():
            losses["adversary"] = -p.adversary * critic(decoded).float().mean()
        yield "vae", losses
        with autocast():
            hinge = relu(1 - critic(real).float()).mean() + relu(1 + critic(decoded.detach()).float()).mean()
        yield "critic", {"critic": hinge}

    def held_out(self) -> dict[str, float]:
        step = max(1, len(self.kept) // CHECKED)
        return figures(self.groups["vae"], self.shelf, self.kept[::step])

    def sheet(self) -> Image.Image:
        """Held-out pictures and, under each, what comes back; then four lines between reconstructions of such."""
        import torch

        chosen = torch.tensor(self.kept[:: max(1, len(self.kept) // 16)][:16], device=self.shelf.device)
        real, vae = canvas.white(self.shelf[chosen]), self.groups["vae"]
        rows = [part for pair in zip(real.split(8), reconstruct(vae, real).split(8), strict=True) for part in pair]
        z = encode(vae, real)
        return sheets.grid(torch.cat([*rows, decode(vae, blend(z[:4], z[4:8], 8).flatten(0, 1))]), columns=8)

    def export(self, folder: Path) -> None:
        import torch

        known = torch.tensor(sorted(self.composer.members), device=self.shelf.device)
        export.vector_vae(self.groups["vae"], canvas.white(self.shelf[known]), folder)


def encode(vae: Any, pictures: torch.Tensor, batch: int = 64) -> torch.Tensor:
    """float32 [n, latent]: the posteriors' means of pictures [n, 3, 64, 64] in -1..1."""
    import torch

    with torch.no_grad():
        return torch.cat([vae.encode(part)[0] for part in pictures.split(batch)])


def decode(vae: Any, z: torch.Tensor, batch: int = 64) -> torch.Tensor:
    """Pictures [n, 3, 64, 64] in -1..1 of z [n, latent]."""
    import torch

    with torch.no_grad():
        return torch.cat([vae.decode(part).clamp(-1, 1) for part in z.split(batch)])


def blend(a: torch.Tensor, b: torch.Tensor, frames: int) -> torch.Tensor:
    """[n, frames, ...]: the straight line from each of `a` to its partner in `b`, both ends included."""
    import torch

    share = torch.linspace(0, 1, frames, device=a.device).view(1, -1, *[1] * (a.ndim - 1))
    return a[:, None] * (1 - share) + b[:, None] * share


def reconstruct(vae: Any, pictures: torch.Tensor) -> torch.Tensor:
    return decode(vae, encode(vae, pictures))


def figures(vae: Any, shelf: torch.Tensor, members: list[int]) -> dict[str, float]:
    """Reconstruction of pictures on white, means per picture, and how much of their finest detail comes back."""
    import torch

    chosen = shelf[torch.tensor(members, device=shelf.device)]
    real = canvas.white(chosen)
    return compare(reconstruct(vae, real), real, chosen[..., 3][:, None].float() / 255)


def compare(made: torch.Tensor, real: torch.Tensor, cover: torch.Tensor) -> dict[str, float]:
    share = metrics.high_pass(made).mean() / metrics.high_pass(real).mean()
    return {**metrics.reconstruction(made, real, cover), "high_pass_share": float(share)}
