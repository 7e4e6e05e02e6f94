"""The Images tab as a person meets it: a real server with tiny pipelines, a real browser."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browser import TWO_FRAMES, Site, Visitor, chromium, serving, visiting
from PIL import Image
from tiny_images import MAKERS, SIDE

from aigc_demo import png
from aigc_demo.generators.diffusion import ImageParams
from aigc_demo.generators.diffusion_rows import IMAGES
from aigc_demo.generators.diffusion_watch import Watch
from aigc_demo.generators.picture_fields import digest
from aigc_demo.results import finish

CANARY = "<img src=x onerror=window.__pwned=1>"
STEPS = 4
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
KEPT = "aigc.pictures.list().then((rows) => rows.map((row) => row.recipe))"


class Pace:
    """How a step behaves: seconds that it takes, and what it raises."""

    seconds = 0.0
    error: Exception | None = None


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The app with three pipelines more: ./sd, ./sd3 (flow matching), and one whose name is markup."""
    place = tmp_path_factory.mktemp("images")
    for name in ("sd", "sd3"):
        MAKERS[name](place / "models" / name)
    MAKERS["sd"](place / "models" / CANARY)
    own = Watch.frame

    def paced(self: Watch, latents: Any) -> Any:
        time.sleep(Pace.seconds)
        if Pace.error is not None:
            raise Pace.error
        return own(self, latents)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Watch, "frame", paced)
        with serving(place) as started:
            yield started


@pytest.fixture(autouse=True)
def hurry() -> Iterator[type[Pace]]:
    """Steps take no time, unless a test says so."""
    yield Pace
    Pace.seconds, Pace.error = 0.0, None


class Painter:
    """What a person does on the Images tab."""

    def __init__(self, visitor: Visitor):
        self.visitor = visitor
        self.page = visitor.page
        self.show()

    def show(self) -> None:
        self.page.get_by_role("tab", name=re.compile("^(Images|图像)$")).click()
        self.page.wait_for_selector("#images-model-note p, #images-model-note dl")
        self.page.wait_for_selector("#images-guidance_scale input:disabled")  # the first model is distilled

    def reload(self) -> None:
        self.visitor.reload()
        self.show()

    def unfold(self) -> None:
        """Open every accordion of this tab."""
        for fold in self.page.locator("#tab-images button.label-wrap").all():
            if fold.is_visible() and "open" not in fold.get_attribute("class").split():
                fold.click()
        self.page.evaluate(TWO_FRAMES)

    def choose(self, model: str) -> None:
        box = self.page.locator("#images-model input")
        note = self.page.locator("#images-model-note").inner_html()
        box.fill(model)
        box.press("Enter")
        if self.value("model") == model:
            self.page.wait_for_timeout(100)
        self.visitor.comes_to(lambda: self.value("model"), model)
        del note

    def set(self, name: str, value: Any) -> None:
        self.page.evaluate("document.activeElement.blur()")
        box = self.page.locator(f"#images-{name}").locator("input[type=number], textarea").first
        if not box.is_visible():
            self.unfold()
        box.fill(str(value))
        box.blur()

    def value(self, name: str) -> Any:
        """What a field of the form holds."""
        field = self.page.locator(f"#images-{name}")
        number = field.locator("input[type=number]")
        return float(number.input_value()) if number.count() else field.locator("input, textarea").first.input_value()

    def begin(self, prompt: str | None = None) -> None:
        if prompt is not None:
            self.page.locator("#images-prompt textarea").fill(prompt)
        self.page.bring_to_front()
        self.page.click("#images-make-button")

    @contextmanager
    def made(self) -> Iterator[None]:
        """For the time in which pictures are made, until they are shown and kept."""
        before = len(self.kept)
        yield
        self.visitor.comes_to(lambda: len(self.kept) > before, True)
        self.page.wait_for_selector("#images-make-button", state="visible")
        self.page.wait_for_selector("#images-status .aigc-facts")
        self.page.evaluate(TWO_FRAMES)

    def make(self, prompt: str | None = None) -> dict[str, Any]:
        """Make a picture, and return the recipe that is kept with it."""
        with self.made():
            self.begin(prompt)
        return self.recipe

    @property
    def kept(self) -> list[dict[str, Any]]:
        """The recipes of the pictures that this browser keeps, the newest first."""
        return self.page.evaluate(KEPT)

    @property
    def recipe(self) -> dict[str, Any]:
        return self.kept[0]

    @property
    def facts(self) -> dict[str, str]:
        return dict(
            self.page.locator("#images-status .aigc-fact").evaluate_all(
                "(facts) => facts.map((fact) => [...fact.children].map((part) => part.textContent))"
            )
        )

    def select(self, n: int = 0) -> None:
        """Show the n-th picture of the gallery large."""
        self.page.locator("#images-gallery .gl-thumb").nth(n).click()
        self.page.wait_for_selector("#images-gallery .gl-actions")

    def press(self, name: str) -> None:
        self.page.locator("#images-gallery .gl-actions").get_by_role("button", name=re.compile(name)).click()

    def save(self, to: Path) -> Path:
        """Download the picture that is shown large."""
        with self.page.expect_download() as download:
            self.press("Download|下载")
        download.value.save_as(to)
        return to

    def drop(self, file: Path) -> None:
        self.page.locator("#images-drop input[type=file], input#images-drop").first.set_input_files(file)

    def put(self, file: Path) -> None:
        """Put a picture on the canvas."""
        self.unfold()
        self.page.locator("#images-canvas input[type=file]").first.set_input_files(file)
        self.page.wait_for_selector("#images-strength input:enabled", state="attached")

    def said(self) -> str:
        return self.page.inner_text("#images-status")

    def forming(self) -> str | None:
        return self.page.locator("#images-film .fm-now img").get_attribute("src")


