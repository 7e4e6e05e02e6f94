"""Tiny random diffusion pipelines, saved as folders: the real classes, a few kilobytes each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

SIDE = 16
"""Pixels of what they paint by default: a latent of 8x8, halved once by the encoder."""


def _tokenizer(folder: Path) -> Any:
    """CLIP's own class over single bytes."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(words)}), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=24)


def _text_encoder(tokenizer: Any, projection: bool, width: int = 16) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width,
        projection_dim=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=24,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config).eval()


def _vae(channels: int = 4, **more: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(4, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=2,
        sample_size=SIDE,
        **more,
    ).eval()


def _unet(**more: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=SIDE // 2,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=2,
        **more,
    ).eval()


def make_stable_diffusion(folder: Path, seed: int = 0, **schedule: Any) -> Path:
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    torch.manual_seed(seed)
    tokenizer = _tokenizer(folder.parent / f"{folder.name}-words")
    pipeline = StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=_text_encoder(tokenizer, projection=False),
        tokenizer=tokenizer,
        unet=_unet(cross_attention_dim=16),
        scheduler=DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False, steps_offset=1, **schedule),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def make_stable_diffusion_xl(folder: Path, seed: int = 0) -> Path:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    torch.manual_seed(seed)
    tokenizer = _tokenizer(folder.parent / f"{folder.name}-words")
    pipeline = StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=_text_encoder(tokenizer, projection=False),
        text_encoder_2=_text_encoder(tokenizer, projection=True),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=_unet(
            cross_attention_dim=32,
            addition_embed_type="text_time",
            addition_time_embed_dim=4,
            transformer_layers_per_block=(1, 1),
            projection_class_embeddings_input_dim=6 * 4 + 16,
        ),
        scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="leading"),
        force_zeros_for_empty_prompt=True,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def _t5() -> tuple[Any, Any]:
    """(tokenizer, encoder) of the third kind of text tower."""
    from tokenizers import Tokenizer
    from tokenizers.models import Unigram
    from transformers import T5Config, T5EncoderModel, T5TokenizerFast

    words = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((chr(c), -1.0) for c in range(32, 127))]
    tokenizer = T5TokenizerFast(tokenizer_object=Tokenizer(Unigram(words, unk_id=2)), extra_ids=0)
    config = T5Config(
        vocab_size=len(words), d_model=32, d_kv=8, d_ff=16, num_layers=1, num_heads=2, pad_token_id=0, eos_token_id=1
    )
    return tokenizer, T5EncoderModel(config).eval()


def make_stable_diffusion_3(folder: Path, seed: int = 0) -> Path:
    """A flow-matching transformer."""
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    torch.manual_seed(seed)
    tokenizer = _tokenizer(folder.parent / f"{folder.name}-words")
    t5_words, t5 = _t5()
    transformer = SD3Transformer2DModel(
        sample_size=SIDE // 2,
        patch_size=1,
        in_channels=16,
        out_channels=16,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pooled_projection_dim=32,
    )
    pipeline = StableDiffusion3Pipeline(
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_vae(16, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06, scaling_factor=1.5),
        text_encoder=_text_encoder(tokenizer, projection=True),
        tokenizer=tokenizer,
        text_encoder_2=_text_encoder(tokenizer, projection=True),
        tokenizer_2=tokenizer,
        tokenizer_3=t5_words,
        text_encoder_3=t5,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


MAKERS = {"sd": make_stable_diffusion, "sdxl": make_stable_diffusion_xl, "sd3": make_stable_diffusion_3}


def pixels(model: Any, request: Any) -> Any:
    """uint8 [n, h, w, 3]: what a model loaded from such a folder paints for a request."""
    import numpy as np

    from aigc_demo.generators.diffusion import generate
    from aigc_demo.results import finish

    return np.stack([np.asarray(one.image) for one in finish(generate(request, model)).value.pictures])
