"""From a trained module to a folder that ships: fp16 safetensors that the public classes load, offline."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aigc_demo.generators import witness

SHARD = "9MB"
CARD = ("README.md", "figures.json", "training.json")


def clip(model: Any, tokenizer: Any, folder: Path) -> None:
    """A CLIPModel folder with its tokenizer and image processor."""
    from transformers import CLIPImageProcessor

    from aigc_demo.training import tokens

    stored = half(model)
    for aid in ("anchors", "guide"):
        if hasattr(stored, aid):
            delattr(stored, aid)
    stored.save_pretrained(folder, max_shard_size=SHARD)
    write_dtype(folder / "config.json", ("text_config", "vision_config"))
    tokens.save(tokenizer, folder)
    side = model.config.vision_config.image_size
    CLIPImageProcessor(
        size={"height": side, "width": side},
        crop_size={"height": side, "width": side},
        do_center_crop=False,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    ).save_pretrained(folder)


def half(model: Any) -> Any:
    """A copy of a module on the CPU in float16, as it is stored."""
    import torch

    return copy.deepcopy(model).to("cpu", torch.float16)


def write_dtype(path: Path, parts: tuple[str, ...] = ()) -> None:
    """Say float32 in a config: without it transformers takes the dtype of the file, and fp16 fails on CPUs."""
    config = json.loads(path.read_text(encoding="utf-8"))
    for block in (config, *(config[part] for part in parts if part in config)):
        block["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def vae(model: Any, pictures: Any, folder: Path) -> None:
    """An AutoencoderKL folder whose latents have mean 0 and deviation 1 per channel on `pictures`.

    The pipelines ignore `shift_factor`, so the whitening is folded into the two 1x1 convolutions around
    the latent, and scaling_factor is 1.
    """
    import torch

    model = copy.deepcopy(model).float()
    with torch.no_grad():
        latents = torch.cat([model.encode(part).latent_dist.mean for part in pictures.split(16)])
        mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
        into, out = model.quant_conv, model.post_quant_conv
        n = len(mean)
        # z = (m - mean) / deviation for the means; the log variances fall by twice the logarithm
        into.weight[:n] /= deviation[:, None, None, None]
        into.bias[:n] = (into.bias[:n] - mean) / deviation
        into.bias[n:] -= 2 * deviation.log()
        # and m = z * deviation + mean before what post_quant_conv did
        out.bias += out.weight[:, :, 0, 0] @ mean
        out.weight *= deviation[None, :, None, None]
    half(model).save_pretrained(folder, max_shard_size=SHARD)


def vector_vae(model: Any, pictures: Any, folder: Path) -> None:
    """A VectorVae folder whose latent is a unit normal as far as `pictures` say."""
    import torch

    model = copy.deepcopy(model).float()
    with torch.no_grad():
        means, log_variances = zip(*[model.encode(part) for part in pictures.split(64)], strict=True)
        model.whiten(torch.cat(means), torch.cat(log_variances), pictures)
    half(model).save_pretrained(folder)


def diffusion(
    unet: Any, schedule: dict[str, Any], weights: Path, names: Mapping[str, Sequence[str]], folder: Path
) -> None:
    """A whole StableDiffusionPipeline folder. names: language -> what it learnt to draw.

    Its text_encoder folder holds all of emoji-clip: CLIPTextModel takes its own part of such a folder, so the
    other tower needs no second copy of the words. For the same reason `vae` is all that there is of emoji-vae. Both
    bring their cards.
    """
    import shutil

    from diffusers import DDIMScheduler, StableDiffusionPipeline

    from aigc_demo.training.registry import require
    from aigc_demo.training.shipped import load_clip, load_vae

    reader, autoencoder = require(weights, "emoji-clip"), require(weights, "emoji-vae")
    model, tokenizer = load_clip(reader)
    from transformers import CLIPTextModel

    pipeline: Any = StableDiffusionPipeline(
        vae=load_vae(autoencoder),
        text_encoder=CLIPTextModel(model.config.text_config),
        tokenizer=tokenizer,
        unet=half(unet),
        scheduler=DDIMScheduler(**schedule),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True, max_shard_size=SHARD)
    for part in ("text_encoder", "vae", "tokenizer"):
        shutil.rmtree(folder / part)
    from aigc_demo.training import tokens

    clip(model, tokenizer, folder / "text_encoder")
    tokens.save(tokenizer, folder / "tokenizer")
    shutil.copytree(autoencoder, folder / "vae")
    for card in CARD:
        if (reader / card).exists():
            shutil.copy(reader / card, folder / "text_encoder")
    witness.write_names(names, folder)
