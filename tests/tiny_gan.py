"""A tiny random adversarial pair, as the folder in which a trained one ships."""

from __future__ import annotations

from pathlib import Path

import torch


def make_gan(folder: Path, seed: int = 0) -> Path:
    from aigc_demo.nets.gan import Discriminator, Generator

    torch.manual_seed(seed)
    generator, discriminator = Generator(16, (16, 8, 8, 8)), Discriminator((8, 8, 8, 16))
    with torch.no_grad():
        generator.mean_w.copy_(generator.mapping(torch.randn(256, 16)).mean(0))
        for stage in discriminator.stages:
            torch.nn.init.normal_(stage[0].second.weight, std=0.2)
    generator.half().save_pretrained(folder / "generator")
    discriminator.half().save_pretrained(folder / "discriminator")
    return folder
