"""Latent space: what our walk costs beside one bare decode of the same latents, and animations.

A few latents at a time fit a processor's cache, which 64 do not: the second way tells how much of our speed is that.

python -m benchmarks.latent [--rounds 7] [--model emoji-vae] [--frames 64]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from aigc_demo import animation
from aigc_demo.engine import Engine
from aigc_demo.generators import paths
from aigc_demo.generators.latent import WalkParams, walk
from aigc_demo.generators.latent_model import load
from aigc_demo.generators.latent_pictures import batch_of, squared, tensor
from aigc_demo.generators.latent_rows import WALK
from aigc_demo.results import finish
from aigc_demo.settings import Settings
from aigc_demo.weights import obtain
from aigc_demo.worker import iterate_on_worker
from benchmarks.compare import Wanted, compare

SIDE = 256
ENCODED = 2.0
"""Seconds that 60 frames of 256 px may take to become a file."""


def main() -> int:
    from PIL import Image

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--model", default="emoji-vae")
    options = parser.parse_args()
    engine = Engine(Settings())
    model = load(finish(obtain(engine.spec(WALK, options.model).source, engine.places)).value.folder, engine.device)
    print(f"{options.model} · {model.device.name} · {model.device.dtype} · {model.side} px · {options.frames} frames")
    dice = np.random.default_rng(0)
    given = [
        Image.fromarray(dice.integers(0, 256, (4, 4, 3), np.uint8)).resize((model.side,) * 2, Image.Resampling.BICUBIC)
        for _ in range(2)
    ]
    request = WalkParams(images=given, frames=options.frames)

    def latents() -> Any:
        import torch

        points = model.encode(tensor([squared(one, model, 0) for one in given]))[0]
        places = paths.places(2, options.frames, "even", False)
        return torch.stack([paths.point(points, paths.LINEAR, *place, False) for place in places])

    def bare(z: Any) -> Any:
        import torch

        with torch.no_grad():
            return model.net.decode(z) if model.kind == "vector" else model.net.decode(z.to(model.net.dtype)).sample

    def on_thread(work: Callable[[], Any]) -> Any:
        """On a fresh thread, as the app does, so that every way has the same kind of OpenMP team."""
        return next(iter(iterate_on_worker(lambda: iter([work()]))))

    import torch

    with torch.no_grad():
        z = latents()

    def rate(seconds: float) -> float:
        return options.frames / seconds

    def bare_rate(parts: list[Any]) -> float:
        begun = time.perf_counter()
        on_thread(lambda: [bare(part) for part in parts])
        return rate(time.perf_counter() - begun)

    few_at_once = list(z.split(batch_of(model, (model.side, model.side))))

    fine = compare(
        "one bare decode of all latents",
        {
            "one bare decode of all latents": lambda: bare_rate([z]),
            "bare decodes of as few as walk() takes": lambda: bare_rate(few_at_once),
            "walk(), cross-fade and changes included": lambda: rate(finish(walk(request, model)).timings["decode"]),
        },
        [Wanted("walk(), cross-fade and changes included", 0.9)],
        rounds=options.rounds,
        unit="frames/s",
    )
    few = WalkParams(images=given, frames=16)
    taken = statistics.median(finish(walk(few, model)).timings["total"] for _ in range(options.rounds))
    print(f"\n16 frames, two encodings included: {taken:.3f} s (wanted <= 1)")
    fine &= taken <= 1
    fine &= animated(options.rounds)
    return 0 if fine else 1


def animated(rounds: int) -> bool:
    from PIL import Image

    ramp = np.linspace(0, 1, SIDE)
    frames = []
    for n in range(60):
        waves = np.stack(
            [np.outer(np.sin(6 * ramp + n / 9) / 2 + 0.5, ramp), np.outer(ramp, ramp), np.outer(ramp, 1 - ramp)], -1
        )
        frames.append(Image.fromarray((waves * 255).astype(np.uint8)))
    fine = True
    print(f"\n60 frames of {SIDE} px as a file (seconds, median of {rounds}; wanted <= {ENCODED:g})")
    for name, write in animation.FORMATS.items():
        times = []
        for _ in range(rounds):
            begun = time.perf_counter()
            write(frames, 24, {})
            times.append(time.perf_counter() - begun)
        fine &= statistics.median(times) <= ENCODED
        print(f"{name:6} {statistics.median(times):.3f}  {min(times):.3f}..{max(times):.3f}")
    return fine


if __name__ == "__main__":
    sys.exit(main())