@contextmanager
def painting(browser: Any, site: Site, locale: str = "en-US", query: str = "", **options: Any) -> Iterator[Painter]:
    with visiting(browser, site.url + query, locale, **options) as visitor:
        painter = Painter(visitor)
        painter.choose("./sd")
        painter.set("num_inference_steps", STEPS)
        painter.set("seed", 7)
        yield painter
        assert visitor.faults == []


@pytest.fixture
def painter(browser: Any, site: Site) -> Iterator[Painter]:
    with painting(browser, site) as found:
        yield found


def pixels_of(site: Site, recipe: dict[str, Any], **given: Any) -> Image.Image:
    """What Python makes of a recipe."""
    request = ImageParams.of(recipe["settings"] | given)
    return finish(site.engine.run(IMAGES, request)).value.pictures[0].image


def test_words_become_a_picture(painter: Painter, site: Site) -> None:
    """The first thing that anybody does here; and what is shown is the file with its recipe."""
    recipe = painter.make("a cat")
    page = painter.page
    assert recipe["settings"]["prompt"] == "a cat"
    assert painter.facts["Model"] == "sd"
    assert (painter.facts["Seed"], painter.facts["Steps"], painter.facts["Size"]) == ("7", "4", f"{SIDE} × {SIDE}")
    url = page.locator("#images-pictures img").first.get_attribute("src")
    data = page.request.get(url).body()
    assert png.read(data).settings == recipe["settings"]
    page.wait_for_selector("#images-film .fm-done")
    assert page.locator("#images-film .fm-slider").get_attribute("max") == str(STEPS - 1)
    painter.unfold()
    assert 'api_name="/generate_images"' in page.inner_text("#images-code")


def test_a_kept_picture_is_edited_and_painted_over(painter: Painter, site: Site) -> None:
    """From the gallery onto the canvas: first the whole picture is the start, then only what the brush covered changes."""
    page = painter.page
    painter.make("a cat")
    painter.select()
    painter.press("Edit this")
    page.wait_for_selector("#images-canvas .pixi-target canvas")
    painter.set("seed", 8)
    first = painter.kept[0]
    second = painter.make()
    assert second["settings"]["image"] == digest(pixels_of(site, first))
    assert second["settings"]["mask"] is None
    page.get_by_role("button", name="Brush", exact=True).click()
    box = page.locator("#images-canvas .pixi-target canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 60, y)
    page.mouse.down()
    page.mouse.move(x + 10, y, steps=5)
    page.mouse.up()
    page.wait_for_timeout(1500)  # the canvas sends what was painted a moment after the brush is lifted
    painter.set("seed", 9)
    third = painter.make()
    assert third["settings"]["image"] == second["settings"]["image"]
    assert third["settings"]["mask"] is not None
