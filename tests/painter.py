"""A real server with tiny pipelines, and what a person does on its Images tab."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browser import TWO_FRAMES, Site, Visitor, serving, visiting
from PIL import Image
from test_page_words import READ, english
from tiny_images import MAKERS

from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.generators.diffusion_rows import IMAGES
from aigc_demo.generators.diffusion_watch import Watch
from aigc_demo.results import finish

CANARY = "<img src=x onerror=window.__pwned=1>"
CUT = "Too long; this is not read"
STEPS = 4
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
KEPT = "aigc.pictures.list().then((rows) => rows.map((row) => row.recipe))"


class Pace:
    """How a step behaves: seconds that it takes, and what it raises; and how many there were."""

    steps = 0
    seconds = 0.0
    error: Exception | None = None


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The app with three pipelines more: ./sd, ./sd3 (flow matching), and one whose name is markup."""
    place = tmp_path_factory.mktemp("images")
    for name in ("sd", "sd3"):
        MAKERS[name](place / "models" / name)
    MAKERS["sd"](place / "models" / CANARY)
    own = Watch.frame

    def paced(self: Watch, latents: Any) -> Any:
        Pace.steps += 1
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
    Pace.steps = 0
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
        self.page.wait_for_selector("#images-ideas .aigc-idea")  # what suits the first model was asked with them

    def reload(self) -> None:
        self.visitor.reload()
        self.show()

    def unfold(self, canvas: bool = False) -> None:
        """Open the accordions of this tab; that of the canvas, which is drawn without a pause, only where asked."""
        for fold in self.page.locator("#tab-images button.label-wrap").all():
            if not canvas and fold.locator("xpath=ancestor::*[@id='images-from-picture']").count():
                continue
            if fold.is_visible() and "open" not in fold.get_attribute("class").split():
                fold.click()
        self.page.evaluate(TWO_FRAMES)

    def choose(self, model: str) -> None:
        box = self.page.locator("#images-model input")
        box.fill(model)
        with self.page.expect_response(lambda response: "/queue/join" in response.url):
            box.press("Enter")
        shown = IMAGES.rows[model].name if model in IMAGES.rows else model
        self.visitor.comes_to(lambda: self.value("model").partition(" — ")[0], shown)
        self.page.wait_for_timeout(300)  # what suits the model is filled in now; a value set before it would be lost

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
        """Give the page a picture or a recipe's file."""
        self.unfold()
        with self.page.expect_file_chooser() as chooser:
            self.page.click("#images-drop")
        chooser.value.set_files(file)

    def put(self, file: Path) -> None:
        """Put a picture on the canvas."""
        self.unfold(canvas=True)
        self.page.wait_for_selector("#images-canvas .pixi-target canvas")
        with self.page.expect_file_chooser() as chooser:
            self.page.locator("#images-canvas").get_by_role("button", name="Upload", exact=True).click()
        chooser.value.set_files(file)
        self.page.wait_for_selector("#images-strength input:enabled", state="attached")

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


ROWS = "|".join(sorted(map(re.escape, IMAGES.rows), key=len, reverse=True))
ALSO_NAMES = re.compile(
    rf"{ROWS}|"
    # the gallery shows a recipe's own values, such as "default"
    r"^default$|DDIM|Euler( a)?|DPM\+\+( 2M)?|Karras|UniPC|LCM|PNG|SD-Turbo|Stability AI|\./sd3?|\bsd3?\b|“[^”]*”"
)
READ_IMAGES = READ.replace(
    "#text-recipe", "#text-recipe, #images-recipe, #images-code, #images-diffusers, #images-canvas button"
)


def read_the_page(painter: Painter) -> None:
    texts = [ALSO_NAMES.sub("", text) for text in painter.page.evaluate(READ_IMAGES)]
    assert len(texts) > 60
    assert not [text for text in texts if "i18n" in text]
    assert {text: english(text) for text in texts if english(text)} == {}
