"""A GPU: how long a picture of a Stable Diffusion class model takes here and with plain diffusers, split into its stages.

    python -m benchmarks.gpu [--models sd-turbo sd-1.5 sdxl] [--sides 512 1024] [--steps 1 4 30] [--rounds 3]
                             [--narrow 16 --device cpu]

The models have their real sizes and random weights. "Plain" is diffusers by default, which computes in float32;
"in 16 bits" is the same told to compute in what we choose. Ours runs with previews; "compiled" is ours with torch.compile of the
denoiser's repeated blocks, after a first picture that is not timed. How far a picture is from plain diffusers' is told in
256ths of the brightest: with random weights roundings grow as they never do in a model that has learnt something. With
--narrow the models are thinner, to try this file on a CPU; such figures mean nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aigc_demo import png
from aigc_demo.device import Device, choose
from aigc_demo.generators.diffusion import generate
from aigc_demo.generators.diffusion_model import ImageModel, load
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.results import Done, finish
from benchmarks.gpu_models import SIZES, make

if TYPE_CHECKING:
    import torch

WANTED, AT = 1.5, 30
"""Times plain diffusers' speed, at so many steps."""
PROMPT, SEED, GUIDANCE = "a cat on a chair", 7, 5.0


@dataclass(frozen=True)
class Task:
    side: int
    steps: int

    def request(self) -> ImageParams:
        return ImageParams(
            prompt=PROMPT, num_inference_steps=self.steps, guidance_scale=GUIDANCE, seed=SEED,
            width=self.side, height=self.side,
        )  # fmt: skip


def plain(folder: Path, device: Device, dtype: torch.dtype) -> Callable[[Task], np.ndarray]:
    """diffusers' own call."""
    import torch
    from diffusers import DiffusionPipeline

    pipeline: Any = DiffusionPipeline.from_pretrained(folder, use_safetensors=True, dtype=dtype).to(device.kind)
    pipeline.set_progress_bar_config(disable=True)

    def draw(task: Task) -> np.ndarray:
        made = pipeline(
            PROMPT, num_inference_steps=task.steps, guidance_scale=GUIDANCE, width=task.side, height=task.side,
            generator=torch.Generator("cpu").manual_seed(SEED),
        )  # fmt: skip
        return np.asarray(made.images[0])

    return draw


def ours(model: ImageModel, task: Task) -> Done[Any]:
    return finish(generate(task.request(), model))


def stages(done: Done[Any]) -> dict[str, float]:
    """Seconds of each stage of a run, and of writing its file."""
    told = done.timings
    begun = time.perf_counter()
    png.write(done.value.pictures[0].image, {"settings": {"prompt": PROMPT}})
    file = time.perf_counter() - begun
    # the first step's end holds the encoding too; the steps in between say what a step alone takes
    step = told["per_step"] or told["first_step"]
    steps = done.figures["steps"]
    return {
        "encode": max(0.0, told["first_step"] - step),
        "denoise": step * steps,
        "decode": told["decode"],
        "file": file,
    }


def seconds(work: Callable[[], Any], rounds: int) -> float:
    """Median, after one that is not counted."""
    taken = []
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[1:])


def apart(one: np.ndarray, other: np.ndarray) -> str:
    off = np.abs(one.astype(int) - other.astype(int))
    return f"{off.mean():.1f} (at most {off.max()})"


def table(name: str, folder: Path, device: Device, tasks: list[Task], rounds: int) -> bool:
    """Print one model's rows; whether ours reached what is wanted. Models are in memory one after the other."""
    import torch

    fine = True
    found: dict[Task, dict[str, float]] = {task: {} for task in tasks}
    pictures: dict[Task, dict[str, np.ndarray]] = {task: {} for task in tasks}
    for way, dtype in (("plain", torch.float32), ("in 16 bits", device.torch_dtype)):
        draw: Any = plain(folder, device, dtype)
        for task in tasks:
            found[task][way] = seconds(partial(draw, task), rounds)
            pictures[task][way] = draw(task)
        draw = None  # the next needs the room
        device.release_cached_memory()
    model = load(folder, device)
    split: dict[Task, dict[str, float]] = {}
    for way in ("ours", "compiled"):
        if way == "compiled":
            model.pipeline.unet.compile_repeated_blocks()
        for task in tasks:
            found[task][way] = seconds(partial(ours, model, task), rounds)
            done = ours(model, task)
            pictures[task][way] = np.asarray(done.value.pictures[0].image)
            split.setdefault(task, stages(done))
    for task in tasks:
        taken = found[task]
        print(f"\n{name} · {task.side} px · {task.steps} steps")
        for way, value in taken.items():
            far = "" if way == "plain" else f"  from plain {apart(pictures[task][way], pictures[task]['plain'])}"
            print(f"  {way:12} {value:8.3f} s  {taken['plain'] / value:5.2f} x{far}")
        print("  ours, split  " + "  ".join(f"{stage} {value:.3f}" for stage, value in split[task].items()))
        if task.steps == AT:
            reached = taken["plain"] / taken["ours"] >= WANTED
            fine &= reached
            print(f"  at least {WANTED} times plain: {'ok' if reached else 'MISSED'}")
    torch.compiler.reset()
    return fine


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--sides", nargs="+", type=int, default=[512, 1024])
    parser.add_argument("--steps", nargs="+", type=int, default=[1, 4, 30])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--narrow", type=int, default=1)
    options = parser.parse_args()
    device = choose(options.device)
    tasks = [Task(side, steps) for side in options.sides for steps in options.steps]
    print(
        f"{device.name} · {device.dtype} · random weights"
        + (f" · 1/{options.narrow} of the widths" * (options.narrow > 1))
    )
    fine = True
    for name in options.models:
        device.release_cached_memory()
        with tempfile.TemporaryDirectory() as place:
            folder = make(name, Path(place) / name, device.kind, options.narrow)
            fine &= table(name, folder, device, tasks, options.rounds)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
