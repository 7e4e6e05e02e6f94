"""What makes a GPU quicker changes no picture, and is chosen by what is there. Without a GPU the choice is put to the test
with a card and a package that are only said to be there; the ways that a CPU has too are gone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import FluxTransformer2DModel
from tiny_images import MAKERS, pixels

from aigc_demo.device import Device, choose
from aigc_demo.generators import diffusion_speed
from aigc_demo.generators.diffusion import generate
from aigc_demo.generators.diffusion_model import ImageModel, load
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.results import finish
from aigc_demo.ui.facts import image_facts
from aigc_demo.words import Words

CPU = choose("cpu", "float32")
GPU = Device("cuda", "a GPU", "float16", Words("", ""))
REQUEST = ImageParams(prompt="a cat", num_inference_steps=3, seed=5, num_images=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKERS["sdxl"](tmp_path_factory.mktemp("speed") / "sdxl")


def flux() -> FluxTransformer2DModel:
    torch.manual_seed(0)
    return FluxTransformer2DModel(
        in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=16, pooled_projection_dim=16, axes_dims_rope=(2, 2, 4),
    ).eval()  # fmt: skip


def denoised(denoiser: FluxTransformer2DModel) -> torch.Tensor:
    chance = torch.Generator().manual_seed(1)
    with torch.no_grad():
        return denoiser(
            hidden_states=torch.randn(1, 16, 4, generator=chance),
            encoder_hidden_states=torch.randn(1, 6, 16, generator=chance),
            pooled_projections=torch.randn(1, 16, generator=chance),
            timestep=torch.tensor([0.5]), img_ids=torch.zeros(16, 3), txt_ids=torch.zeros(6, 3), guidance=None,
        ).sample  # fmt: skip


# What a GPU is fast in must not be another picture; and a CPU keeps to the roundings of the bare call.
def test_the_order_of_weights_changes_no_picture(folder: Path) -> None:
    model = load(folder, CPU)
    before = pixels(model, REQUEST)
    stored = model.pipeline.unet.conv_in.weight
    diffusion_speed.lay_out(model.pipeline, CPU)
    assert stored.is_contiguous()
    diffusion_speed.lay_out(model.pipeline, GPU)
    laid = [
        part.conv_in.weight for part in (model.pipeline.unet, model.pipeline.vae.encoder, model.pipeline.vae.decoder)
    ]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in laid)
    assert np.abs(pixels(model, REQUEST).astype(int) - before).max() <= 1


# A card and a package that together are quicker are used, and any of them alone leaves torch's own way.
@pytest.mark.parametrize(
    ("device", "hopper", "installed", "chosen"),
    [(GPU, True, True, "_flash_3"), (GPU, True, False, "native"), (GPU, False, True, "native"),
     (CPU, True, True, "native")],
)  # fmt: skip
def test_the_attention_is_chosen_by_card_and_package(
    device: Device, hopper: bool, installed: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers.models import attention_dispatch

    monkeypatch.setattr(diffusion_speed, "_hopper", lambda: hopper)
    monkeypatch.setattr(attention_dispatch, "_CAN_USE_FLASH_ATTN_3", installed)
    monkeypatch.setattr(
        attention_dispatch._AttentionBackendRegistry, "_active_backend", attention_dispatch.AttentionBackendName.NATIVE
    )
    pipeline = SimpleNamespace(transformer=flux())
    assert diffusion_speed.attend(pipeline, device) == chosen
    used = {
        part.processor._attention_backend.value for part in pipeline.transformer.modules() if hasattr(part, "processor")
    }
    assert used == {chosen}


# diffusers lets the last choice for one model rule every other: with a mask, the other would fail in the middle of a run.
def test_a_choice_for_one_model_is_none_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry

    monkeypatch.setattr(_AttentionBackendRegistry, "_active_backend", AttentionBackendName.NATIVE)
    told, untold, other = flux(), flux(), flux()
    wanted = denoised(told)
    assert diffusion_speed.attend(SimpleNamespace(transformer=told), CPU) == "native"
    other.set_attention_backend("_native_math")

    def refuse(*_: object, **__: object) -> torch.Tensor:
        raise ValueError("no masks")

    monkeypatch.setitem(_AttentionBackendRegistry._backends, AttentionBackendName._NATIVE_MATH, refuse)
    with pytest.raises(ValueError, match="no masks"):
        denoised(untold)
    assert (denoised(told) == wanted).all()


# A reader of the facts learns of an attention that is not torch's own.
def test_the_facts_name_another_attention(folder: Path) -> None:
    model = load(folder, CPU)
    assert "attention" not in finish(generate(REQUEST, model)).figures
    model.attention = "_flash_3"
    figures = finish(generate(REQUEST, model)).figures
    assert "attention by FlashAttention 3" in image_facts({"figures": figures}, "en")


# Who asks for it gets compiled blocks, the pictures of before, and is told; nobody else waits for a compiler.
def test_blocks_are_compiled_where_that_is_wanted(folder: Path) -> None:
    def blocks(model: ImageModel) -> list[bool]:
        return [
            part._compiled_call_impl is not None
            for part in model.pipeline.unet.modules()
            if type(part).__name__ == "BasicTransformerBlock"
        ]

    plain = load(folder, CPU)
    assert blocks(plain)
    assert not any(blocks(plain))
    wanted = replace(CPU, compiled=True)
    asked = load(folder, wanted)
    assert all(blocks(asked))
    assert asked.compiled
    # torch's tracer without its compiler, which needs a C++ compiler that not every machine has
    assert diffusion_speed.compile_blocks(plain.pipeline, wanted, "eager")
    plain.compiled = True
    done = finish(generate(REQUEST, plain))
    made = np.stack([np.asarray(one.image) for one in done.value.pictures])
    assert np.abs(made.astype(int) - pixels(load(folder, CPU), REQUEST)).max() <= 1
    assert "compiled blocks" in image_facts({"figures": done.figures}, "en")
