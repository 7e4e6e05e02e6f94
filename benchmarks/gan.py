"""Adversarial pair: what our samples cost beside the bare generator and discriminator, and how long a page of them takes.

python -m benchmarks.gan [--rounds 15] [--count 64]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from aigc_demo.engine import Engine
from aigc_demo.generators.gan import SampleParams, sample
from aigc_demo.generators.gan_model import AT_ONCE, load
from aigc_demo.generators.gan_rows import GAN
from aigc_demo.results import finish
from aigc_demo.settings import Settings
from aigc_demo.weights import obtain
from aigc_demo.worker import iterate_on_worker
from benchmarks.compare import Wanted, compare

WANTED = 1.0
"""Seconds for 64 samples of 64 px."""


def main() -> int:
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--count", type=int, default=64)
    options = parser.parse_args()
    engine = Engine(Settings())
    model = load(finish(obtain(engine.spec(GAN, "emoji-gan").source, engine.places)).value.folder, engine.device)
    print(f"emoji-gan · {model.device.name} · {model.dtype} · {options.count} samples")
    request = SampleParams(seed=7, num_images=options.count)
    z = torch.stack([model.z(7 + n) for n in range(options.count)]).to(model.device.kind)

    def bare() -> list[Any]:
        """Both nets and nothing else, in the batches that sample() takes."""
        made = []
        with torch.no_grad():
            for part in z.split(AT_ONCE):
                pictures = model.generator(part, request.truncation).clamp(-1, 1)
                made.append((pictures.cpu(), model.discriminator(pictures).cpu()))
        return made

    def rate(work: Callable[[], Any]) -> float:
        begun = time.perf_counter()
        work()
        return options.count / (time.perf_counter() - begun)

    def on_thread(work: Callable[[], Any]) -> Any:
        """On a fresh thread, as the app does, so that every way has the same kind of OpenMP team."""
        return next(iter(iterate_on_worker(lambda: iter([work()]))))

    wanted = torch.cat([scores for _, scores in bare()]).tolist()
    found = finish(sample(request, model)).value.scores
    assert max(abs(a - b) for a, b in zip(wanted, found, strict=True)) < 1e-3, "other pictures than the bare nets'"
    fine = compare(
        "the two nets alone",
        {
            "the two nets alone": lambda: rate(lambda: on_thread(bare)),
            "sample(), seeds and pictures included": lambda: rate(lambda: finish(sample(request, model))),
        },
        [Wanted("sample(), seeds and pictures included", 0.9)],
        rounds=options.rounds,
        unit="samples/s",
    )
    taken = [finish(sample(request, model)).timings["total"] for _ in range(options.rounds)]
    middle = statistics.median(taken)
    print(f"\n{options.count} samples: {middle:.3f} s ({min(taken):.3f}..{max(taken):.3f}; wanted <= {WANTED:g})")
    return 0 if fine and middle <= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
