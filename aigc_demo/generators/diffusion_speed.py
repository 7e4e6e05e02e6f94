"""What makes a diffusion model quicker on the GPU that there is, chosen once, when it is loaded. No picture changes by more
than roundings."""

from __future__ import annotations

from typing import Any

from aigc_demo.device import Device

TORCHS, HOPPERS = "native", "_flash_3"
"""diffusers' names of torch's own attention, which brings FlashAttention 2 and cuDNN's, and of FlashAttention 3."""
WITHOUT_MASK = ("FluxTransformer2DModel",)
"""Denoisers whose every word is read by every pixel: FlashAttention 3 knows no masks, and diffusers refuses it others."""


def lay_out(pipeline: Any, device: Device) -> None:
    """Put the weights of convolutions in the order that a GPU's units for 16 bits take them in. Else cuDNN turns them, and
    every picture, at each step. On a CPU it gave 3 to 7%, and other roundings: left out there."""
    import torch

    if device.kind != "cuda":
        return
    for part in (getattr(pipeline, name, None) for name in ("unet", "vae")):
        if isinstance(part, torch.nn.Module):
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # its stub wants four dimensions


def attend(pipeline: Any, device: Device) -> str:
    """Choose who computes a transformer's attention, by what is installed and what the GPU can; returns diffusers' name.

    FlashAttention 3 (the package flash_attn_3) is made for NVIDIA's Hopper, and quicker there than what torch brings. Who
    sets DIFFUSERS_ATTN_BACKEND has chosen already.
    """
    from diffusers.utils.constants import DIFFUSERS_ATTN_BACKEND

    denoiser: Any = getattr(pipeline, "transformer", None)
    if not hasattr(denoiser, "set_attention_backend"):
        return TORCHS
    # said to each, because diffusers gives a model of which nothing was said whatever was last chosen for another
    denoiser.set_attention_backend(DIFFUSERS_ATTN_BACKEND)
    fits = type(denoiser).__name__ in WITHOUT_MASK and device.kind == "cuda" and device.bytes_per_number == 2
    if DIFFUSERS_ATTN_BACKEND != TORCHS or not fits or not _hopper():
        return DIFFUSERS_ATTN_BACKEND
    try:
        denoiser.set_attention_backend(HOPPERS)
    except RuntimeError:  # it is not installed
        return TORCHS
    return HOPPERS


def compile_blocks(pipeline: Any, device: Device, backend: str = "inductor") -> bool:
    """Have torch.compile translate the blocks that the denoiser is made of, where that is wanted, on their first use: one
    translation serves all of them, so it takes seconds where the whole takes minutes. Whether there are such blocks."""
    denoiser: Any = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    if not device.compiled or not getattr(denoiser, "_repeated_blocks", None):
        return False
    denoiser.compile_repeated_blocks(backend=backend)
    return True


def _hopper() -> bool:
    import torch

    return torch.cuda.get_device_capability(0)[0] == 9
