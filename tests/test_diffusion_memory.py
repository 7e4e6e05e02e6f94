"""A model larger than the device, a picture larger than what is free: the same pictures come out, and nothing stays.

There is no GPU here: turns are taken on the CPU, which moves nothing but goes every way that a GPU would.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_images import MAKERS, SIDE, pixels

from aigc_demo.device import Device, choose
from aigc_demo.engine import Engine
from aigc_demo.errors import OutOfMemory
from aigc_demo.generators import diffusion_memory, diffusion_rows
from aigc_demo.generators.diffusion import generate
from aigc_demo.generators.diffusion_model import ImageModel, load
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.generators.diffusion_rows import IMAGES, MODELS
from aigc_demo.models import GIB, HEADROOM
from aigc_demo.results import Step, finish
from aigc_demo.settings import Settings
from aigc_demo.words import Words

CPU = choose("cpu", "float32")
GPU = Device("cuda", "a small GPU", "float16", Words("", ""))
REQUEST = ImageParams(prompt="a cat", num_inference_steps=3, seed=5, num_images=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKERS["sdxl"](tmp_path_factory.mktemp("memory") / "sdxl")


@pytest.fixture(scope="module")
def whole(folder: Path) -> ImageModel:
    return load(folder, CPU)


@pytest.fixture
def turning(folder: Path) -> ImageModel:
    return load(folder, CPU, turns=True)


def hooked(model: ImageModel) -> list[str]:
    """The parts that wait to be moved to a device."""
    return [name for name, part in model.pipeline.components.items() if hasattr(part, "_hf_hook")]


# Who has a small GPU gets the pictures of a large one.
def test_parts_in_turns_make_the_same_pictures(whole: ImageModel, turning: ImageModel) -> None:
    assert (pixels(turning, REQUEST) == pixels(whole, REQUEST)).all()
    assert hooked(turning) == []
    assert finish(generate(REQUEST, turning)).figures["in_turns"] is True
    assert "in_turns" not in finish(generate(REQUEST, whole)).figures


# Stop in the middle must not leave half a model on the GPU, nor the lock closed.
def test_stopping_gives_the_device_back(whole: ImageModel, turning: ImageModel) -> None:
    asked = iter([False, True])
    assert finish(generate(REQUEST, turning, lambda: next(asked))).value.finish == "stopped"
    assert hooked(turning) == []
    closed = generate(REQUEST, turning)
    next(closed)
    assert hooked(turning) != []
    closed.close()  # type: ignore[attr-defined] # a generator
    assert hooked(turning) == []
    assert (pixels(turning, REQUEST) == pixels(whole, REQUEST)).all()


# Two people at once would move the parts away from under each other.
def test_two_runs_take_turns_and_the_second_can_leave(turning: ImageModel) -> None:
    first, second, third = (generate(REQUEST, turning) for _ in range(3))
    next(first)
    waiting = next(second)
    assert isinstance(waiting, Step)
    assert waiting.stage == "wait"
    second.close()  # type: ignore[attr-defined] # a generator
    made: list[Any] = []
    thread = threading.Thread(target=lambda: made.append(finish(third)))
    thread.start()
    finish(first)
    thread.join(20)
    assert made[0].value.finish == "end"


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda count: monkeypatch.setattr(Device, "free_memory", lambda self: int(count))


# Where the decoder would not fit, it works in pieces; the recipe says so, and the next run is not told of it.
def test_decoding_goes_by_what_is_free(whole: ImageModel, free: Any) -> None:
    vae = whole.pipeline.vae
    large = ImageParams(prompt="a cat", num_inference_steps=1, seed=5, num_images=2, width=2 * SIDE, height=2 * SIDE)
    one = diffusion_memory.decoding(vae, large.width, large.height)
    plain = pixels(whole, large)

    free(2 * one)
    done = finish(generate(large, whole))
    assert "decoded" not in done.figures
    free(one)
    done = finish(generate(large, whole))
    assert done.figures["decoded"] == diffusion_memory.SINGLY
    assert (np.stack([np.asarray(p.image) for p in done.value.pictures]) == plain).all()
    free(one - 1)
    done = finish(generate(large, whole))
    assert done.figures["decoded"] == diffusion_memory.TILES
    assert np.abs(np.stack([np.asarray(p.image) for p in done.value.pictures]).astype(int) - plain).mean() < 16
    assert not vae.use_tiling
    assert not vae.use_slicing


# The estimate is of use only if it lies above what decoding takes, and not far above.
def test_the_estimate_of_decoding_holds() -> None:
    from diffusers import AutoencoderKL

    kinds: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
    }
    vae = AutoencoderKL(block_out_channels=(32, 64), layers_per_block=2, latent_channels=4, **kinds).eval()
    side = 128
    with (
        torch.no_grad(),
        torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as run,
    ):
        vae.decode(torch.zeros(1, 4, side // 2, side // 2))
    live = peak = 0
    for event in run.profiler.kineto_results.events():  # type: ignore[union-attr] # it has run
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    estimate = diffusion_memory.decoding(vae, side, side)
    assert 0.5 * estimate < peak <= estimate


# The list says what fits before gigabytes are fetched: on a GPU the largest part counts, on a CPU all of it.
def test_a_row_fits_where_its_largest_part_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Device, "total_memory", lambda self: 12 * GIB)
    sdxl, flux = MODELS["sdxl"], MODELS["flux-schnell"]
    assert sdxl.shortfall(GPU) == 0
    assert flux.shortfall(GPU) == flux.largest * 2 - int(12 * GIB * HEADROOM)  # type: ignore[operator] # it is known
    assert sdxl.least_memory(CPU) == sdxl.memory_need(CPU)
    for row in MODELS.values():
        assert row.largest is None or row.parameters is None or row.largest < row.parameters


# What fits whole is loaded whole; what does not takes turns; what fits neither way is told before it is tried.
def test_the_way_to_load_goes_by_what_is_free(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = diffusion_memory.numbers(folder)
    assert set(parts) == {"text_encoder", "text_encoder_2", "unet", "vae"}
    whole, largest = sum(parts.values()) * 2, max(parts.values()) * 2
    room = diffusion_memory.room(GPU, diffusion_rows.UNKNOWN_SIDE)
    loaded: list[bool] = []

    def told(_folder: Path, _device: Device, _side: Any, _guided: Any, turns: bool = False) -> ImageModel:
        loaded.append(turns)
        return load(folder, CPU)

    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "xl").symlink_to(folder)
    monkeypatch.setattr(diffusion_rows, "load", told)
    monkeypatch.setattr(Device, "total_memory", lambda self: GIB * 1024)
    monkeypatch.setattr(Device, "release_cached_memory", lambda self: None)

    def run(free: int) -> Any:
        engine = Engine(Settings(models_dir=tmp_path / "models", cache_dir=tmp_path, offline=True))
        engine.device = GPU  # type: ignore[misc] # in place of the one that would be chosen
        monkeypatch.setattr(Device, "free_memory", lambda self: free)
        return finish(engine.run(IMAGES, ImageParams(prompt="a cat", model="./xl", num_inference_steps=1)))

    file_bytes = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    run(file_bytes + room)
    run(largest + room)
    assert loaded == [False, True]
    assert whole < file_bytes  # it was saved in float32
    with pytest.raises(OutOfMemory):
        run(largest + room - 1)
    monkeypatch.setattr(Device, "free_machine_memory", lambda self: whole - 1)
    with pytest.raises(OutOfMemory):
        run(largest + room)
    assert loaded == [False, True]
