"""Images: what our way costs beside the bare diffusers call, and how long a click takes until there is a picture.

    python -m benchmarks.images [--rounds 7] [--folder assets/weights/emoji-diffusion] [--only run|batch|api|click]

Every way draws the same picture of the same settings on a worker thread; that the pixels are equal is checked before
anything is timed. The click is timed in a headless Chromium, with the model resident, by the page's own clock.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from aigc_demo.device import choose
from aigc_demo.engine import FOLDER
from aigc_demo.generators.diffusion import generate
from aigc_demo.generators.diffusion_model import TEXT, ImageModel, load
from aigc_demo.generators.diffusion_params import SHIPPED, ImageParams
from aigc_demo.results import finish
from aigc_demo.worker import iterate_on_worker
from benchmarks.compare import Wanted, compare
from benchmarks.startup import app, free_port, serving

PROMPT, GUIDANCE, SEED = "cat face, 3D style", 4.0, 7
CLICKS = 7
WATCHED = """async ([button, gallery, film]) => {
    const shown = (at) => { const found = document.querySelector(at); return found && found.src; };
    const before = shown(gallery), begun = performance.now();
    const first = shown(film);
    let preview = null;
    document.querySelector(button).click();
    for (;;) {
        await new Promise(requestAnimationFrame);
        const now = shown(film);
        if (preview === null && now && now !== first) preview = performance.now() - begun;
        const picture = shown(gallery);
        if (picture && picture !== before && document.querySelector(gallery).complete)
            return [preview, performance.now() - begun];
    }
}"""
"""Click, then look at every frame that is painted; milliseconds to the first preview and to the finished picture."""


def bare(model: ImageModel, count: int, steps: int) -> list[Any]:
    """Plain diffusers: the pipeline's own call."""
    import torch

    pipeline = model.run(TEXT, "default")
    with torch.no_grad():
        return pipeline(
            [PROMPT] * count,
            num_inference_steps=steps,
            guidance_scale=GUIDANCE,
            generator=[torch.Generator("cpu").manual_seed(SEED + n) for n in range(count)],
        ).images


def on_thread(work: Callable[[], Any]) -> Any:
    """On a fresh thread, as the app does, so that every way has the same kind of OpenMP team."""
    return next(iter(iterate_on_worker(lambda: iter([work()]))))


def seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def apart(one: list[Any], other: list[Any]) -> int:
    """The largest difference of a channel of a pixel, of 255."""
    return max(
        int(np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).max()) for a, b in zip(one, other, strict=True)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--folder", type=Path, default=SHIPPED)
    parser.add_argument("--only", choices=("run", "batch", "api", "click"), help="one table, for more rounds of it")
    options = parser.parse_args()
    model = load(options.folder, choose("auto", "auto"))
    steps = options.steps
    print(f"{options.folder.name} · {model.device.name} · {model.device.dtype} · {model.side} px · {steps} steps")

    def request(count: int = 1, first: int = SEED) -> ImageParams:
        return ImageParams(
            prompt=PROMPT, num_inference_steps=steps, guidance_scale=GUIDANCE, num_images=count, seed=first
        )

    def ours(asked: ImageParams, previews: bool = True) -> list[Any]:
        return [made.image for made in finish(generate(asked, model, previews=previews)).value.pictures]

    def wanted(table: str) -> bool:
        return options.only in (None, table)

    plain = on_thread(lambda: bare(model, 1, steps))
    assert apart(ours(request(), previews=False), plain) == 0, "ours is another picture than diffusers'"
    assert apart(ours(request()), plain) == 0, "looking inside changes the picture"
    fine = not wanted("run") or compare(
        "bare diffusers call",
        {
            "bare diffusers call": lambda: seconds(lambda: on_thread(lambda: bare(model, 1, steps))),
            "generate() without previews": lambda: seconds(lambda: ours(request(), previews=False)),
            "generate() with previews": lambda: seconds(lambda: ours(request())),
        },
        [
            Wanted("generate() without previews", 1.03, at_least=False),
            Wanted("generate() with previews", 1.08, at_least=False),
        ],
        rounds=options.rounds,
        unit=f"seconds for a picture of {steps} steps",
        faster_is_more=False,
    )
    if wanted("batch"):
        alone = [ours(request(1, SEED + n))[0] for n in range(4)]
        print(f"\nfour at once against one at a time: at most {apart(ours(request(4)), alone)} of 255 apart")
        fine &= compare(
            "four calls",
            {
                "four calls": lambda: seconds(lambda: [ours(request(1, SEED + n)) for n in range(4)]),
                "four pictures in one call": lambda: seconds(lambda: ours(request(4))),
            },
            [Wanted("four pictures in one call", 0.8, at_least=False)],
            rounds=options.rounds,
            unit="seconds for four pictures",
            faster_is_more=False,
        )
    fine &= not wanted("api") or through_the_api(options.folder, model, steps, options.rounds)
    fine &= not wanted("click") or clicked(options.folder, steps)
    return 0 if fine else 1


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, str]]:
    """(address, the model's id) of the app in a process of its own, as it is in life."""
    port = free_port()
    with tempfile.TemporaryDirectory() as place:
        command, name = app(port), folder.name
        if folder.resolve() != SHIPPED.resolve():
            (Path(place) / "model").symlink_to(folder.resolve(), target_is_directory=True)
            command, name = [*command, "--models-dir", place], f"{FOLDER}model"
        with serving(command, port):
            yield f"http://127.0.0.1:{port}/", name


def through_the_api(folder: Path, model: ImageModel, steps: int, rounds: int) -> bool:
    """A request with its PNG, on one connection and as gradio_client makes it, against the bare call without a PNG.

    gradio_client opens a connection for every one of its four requests, each with certificates of its own, and fetches
    the file twice: that it costs more is told, and nothing here can change it.
    """
    import httpx
    from gradio_client import Client
    from PIL import Image

    with served(folder) as (address, name), httpx.Client(base_url=address, timeout=300) as connection:
        client = Client(address, verbose=False)
        asked = {
            "prompt": PROMPT, "model": name, "num_inference_steps": steps, "guidance_scale": GUIDANCE, "seed": SEED,
        }  # fmt: skip

        endpoints = connection.get("gradio_api/info").json()["named_endpoints"]
        fields = endpoints["/generate_images"]["parameters"]
        data = [asked.get(field["parameter_name"], field["parameter_default"]) for field in fields]
        body = {"data": data, "session_hash": "benchmark"}

        def call() -> bytes:
            begun = connection.post("gradio_api/call/generate_images", json=body).raise_for_status().json()
            told = connection.get(f"gradio_api/call/generate_images/{begun['event_id']}").raise_for_status().text
            (file, *_), _ = json.loads(told.rpartition("data: ")[2])
            return connection.get(f"gradio_api/file={file['path']}").raise_for_status().content

        def call_by_client() -> str:
            files, _ = client.predict(**asked, api_name="/generate_images")
            return files[0]

        plain = on_thread(lambda: bare(model, 1, steps))
        for file in (io.BytesIO(call()), call_by_client()):
            with Image.open(file) as made:
                assert apart([made], plain) == 0, "the API gives another picture"
        return compare(
            "bare diffusers call",
            {
                "bare diffusers call": lambda: seconds(lambda: on_thread(lambda: bare(model, 1, steps))),
                "HTTP API, PNG included": lambda: seconds(call),
                "the same by gradio_client": lambda: seconds(call_by_client),
            },
            [Wanted("HTTP API, PNG included", 1.15, at_least=False)],
            rounds=rounds,
            unit=f"seconds for a picture of {steps} steps",
            faster_is_more=False,
        )


def clicked(folder: Path, steps: int) -> bool:
    """Seconds from the click to the first preview and to the finished picture on the page."""
    import shutil

    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    with served(folder) as (address, name), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{address}?lang=en")
        page.get_by_role("tab", name="Images", exact=True).click()
        page.wait_for_selector("#images-model-note dl, #images-model-note p")
        page.locator("#images-model input").fill(name)
        page.locator("#images-model input").press("Enter")
        page.wait_for_timeout(2000)  # what suits the model is filled in now
        page.locator("#images-num_inference_steps input[type=number]").fill(str(steps))
        page.locator("#images-prompt textarea").fill(PROMPT)
        parts = ["#images-make-button", "#images-pictures img", "#images-film .fm-now img"]
        found = [page.evaluate(WATCHED, parts) for _ in range(CLICKS + 1)][1:]  # the first one loads the model
        browser.close()
    fine = True
    print(f"\n{'from the click, on the page':38} {'median':>10} {'spread':>16}  wanted   (seconds, {CLICKS} clicks)")
    for what, values, limit in zip(
        ("first preview", "finished picture"), zip(*found, strict=True), (1, 4), strict=True
    ):
        taken = [(value or 0) / 1000 for value in values]
        reached = 0 < statistics.median(taken) <= limit
        fine &= reached
        spread = f"{min(taken):7.3f}..{max(taken):7.3f}"
        print(f"{what:38} {statistics.median(taken):10.3f} {spread}  <= {limit} {'ok' if reached else 'MISSED'}")
    return fine


if __name__ == "__main__":
    sys.exit(main())
