"""How a diffusion model gets by with the memory that there is: decided from what is free, before it runs out.

    its parts together on the device, or in turns;  many pictures through the denoiser at once, or few;
    their latents decoded together, one by one, or in overlapping tiles

Only tiles change pixels, and only where a tile's edge is: the recipe says when they were used.
"""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aigc_demo.device import Device

TOGETHER, SINGLY, TILES = "together", "one by one", "in tiles"
AT_ONCE = {"cpu": 512 * 512, "mps": 512 * 512, "cuda": 4 * 1024 * 1024}
"""Pixels of the pictures that go through the denoiser together at most; more go in turns."""
A_PIXEL = 3500
"""Bytes that a guided picture's pixel costs on a GPU beside the weights: what peaks told for Stable Diffusion 1.5 and XL
in 16 bits leave over their weights. Not measured here."""
MAPS = 4
"""Feature maps of full size, in the second block's width, that a decoder holds at its peak: into its last block go three
of them, and the convolution's own workspace is about one more."""
PATIENCE = 0.1
"""Seconds between two looks whether a model that runs one at a time is free."""


def room(device: Device, side: int) -> int:
    """Bytes that one picture of its own size needs beside the weights. On a CPU weights and work share one memory that
    is nearly always large enough; nothing is reserved there."""
    return side * side * A_PIXEL if device.kind == "cuda" else 0


def at_once(device: Device, width: int, height: int) -> int:
    """How many pictures may go through the denoiser together; at least one is tried."""
    pixels = AT_ONCE[device.kind]
    if device.kind == "cuda":
        pixels = min(pixels, device.free_memory() // A_PIXEL)
    return max(1, pixels // (width * height))


def numbers(folder: Path) -> dict[str, int]:
    """Part of a pipeline's folder -> how many numbers its weights hold, from the files' headers."""
    from safetensors import safe_open

    found: dict[str, int] = {}
    for file in sorted(folder.glob("*/*.safetensors")):
        with safe_open(file, framework="np") as opened:
            count = sum(math.prod(opened.get_slice(name).get_shape()) for name in opened.keys())  # noqa: SIM118 - no mapping
        found[file.parent.name] = found.get(file.parent.name, 0) + count
    return found


def in_turns(folder: Path, device: Device) -> int | None:
    """Bytes of the device that the folder's largest part takes, which is all there is on it at a time; None where turns
    are no help: on a CPU, or where the machine's memory cannot hold the parts that wait."""
    parts = numbers(folder)
    if device.kind != "cuda" or len(parts) < 2:
        return None
    if sum(parts.values()) * device.bytes_per_number > device.free_machine_memory():
        return None
    return max(parts.values()) * device.bytes_per_number


@contextmanager
def taking_turns(pipeline: Any, lock: threading.Lock, kind: str, waiting: Callable[[], None]) -> Iterator[None]:
    """For the time of a run: diffusers moves each part to the device when it is called, and back when the next is. The
    parts are shared, so one run at a time; `waiting` is called again and again until it is this one's turn."""
    while not lock.acquire(timeout=PATIENCE):
        waiting()
    try:
        pipeline.enable_model_cpu_offload(device=kind)
        yield
    finally:
        pipeline.remove_all_hooks()
        pipeline.to("cpu", silence_dtype_warnings=True)
        lock.release()


def decode_frugally(pipeline: Any, device: Device, width: int, height: int, count: int) -> str:
    """Set up the pipeline's decoder for `count` pictures of this size by what is free now; returns how."""
    vae = getattr(pipeline, "vae", None)
    if vae is None or not hasattr(vae, "enable_tiling"):
        return TOGETHER
    free, need = device.free_memory(), decoding(vae, width, height)
    if need * count <= free:
        return TOGETHER
    # what it is told is this run's business: a module of its own over the shared weights
    vae = copy.copy(vae)
    pipeline.vae = vae
    if count > 1:
        vae.enable_slicing()
    if need <= free:
        return SINGLY
    vae.enable_tiling()
    return TILES


def spared(decoded: str, turns: bool) -> dict[str, Any]:
    """What a recipe tells of it; nothing where nothing had to be spared."""
    return ({"decoded": decoded} if decoded != TOGETHER else {}) | ({"in_turns": True} if turns else {})


def decoding(vae: Any, width: int, height: int) -> int:
    """Bytes that decoding one picture takes at its peak."""
    config = vae.config
    blocks: Any = getattr(config, "block_out_channels", None) or getattr(config, "decoder_block_out_channels", (256,))
    widest = blocks[min(1, len(blocks) - 1)]
    upcast = getattr(config, "force_upcast", False) and vae.dtype.itemsize == 2
    return width * height * widest * MAPS * (4 if upcast else vae.dtype.itemsize)
