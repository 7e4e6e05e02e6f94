"""Tiny random autoencoders of every kind, as folders, for the tests of the Latent tab."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

SIDE = 32


def make_kl(folder: Path) -> Path:
    """AutoencoderKL: pixels / 4, four channels, a posterior."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    AutoencoderKL(
        block_out_channels=(8, 8, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=SIDE,
        mid_block_add_attention=False,
    ).save_pretrained(folder)
    return folder


def make_tiny(folder: Path) -> Path:
    """AutoencoderTiny: pixels / 8, no posterior."""
    from diffusers import AutoencoderTiny

    torch.manual_seed(1)
    AutoencoderTiny(
        encoder_block_out_channels=(8,) * 4,
        decoder_block_out_channels=(8,) * 4,
        num_encoder_blocks=(1,) * 4,
        num_decoder_blocks=(1,) * 4,
    ).save_pretrained(folder)
    return folder


def make_vector(folder: Path) -> Path:
    """VectorVae: eight numbers for a whole picture."""
    from aigc_demo.nets.vectorvae import VectorVae

    torch.manual_seed(2)
    VectorVae(side=SIDE, latent=8, width=8).save_pretrained(folder)
    return folder


MAKERS: dict[str, Callable[[Path], Path]] = {"kl": make_kl, "tiny": make_tiny, "vector": make_vector}
