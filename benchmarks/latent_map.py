"""Walk the map: from moving the pointer to the picture on the page, in a browser, and what of it the server takes.

python -m benchmarks.latent_map [--moves 60]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from aigc_demo.engine import Engine
from aigc_demo.settings import Settings
from aigc_demo.shell import build, serve
from aigc_demo.ui.latent_map import point

WANTED = 250
"""Milliseconds from a move to its picture that still feel like one's own hand."""
MOVE = """([x, y]) => new Promise((done) => {
    const field = document.querySelector("#latent-map .mp-field"), image = document.querySelector("#latent-map .mp-picture");
    const begun = performance.now();
    const seen = new MutationObserver(() => {
        seen.disconnect();
        requestAnimationFrame(() => done(performance.now() - begun));
    });
    seen.observe(image, { attributes: true, attributeFilter: ["data-of"] });
    field.dispatchEvent(new PointerEvent("pointermove", { clientX: x, clientY: y, bubbles: true }));
})"""
"""One move of a drag, and the milliseconds until its picture is decoded and a frame has come."""
DRAG = """async ([left, top, moves, pause]) => {
    const field = document.querySelector("#latent-map .mp-field"), image = document.querySelector("#latent-map .mp-picture");
    const times = [], seen = new MutationObserver(() => times.push(performance.now()));
    seen.observe(image, { attributes: true, attributeFilter: ["data-of"] });
    for (let n = 0; n < moves; n++) {
        field.dispatchEvent(new PointerEvent("pointermove", { clientX: left + 2 * n, clientY: top + n, bubbles: true }));
        await new Promise((done) => setTimeout(done, pause));
    }
    await new Promise((done) => setTimeout(done, 1000));
    return times.slice(1).map((time, n) => time - times[n]);
}"""
"""A drag without waiting; the milliseconds between the pictures that came."""


def main() -> int:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moves", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        settings = Settings(models_dir=Path(place) / "models", cache_dir=Path(place) / "cache", offline=True)
        engine = Engine(settings)
        page, words = build(engine)
        _, url, _ = serve(page, words, settings, prevent_thread_lock=True, quiet=True)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        took, between = walked(browser, url, options.moves)
        browser.close()
        server = []
        for n in range(options.moves):
            begun = time.perf_counter()
            point(engine, {"x": n / 40 - 0.7, "y": 0.3})
            server.append(1000 * (time.perf_counter() - begun))
        page.close(verbose=False)
    print(f"{engine.device.name} · {engine.device.dtype} · medians of {options.moves}, in ms (middle half)")
    for name, times in (
        ("from a move to its picture", took),
        ("between pictures of a fast drag", between),
        ("on the server alone, recipe and PNG included", server),
    ):
        low, middle, high = statistics.quantiles(times, n=4)
        print(f"{name:46} {middle:6.1f}  ({low:.1f}..{high:.1f})")
    fine = statistics.median(took) <= WANTED
    print(f"wanted from a move to its picture: at most {WANTED}: {'yes' if fine else 'NO'}")
    return 0 if fine else 1


def walked(browser: Any, url: str, moves: int) -> tuple[list[float], list[float]]:
    """(from each move to its picture; between the pictures of a drag that does not wait), in milliseconds."""
    tab = browser.new_page(viewport={"width": 1440, "height": 900})
    tab.goto(url)
    tab.get_by_role("tab", name="Latent space").click()
    tab.get_by_role("tab", name="Walk the map").click()
    tab.wait_for_selector("#latent-map .mp-picture[data-of]", timeout=120_000)
    box = tab.locator("#latent-map .mp-field").bounding_box()
    left, top = box["x"] + 120, box["y"] + 180
    tab.mouse.move(left, top)
    tab.mouse.down()
    tab.wait_for_timeout(500)
    took = [tab.evaluate(MOVE, [left + 5 * n + 5, top + 3 * n]) for n in range(moves)]
    between = tab.evaluate(DRAG, [left, top, 2 * moves, 16])
    tab.mouse.up()
    return took, between


if __name__ == "__main__":
    sys.exit(main())
