"""emoji-vae: the autoencoder of the latent diffusion model (Rombach et al., arXiv 2112.10752), 128 px to 16x16x4 or
32x32x4.

Fully convolutional, so it learns from crops. There is no attention in its middle and a picture's side may be
any multiple of eight, or of four.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from aigc_demo.params import Range
from aigc_demo.training import canvas, captions, export, metrics, sheets
from aigc_demo.training.data import SIZE, Pack
from aigc_demo.training.loop import Chance, autocast, device, placed
from aigc_demo.training.settings import OpposedParams, weight
from aigc_demo.training.splits import Split
from aigc_demo.words import Words

if TYPE_CHECKING:
    import torch
    from PIL import Image

NAME = "emoji-vae"
JITTER = canvas.Jitter(rotate=5, scale=(0.8, 1.1), shift=0.06, mirror=0.5)
CHECKED = 48
"""Held-out pictures looked at during a run; `evaluate` takes all."""


@dataclass(frozen=True)
class VaeParams(OpposedParams):
    width: Annotated[
        int,
        Range(
            Words("Width", "宽度"),
            Words(
                "Channels at full size; doubled twice, then a quarter more.",
                "全尺寸处的通道数，之后翻倍两次，再增加四分之一。",
            ),
            8,
            256,
            8,
        ),
    ] = 24
    halvings: Annotated[
        int,
        Range(
            Words("Halvings", "减半次数"),
            Words(
                "How often the side is halved. A smaller latent loses more of a picture, and is learnt from sooner.",
                "边长减半的次数。潜变量越小，画面损失越多，但在其上学习越快。",
            ),
            2,
            3,
            1,
        ),
    ] = 3
    crop: Annotated[int, Range(Words("Crop", "裁剪"), Words("Side in pixels.", "边长（像素）。"), 32, SIZE, 8)] = 64
    edges: Annotated[float, weight("Edges", "边缘", "Weight of gradient differences.", "梯度差的权重。")] = 0.5
    kl: Annotated[float, weight("KL", "KL", "Pull of the latents to a unit normal.", "将潜变量拉向标准正态。")] = 1e-6


PRESETS: dict[str, VaeParams] = {
    "smoke": VaeParams(
        steps=8, batch_size=4, warmup=2, width=8, crop=32, report_every=2, held_out_every=8, sheet_every=8, save_every=4,
        ema_decay=0.9, adversary=0.05, adversary_from=4,
    ),
    "cpu": VaeParams(
        steps=1900, batch_size=12, warmup=100, learning_rate=1.5e-3, weight_decay=0.01, halvings=2, held_out_every=600,
        sheet_every=600, save_every=200, ema_decay=0.995,
    ),
    "gpu": VaeParams(
        steps=20000, batch_size=64, warmup=500, learning_rate=1e-3, weight_decay=0.01, width=32, halvings=2, features=0.1,
        adversary=0.02, adversary_from=14000, held_out_every=2000, sheet_every=4000, save_every=2000, report_every=100,
    ),
}  # fmt: skip


class VaeTask:
    """Give back what was seen, the foreground twice as dearly as the ground."""

    name = NAME
    averaged = ("vae",)

    def __init__(self, params: VaeParams, pack: Pack, split: Split, weights: Path):
        import torch
        from diffusers import AutoencoderKL

        torch.manual_seed(params.seed)
        self.params = params
        widths = tuple(params.width * times for times in (1, 2, 4, 5))[: params.halvings + 1]
        vae = AutoencoderKL(
            block_out_channels=widths,
            down_block_types=("DownEncoderBlock2D",) * len(widths),
            up_block_types=("UpDecoderBlock2D",) * len(widths),
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=8,
            mid_block_add_attention=False,
            sample_size=SIZE,
            scaling_factor=1.0,
            force_upcast=False,
        )
        self.groups: dict[str, torch.nn.Module] = {"vae": placed(vae)}
        if params.adversary:
            from aigc_demo.training.critics import PatchCritic

            self.groups["critic"] = placed(PatchCritic())
        self.likeness: Any = None
        if params.features:
            from aigc_demo.training.critics import ClipFeatures

            self.likeness = ClipFeatures(weights, device())
        self.composer = captions.Composer(pack, split.train(pack), params.seed)
        self.shelf = canvas.shelf(pack.pixels, SIZE, device())
        self.kept = split.families_kept(pack)

    def prepare(self) -> Iterator[tuple[int, int]]:
        yield from ()

    def turns(self, step: int, chance: Chance) -> Iterator[tuple[str, dict[str, Any]]]:
        import torch

        p, vae = self.params, self.groups["vae"]
        plans = [self.composer.draw(step * p.batch_size + i) for i in range(p.batch_size)]
        generator = chance.generator()
        real, cover = self._crops(*canvas.compose(self.shelf, plans, generator, JITTER), generator)
        with autocast():
            posterior = vae.encode(real).latent_dist  # type: ignore[operator]
            noise = torch.randn(posterior.mean.shape, generator=chance.generator(1)).to(real.device)
            made = vae.decode(posterior.mean + posterior.std * noise).sample.float()  # type: ignore[operator]
        far = (made - real).abs().mean(1, keepdim=True)
        losses = {
            "pixels": (far * (1 + cover)).mean(),
            "edges": p.edges * metrics.edges(made, real),
            "kl": p.kl * posterior.kl().float().mean(),
        }
        if self.likeness:
            losses["features"] = p.features * self.likeness(made, real)
        if not p.adversary or step < p.adversary_from:
            yield "vae", losses
            return
        critic, relu = self.groups["critic"], torch.nn.functional.relu
        with autocast():
            losses["adversary"] = -p.adversary * critic(made).float().mean()
        yield "vae", losses
        with autocast():
            hinge = relu(1 - critic(real).float()).mean() + relu(1 + critic(made.detach()).float()).mean()
        yield "critic", {"critic": hinge}

    def _crops(
        self, pictures: torch.Tensor, cover: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One square of each picture, at a place of its own."""
        import torch

        side = self.params.crop
        places = torch.randint(0, SIZE - side + 1, (len(pictures), 2), generator=generator).tolist()
        both = torch.cat([pictures, cover], 1)
        cut = torch.stack([both[i, :, y : y + side, x : x + side] for i, (y, x) in enumerate(places)])
        cut = cut.contiguous(memory_format=torch.channels_last)
        return cut[:, :3], cut[:, 3:]

    def held_out(self) -> dict[str, float]:
        step = max(1, len(self.kept) // CHECKED)
        return figures(self.groups["vae"], self.shelf, self.kept[::step])

    def sheet(self) -> Image.Image:
        """Held-out pictures and, under each, what comes back."""
        import torch

        chosen = torch.tensor(self.kept[:: max(1, len(self.kept) // 16)][:16], device=self.shelf.device)
        real = canvas.white(self.shelf[chosen])
        made = reconstruct(self.groups["vae"], real)
        rows = [part for pair in zip(real.split(8), made.split(8), strict=True) for part in pair]
        return sheets.grid(torch.cat(rows), columns=8)

    def export(self, folder: Path) -> None:
        import torch

        known = torch.tensor(sorted(self.composer.members), device=self.shelf.device)
        step = max(1, len(known) // 512)
        export.vae(self.groups["vae"], canvas.white(self.shelf[known[::step]]), folder)


def reconstruct(vae: Any, pictures: torch.Tensor, batch: int = 16) -> torch.Tensor:
    """Pictures [n, 3, s, s] in -1..1 through the posterior's mean and back, float32."""
    import torch

    rows = []
    for part in pictures.split(batch):
        with torch.no_grad(), autocast():
            rows.append(vae.decode(vae.encode(part).latent_dist.mean).sample.float().clamp(-1, 1))
    return torch.cat(rows)


def figures(vae: Any, shelf: torch.Tensor, members: list[int]) -> dict[str, float]:
    """Reconstruction of pictures on white: PSNR and SSIM, means per picture."""
    import torch

    chosen = shelf[torch.tensor(members, device=shelf.device)]
    cover = chosen[..., 3][:, None].float() / 255
    real = canvas.white(chosen)
    return metrics.reconstruction(reconstruct(vae, real), real, cover)
