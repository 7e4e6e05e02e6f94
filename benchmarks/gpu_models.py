"""Stable Diffusion class pipelines of the real sizes with random weights: what they draw is noise, what they cost is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aigc_demo.generators.diffusion_params import SHIPPED

LENGTH = 77
"""Places for words, as these models have them."""
VISION_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
VISION_H = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16}
VISION_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}
FOUR: dict[str, Any] = {
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "sample_size": 64,
}
THREE: dict[str, Any] = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D",) + ("CrossAttnDownBlock2D",) * 2,
    "up_block_types": ("CrossAttnUpBlock2D",) * 2 + ("UpBlock2D",),
    "sample_size": 128,
    "attention_head_dim": (5, 10, 20),
    "transformer_layers_per_block": (1, 2, 10),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 6 * 256 + 1280,
}
SIZES: dict[str, tuple[dict[str, Any], tuple[dict[str, int], ...]]] = {
    "sd-turbo": ({**FOUR, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True}, (VISION_H,)),
    "sd-1.5": ({**FOUR, "attention_head_dim": 8}, (VISION_L,)),
    "sdxl": (THREE, (VISION_L, VISION_G)),
}
"""Name -> the denoiser's and the text encoders' shapes, as the models' own configurations have them."""


def make(name: str, folder: Path, device: str, narrow: int = 1) -> Path:
    """A pipeline's folder, in 16 bits. narrow: divides every width, to try the benchmark where there is no GPU."""
    import torch
    from diffusers import (
        AutoencoderKL,
        EulerDiscreteScheduler,
        StableDiffusionPipeline,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    shape, readers = SIZES[name]
    torch.manual_seed(0)
    tokenizer: Any = AutoTokenizer.from_pretrained(SHIPPED / "tokenizer", model_max_length=LENGTH)
    widths = tuple(width // narrow for width in shape["block_out_channels"])
    heads = shape["attention_head_dim"]
    heads = tuple(max(1, each // narrow) for each in heads) if isinstance(heads, tuple) else max(1, heads // narrow)
    more = {"block_out_channels": widths, "attention_head_dim": heads, "norm_num_groups": max(1, 32 // narrow)}
    pooled = readers[-1]["hidden_size"] // narrow
    if "addition_embed_type" in shape:
        more["projection_class_embeddings_input_dim"] = 6 * shape["addition_time_embed_dim"] + pooled
    with torch.device(device):
        unet = UNet2DConditionModel(
            **{**shape, **more}, cross_attention_dim=sum(reader["hidden_size"] for reader in readers) // narrow
        )
        vae = AutoencoderKL(
            block_out_channels=tuple(width // narrow for width in (128, 256, 512, 512)),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            norm_num_groups=max(1, 32 // narrow),
            sample_size=shape["sample_size"] * 8,
        )
        texts = []
        for number, reader in enumerate(readers):
            config = CLIPTextConfig(
                vocab_size=49408,
                max_position_embeddings=LENGTH,
                projection_dim=reader["hidden_size"] // narrow,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.eos_token_id,
                **{k: v // narrow if k in ("hidden_size", "intermediate_size") else v for k, v in reader.items()},
            )
            config.num_attention_heads = max(1, reader["num_attention_heads"] // narrow)
            texts.append((CLIPTextModelWithProjection if number else CLIPTextModel)(config))
    parts: dict[str, Any] = {
        "unet": unet.half(),
        "vae": vae.half(),
        "text_encoder": texts[0].half(),
        "tokenizer": tokenizer,
        "scheduler": EulerDiscreteScheduler(beta_schedule="scaled_linear", timestep_spacing="trailing", steps_offset=1),
    }
    pipeline: Any
    if len(texts) == 1:
        pipeline = StableDiffusionPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    else:
        pipeline = StableDiffusionXLPipeline(**parts, text_encoder_2=texts[1].half(), tokenizer_2=tokenizer)
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder
