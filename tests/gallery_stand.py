"""A small page with a film and a gallery, and what a person does on it."""

from __future__ import annotations

import base64
import io
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from browser import PATIENCE, TWO_FRAMES
from PIL import Image, ImageDraw, ImageFilter
from starlette.middleware import Middleware

from aigc_demo.shell import FirstScript, theme
from aigc_demo.ui.film import film
from aigc_demo.ui.gallery import STATIC, gallery
from aigc_demo.words import Words

CANARY = "<img src=x onerror=window.__pwned=1>"
STEPS = 12
COUNT = """() => new Promise((done) => {
    const request = indexedDB.open("aigc-demo");
    request.onsuccess = () => {
        const reading = request.result.transaction(["pictures", "thumbs"]), found = [];
        for (const name of ["pictures", "thumbs"])
            reading.objectStore(name).count().onsuccess = (event) => found.push(event.target.result);
        reading.oncomplete = () => { request.result.close(); done(found); };
    };
})"""
"""How many pictures are stored, and how many small copies."""


def drawing(n: int, size: tuple[int, int] = (64, 64), noise: float = 0) -> Image.Image:
    """A picture that looks like nothing but the n-th: a face of its own colour, under a share of noise."""
    width, height = size
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    hue = f"hsl({n * 47 % 360}, 70%, 60%)"
    pen.ellipse([width * 0.1, height * 0.1, width * 0.9, height * 0.9], fill=hue)
    for x in (0.36, 0.64):
        pen.ellipse([width * (x - 0.06), height * 0.35, width * (x + 0.06), height * 0.5], fill="black")
    pen.arc([width * 0.3, height * 0.4, width * 0.7, height * 0.75], 20, 160, fill="black", width=max(1, width // 24))
    if noise:
        grain = Image.merge("RGB", [Image.effect_noise(size, 160) for _ in range(3)])
        image = Image.blend(image, grain, noise)
    return image


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def uri(image: Image.Image) -> str:
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()


def frame(step: int, total: int = STEPS, pull: float | None = 0.5) -> dict[str, Any]:
    """What a step of the sampler hands over: noise that clears, a guess that sharpens."""
    left = 1 - step / total
    face = drawing(3, (32, 32))
    return {
        "step": step,
        "noisy": uri(drawing(3, (32, 32), noise=left)),
        "guess": uri(face.filter(ImageFilter.GaussianBlur(9 * left))),
        "pull": pull and pull * (0.2 + 3.2 * left * (1 - left)),
    }


def payload(frames: list[dict[str, Any]], live: bool = False, **more: Any) -> dict[str, Any]:
    step = frames[-1]["step"] if frames else 0
    base = {"live": live, "step": step, "total": STEPS, "eta": 3.2 if live else None, "frames": frames}
    return {**base, "size": [64, 64], "count": 1, **more}


def recipe(n: int, **settings: Any) -> dict[str, Any]:
    made = {"prompt": f"a smiling face, number {n}", "seed": n, "num_inference_steps": 20, "guidance_scale": 7.5}
    return {"family": "diffusion", "model": {"name": "emoji"}, "settings": {**made, "scheduler": "ddim", **settings}}


# ---- the page -------------------------------------------------------------------------------------------------------


class Stand:
    """A page with the two widgets. The box and the button give the film its value, another streams one."""

    def __init__(self, folder: Path):
        self.folder = folder
        with gr.Blocks(title="stand") as self.blocks:
            shown = film({"guidance_scale": Words("Guidance", "引导强度")}, elem_id="film")
            kept = gallery(elem_id="gallery")
            given, give = gr.Textbox(elem_id="given", visible="hidden"), gr.Button("give", elem_id="give")
            stream = gr.Button("stream", elem_id="stream")
            heard = gr.Textbox(elem_id="heard")

            def run() -> Iterator[dict[str, Any]]:
                frames = []
                for step in range(1, STEPS + 1):
                    frames.append(frame(step))
                    yield payload(frames[-1:], live=True, append=True)
                    time.sleep(0.1)
                yield payload(frames)

            def on(name: str) -> Any:
                def hear(event: gr.EventData) -> str:
                    return json.dumps({"event": name, **event._data})

                return hear

            give.click(json.loads, given, shown)
            stream.click(run, None, shown)
            for name in ("reuse", "reuse_seed", "edit"):
                getattr(kept, name)(on(name), None, heard)
            shown.hold(on("hold"), None, heard)
        _, self.url, _ = self.blocks.launch(
            prevent_thread_lock=True,
            quiet=True,
            ssr_mode=False,
            allowed_paths=[str(folder)],
            theme=theme(),
            css_paths=[STATIC / "page.css"],
            app_kwargs={"middleware": [Middleware(FirstScript, script=(STATIC / "page.js").read_bytes())]},
        )

    def file(self, image: Image.Image, name: str) -> str:
        """Where the server serves a picture."""
        path = self.folder / name
        if not path.exists():
            path.write_bytes(png(image))
        return f"{self.url}gradio_api/file={path}"


class Visitor:
    def __init__(self, page: Any, stand: Stand):
        self.page = page
        self.stand = stand
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))

    def open(self) -> None:
        self.page.goto(self.stand.url)
        self.page.wait_for_selector(".aigc-gallery .gl-grid", state="attached")
        self.page.wait_for_selector(".aigc-film.fm-is-empty", state="attached")

    def add(self, n: int, image: Image.Image | None = None, **settings: Any) -> Any:
        """Keep the n-th picture, as the tab does after a run; the row, or None where it was not kept."""
        image = image or drawing(n)
        url = self.stand.file(image, f"{n}-{image.width}x{image.height}.png")
        return self.page.evaluate("(made) => aigc.pictures.add(made)", {"url": url, "recipe": recipe(n, **settings)})

    def have(self, *numbers: int) -> None:
        """Keep these, and wait until they stand in the grid."""
        for n in numbers:
            assert self.add(n)
        self.count(len(numbers))

    def count(self, n: int) -> None:
        self.page.wait_for_function(
            "(n) => document.querySelectorAll('.gl-thumb').length === n", arg=n, timeout=PATIENCE
        )

    @property
    def seeds(self) -> list[int]:
        """Of the pictures in the grid, as they stand there."""
        labels = self.page.locator(".gl-thumb").evaluate_all("(all) => all.map((one) => one.ariaLabel)")
        return [int(re.search(r"(\d+)$", label).group()) for label in labels]

    def pick(self, seed: int) -> None:
        """Select a picture of the grid, once it is there."""
        self.page.wait_for_selector(f".gl-thumb[aria-label$=' {seed}']")
        self.page.locator(".gl-thumb").nth(self.seeds.index(seed)).click()

    def look_at(self, seed: int) -> None:
        """Open a picture and wait until it is there."""
        self.pick(seed)
        self.page.wait_for_function(
            "(end) => document.querySelector('.gl-picture img')?.alt.endsWith(end)", arg=f" {seed}", timeout=PATIENCE
        )

    def press(self, name: str) -> None:
        self.page.locator(".gl-detail").get_by_role("button", name=name, exact=True).click()

    def heard(self) -> dict[str, Any]:
        """What the server was told."""
        self.page.wait_for_function("document.querySelector('#heard textarea').value", timeout=PATIENCE)
        return json.loads(self.page.input_value("#heard textarea"))

    def give(self, value: Any) -> None:
        """Let the server set the film's value."""
        self.page.evaluate(
            """(text) => {
                const box = document.querySelector("#given textarea");
                box.value = text;
                box.dispatchEvent(new Event("input", {bubbles: true}));
            }""",
            json.dumps(value),
        )
        self.page.evaluate(TWO_FRAMES)
        self.page.click("#give")

    def sideways(self) -> int:
        """How many pixels the page is wider than its window."""
        return self.page.evaluate("document.documentElement.scrollWidth - innerWidth")


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    started = Stand(tmp_path_factory.mktemp("gallery"))
    yield started
    started.blocks.close()


@contextmanager
def visiting(browser: Any, stand: Stand, **options: Any) -> Iterator[Visitor]:
    """Someone with an empty gallery; `open` is theirs to call."""
    context = browser.new_context(
        **{"locale": "en-US", "viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"} | options
    )
    context.set_default_timeout(PATIENCE)
    try:
        yield Visitor(context.new_page(), stand)
    finally:
        context.close()


@pytest.fixture
def visitor(browser: Any, stand: Stand) -> Iterator[Visitor]:
    with visiting(browser, stand) as arrived:
        arrived.open()
        yield arrived
        assert arrived.faults == []
        assert arrived.page.evaluate("window.__pwned") is None
