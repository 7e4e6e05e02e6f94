"""emoji-diffusion: latent diffusion (Rombach et al., arXiv 2112.10752) over emoji-vae, conditioned by emoji-clip.

v-prediction (Salimans and Ho, arXiv 2202.00512) on a schedule whose last step holds no signal (Lin et al.,
arXiv 2305.08891), so that a picture can be as dark or as bright as its words say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from aigc_demo.params import Choice, Range
from aigc_demo.training import canvas, captions, export, prompts, sheets, tokens
from aigc_demo.training.concepts import SUBJECTS
from aigc_demo.training.data import SIZE, Pack
from aigc_demo.training.loop import Chance, autocast, device, placed
from aigc_demo.training.registry import require
from aigc_demo.training.settings import TrainingParams
from aigc_demo.training.splits import Split
from aigc_demo.words import LANGUAGES, Words

if TYPE_CHECKING:
    import torch
    from PIL import Image

NAME = "emoji-diffusion"
JITTER = canvas.Jitter(scale=(0.92, 1.0), shift=0.02)
"""Hardly any: where a thing stands and which way it looks is part of how a style draws it."""
SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "clip_sample": False,
    "steps_offset": 1,
}
SHOWN = ("cat face, 3D style", "红苹果，扁平风格", "rocket, Noto style", "a blue dog face, Twemoji style")
GUIDANCE, SAMPLING_STEPS = 2.0, 20
"""Chosen by emoji-clip, which at 2 saw both the thing and the style asked for more often than at 2.5 (73.2% of 500 prompts for
71.6%), as it had at 2.5 more often the style than at 4, and by eye."""


def _count(en: str, zh: str, help_en: str, help_zh: str, low: float, high: float, step: float = 1) -> Range:
    return Range(Words(en, zh), Words(help_en, help_zh), low, high, step)


@dataclass(frozen=True)
class DiffusionTraining(TrainingParams):
    subjects: Annotated[
        str,
        Choice(
            Words("Subjects", "题材"),
            Words("What it learns to draw.", "学习绘制的内容。"),
            {name: subject.name for name, subject in SUBJECTS.items()},
        ),
    ] = "everything"
    width_32: Annotated[
        int,
        _count(
            "Width at 32",
            "32 处宽度",
            "Channels at 32x32, where emoji-vae's latents are so large.",
            "32×32 处的通道数，仅当 emoji-vae 的潜变量有这么大。",
            16,
            512,
            16,
        ),
    ] = 48
    width_16: Annotated[
        int, _count("Width at 16", "16 处宽度", "Channels at 16x16.", "16×16 处的通道数。", 16, 512, 16)
    ] = 96
    width_8: Annotated[int, _count("Width at 8", "8 处宽度", "Channels at 8x8.", "8×8 处的通道数。", 16, 512, 16)] = 160
    words_up_to: Annotated[
        int,
        _count(
            "Words up to", "文字读到", "Largest size whose blocks read the words.", "读取文字的最大尺寸。", 8, 32, 8
        ),
    ] = 16
    layers: Annotated[int, _count("Layers", "层数", "Residual blocks per size.", "每个尺寸的残差块数。", 1, 4)] = 1
    variants: Annotated[
        int,
        _count("Variants", "变体", "Composed and encoded once, per picture.", "每幅图预先合成并编码的次数。", 1, 64),
    ] = 6
    plain: Annotated[
        float,
        _count(
            "Plain captions",
            "平实描述",
            "Share that say no more than name and style.",
            "只说名称与风格的比例。",
            0,
            1,
            0.05,
        ),
    ] = captions.MIX["plain"]
    dropped: Annotated[
        float, _count("Unconditional", "无条件", "Share without a caption.", "不带描述的比例。", 0, 0.5, 0.01)
    ] = 0.1
    sheet_pictures: Annotated[
        int, _count("Sheet", "样张数", "Pictures on a sample sheet.", "每张样张上的图片数。", 1, 64)
    ] = 16
    snr_limit: Annotated[
        float, _count("SNR limit", "信噪比上限", "Min-SNR's gamma.", "Min-SNR 的 gamma。", 1, 20, 0.5)
    ] = 5.0
    least_weight: Annotated[
        float,
        _count("Least weight", "最小权重", "Floor of a step's weight; min-SNR alone gives 0 to pure noise.",
               "各步权重的下限；min-SNR 在纯噪声处为 0。", 0.01, 1, 0.01),
    ] = 0.2  # fmt: skip


PRESETS: dict[str, DiffusionTraining] = {
    "smoke": DiffusionTraining(
        steps=8, batch_size=8, warmup=2, width_32=16, width_16=32, width_8=48, variants=1, report_every=2, held_out_every=8, sheet_every=8,
        save_every=4, ema_decay=0.9, sheet_pictures=1,
    ),
    "cpu": DiffusionTraining(
        subjects="faces", plain=0.65, words_up_to=8, width_32=32, width_16=64, width_8=128, steps=9000, batch_size=32,
        warmup=100, learning_rate=1e-3, weight_decay=0.01, variants=16, held_out_every=1500, sheet_every=1500,
        save_every=250, ema_decay=0.999,
    ),
    "gpu": DiffusionTraining(
        steps=24000, batch_size=256, warmup=1000, learning_rate=5e-4, weight_decay=0.01, variants=16,
        held_out_every=4000, sheet_every=6000, save_every=4000, report_every=100, ema_decay=0.9997,
    ),
}  # fmt: skip


class DiffusionTask:
    """Tell the noise from the picture, in latents that were composed and encoded once."""

    name = NAME
    averaged = ("unet",)

    def __init__(self, params: DiffusionTraining, pack: Pack, split: Split, weights: Path):
        import torch
        from diffusers import DDPMScheduler, UNet2DConditionModel

        from aigc_demo.training.shipped import load_clip, load_vae

        torch.manual_seed(params.seed)
        self.params, self.pack = params, pack
        clip, self.tokenizer = load_clip(require(weights, "emoji-clip"))
        self.text_encoder = clip.text_model.requires_grad_(False)
        self.text_width = clip.config.text_config.hidden_size
        self.weights = weights
        self.vae = placed(load_vae(require(weights, "emoji-vae"))).requires_grad_(False)
        schedule: Any = DDPMScheduler(**SCHEDULE)
        self.signal = schedule.alphas_cumprod.to(device())
        self.side = SIZE // 2 ** (len(self.vae.config.block_out_channels) - 1)
        widths = {32: params.width_32, 16: params.width_16, 8: params.width_8}
        levels = [
            (width, "CrossAttn" if size <= params.words_up_to else "")
            for size, width in widths.items()
            if size <= self.side
        ]
        unet = UNet2DConditionModel(
            sample_size=self.side,
            in_channels=4,
            out_channels=4,
            block_out_channels=tuple(width for width, _ in levels),
            down_block_types=tuple(f"{kind}DownBlock2D" for _, kind in levels),
            up_block_types=tuple(f"{kind}UpBlock2D" for _, kind in reversed(levels)),
            layers_per_block=params.layers,
            cross_attention_dim=self.text_width,
            attention_head_dim=4,
            norm_num_groups=16,
        )
        self.groups: dict[str, torch.nn.Module] = {"unet": placed(unet)}
        self.composer = captions.Composer(
            pack, pack.about(params.subjects, split.train(pack)), params.seed, captions.mixed(params.plain)
        )
        self.kept = pack.about(params.subjects, split.families_kept(pack))
        self.shelf = canvas.shelf(pack.pixels, SIZE, device())
        self.count = params.variants * len(self.composer.members)
        self.latents = torch.zeros(self.count, 4, self.side, self.side, dtype=torch.float16)

    def prepare(self) -> Iterator[tuple[int, int]]:
        """Compose and encode every draw that the run will use; yields (done, total)."""
        batch = 32
        for start in range(0, self.count, batch):
            numbers = range(start, min(start + batch, self.count))
            plans = [self.composer.draw(n) for n in numbers]
            generator = Chance(self.params.seed, start).generator(2)
            pictures, _ = canvas.compose(self.shelf, plans, generator, JITTER)
            self.latents[start : numbers.stop] = self._encode(pictures).half().cpu()
            yield numbers.stop, self.count

    def turns(self, step: int, chance: Chance) -> Iterator[tuple[str, dict[str, Any]]]:
        import torch

        n = self.params.batch_size
        generator = chance.generator()
        drawn = torch.randint(0, self.count, (n,), generator=generator).tolist()
        kept = torch.rand(n, generator=generator) >= self.params.dropped
        texts = [self.composer.draw(i).caption if keep else "" for i, keep in zip(drawn, kept.tolist(), strict=True)]
        clean = self.latents[drawn].to(device()).float()
        # one step out of each n-th of the schedule: the same mean loss with less spread
        times = ((torch.arange(n) + torch.rand(n, generator=generator)) / n * len(self.signal)).long()
        noise = torch.randn(clean.shape, generator=generator).to(device())
        yield "unet", {"noise": self._loss(clean, noise, times.to(device()), self._words(texts)).mean()}

    def _loss(self, clean: torch.Tensor, noise: torch.Tensor, times: torch.Tensor, words: torch.Tensor) -> Any:
        """Weighted squared error of v [n]. Weights are min-SNR's for v (Hang et al., arXiv 2303.09556), floored."""
        import torch

        signal = self.signal[times]
        root, rest = signal.sqrt()[:, None, None, None], (1 - signal).sqrt()[:, None, None, None]
        noisy, target = root * clean + rest * noise, root * noise - rest * clean
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        with autocast():
            made = self.groups["unet"](noisy, times, words).sample
        ratio = signal / (1 - signal).clamp_min(1e-8)
        weight = (ratio.clamp_max(self.params.snr_limit) / (ratio + 1)).clamp_min(self.params.least_weight)
        return (made.float() - target).square().mean((1, 2, 3)) * weight

    def _words(self, texts: list[str]) -> torch.Tensor:
        """float32 [n, 32, width]: what the pipeline gives the denoiser for these prompts."""
        import torch

        with torch.no_grad(), autocast():
            ids = tokens.encode(self.tokenizer, texts, tokens.LENGTH).to(device())
            return self.text_encoder(input_ids=ids).last_hidden_state.float()

    def _encode(self, pictures: torch.Tensor) -> torch.Tensor:
        import torch

        with torch.no_grad(), autocast():
            pictures = pictures.to(device()).contiguous(memory_format=torch.channels_last)
            return self.vae.encode(pictures).latent_dist.mean.float()

    def held_out(self) -> dict[str, float]:
        """The loss on families that nobody saw, with noise and steps that are always the same."""
        import torch

        chosen = self.kept[:: max(1, len(self.kept) // 64)][:64]
        texts = [
            captions.named(self.pack.concepts[p.concept].name.en, p.style, "en")
            for p in (self.pack.pictures[i] for i in chosen)
        ]
        clean = self._encode(canvas.white(self.shelf[torch.tensor(chosen)]))
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1)).to(device())
        times = torch.linspace(0, len(self.signal) - 1, len(chosen)).long().to(device())
        return {"held_out": float(self._loss(clean, noise, times, self._words(texts)).mean())}

    def sheet(self) -> Image.Image:
        """The first of the committed prompts, alternately in both languages, each with its seed."""
        rows = prompts.load(self.params.subjects)["sheet"][: self.params.sheet_pictures]
        texts = [row["zh" if n % 2 else "en"] for n, row in enumerate(rows)]
        return sheets.grid(self.sample(texts, [row["seed"] for row in rows]), columns=8)

    def sample(self, texts: list[str], seeds: list[int]) -> torch.Tensor:
        """Pictures [n, 3, 128, 128] in -1..1 by DDIM, guided, as the pipeline would draw them."""
        import torch
        from diffusers import DDIMScheduler

        scheduler: Any = DDIMScheduler(**SCHEDULE)
        scheduler.set_timesteps(SAMPLING_STEPS)
        shape = (1, 4, self.side, self.side)
        latents = torch.cat([torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds]).to(
            device()
        )
        words = self._words(["", *texts])
        both = torch.cat([words[:1].expand(len(texts), -1, -1), words[1:]])
        for t in scheduler.timesteps:
            with torch.no_grad(), autocast():
                without, guided = self.groups["unet"](torch.cat([latents] * 2), t, both).sample.float().chunk(2)
            latents = scheduler.step(without + GUIDANCE * (guided - without), t, latents).prev_sample
        with torch.no_grad(), autocast():
            return self.vae.decode(latents).sample.float().clamp(-1, 1)

    def export(self, folder: Path) -> None:
        learnt = sorted({self.pack.pictures[i].concept for i in self.composer.members})
        names = {language: [self.pack.concepts[c].name.to(language) for c in learnt] for language in LANGUAGES}
        export.diffusion(self.groups["unet"], SCHEDULE, self.weights, names, folder)
