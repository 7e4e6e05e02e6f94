"""The Images tab as a person meets it: a real server with tiny pipelines, a real browser."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browser import PATIENCE, TWO_FRAMES, Site, Visitor, chromium, serving, visiting
from PIL import Image, ImageChops, PngImagePlugin
from test_page_form import CONTRAST
from test_page_words import READ, english
from tiny_images import MAKERS, SIDE

from aigc_demo import png
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.generators.diffusion_rows import IMAGES
from aigc_demo.generators.diffusion_watch import Watch
from aigc_demo.generators.picture_fields import digest
from aigc_demo.results import finish
from aigc_demo.ui import images_page
from aigc_demo.ui.run import APOLOGY

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


def test_two_clicks_make_a_picture(browser: Any, site: Site) -> None:
    """Who just came picks an idea, presses the button, and has a picture of the model that ships, with what is in it."""
    with visiting(browser, site.url, "zh-CN") as visitor:
        painter = Painter(visitor)
        idea = painter.page.locator("#images-ideas .aigc-idea").first
        idea.click()
        recipe = painter.make()
        assert recipe["model"]["id"] == "emoji-diffusion"
        assert recipe["settings"]["prompt"] == idea.inner_text()
        assert recipe["settings"]["prompt"] in painter.page.locator("#images-ideas details").text_content()
        assert painter.facts["emoji-clip 看到"]
        painter.choose("./sd")
        visitor.comes_to(lambda: painter.page.locator("#images-ideas .aigc-idea").count(), 0)


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
    painter.visitor.comes_to(lambda: "manual_seed(7)" in page.inner_text("#images-diffusers"), True)


def test_tokens_are_counted_while_a_prompt_is_typed(painter: Painter) -> None:
    """The newest words win, what falls off is named, and a model that is not here is not spoken of."""
    page = painter.page
    box, count = page.locator("#images-prompt textarea"), page.locator("#images-tokens")
    box.press_sequentially("a (red:1.3) cat", delay=15)
    painter.visitor.comes_to(lambda: count.inner_text().split("\n")[0], "9 / 24 tokens")
    box.press_sequentially(" on the roof of a <b>house</b>", delay=5)
    painter.visitor.comes_to(lambda: count.locator(".warn").all_inner_texts(), [f"{CUT}: “house</b>”"])
    page.locator("#images-prompt textarea").fill("a cat")
    painter.visitor.comes_to(lambda: count.inner_text().split("\n")[0], "6 / 24 tokens")
    painter.choose("./sd3")
    painter.visitor.comes_to(lambda: count.inner_text().split("\n")[0], "7 / 256 tokens")
    painter.choose("sd-turbo")
    painter.visitor.comes_to(count.inner_text, "")


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


def test_a_stroke_is_a_mask_where_it_was_drawn(
    painter: Painter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stroke on the left is a mask on the left, over the very picture that was given."""
    shades = Image.linear_gradient("L").resize((320, 320))
    given = Image.merge("RGB", [shades, shades.rotate(90), shades.rotate(180)])
    given.save(tmp_path / "given.png")
    painter.put(tmp_path / "given.png")
    page = painter.page
    page.wait_for_selector("#images-canvas .empty", state="detached")
    page.get_by_role("button", name="Brush", exact=True).click()
    canvas = page.locator("#images-canvas .pixi-target canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 110, y)
    page.mouse.down()
    page.mouse.move(x - 90, y, steps=5)
    page.mouse.up()
    page.wait_for_timeout(1500)  # the canvas sends what was painted a moment after the brush is lifted
    seen: list[dict[str, Any]] = []
    own = images_page.given
    monkeypatch.setattr(images_page, "given", lambda canvas: seen.append(own(canvas)) or seen[-1])
    recipe = painter.make("a cat")
    assert recipe["settings"]["image"] == digest(given)
    [found] = seen
    assert found["mask"].size == given.size
    left, _, right, _ = found["mask"].getbbox()
    assert left < right < 0.5 * given.width
    page.get_by_role("button", name="Clear canvas").click()
    page.wait_for_selector("#images-strength input:disabled")
    assert painter.make()["settings"]["image"] is None


def test_reuse_empties_the_canvas(painter: Painter) -> None:
    """A picture made from words alone is made again from words alone, whatever lay on the canvas."""
    first = painter.make("a cat")
    painter.select()
    painter.press("Edit this")
    painter.page.wait_for_selector("#images-strength input:enabled")
    painter.press("Reuse everything")
    painter.page.wait_for_selector("#images-strength input:disabled")
    assert painter.make()["settings"] == first["settings"]


def test_the_preview_changes_and_stop_keeps_it(painter: Painter) -> None:
    """The heart of the tab: a picture comes about before one's eyes, and may be stopped when it is good enough."""
    page = painter.page
    painter.set("num_inference_steps", 40)
    Pace.seconds = 0.5
    seen: set[str] = set()
    with painter.made():
        painter.begin("a cat")
        page.wait_for_selector("#images-stop-button", state="visible")
        page.wait_for_selector("#images-make-button", state="hidden")
        page.wait_for_selector(".fm-is-live")
        end = time.monotonic() + PATIENCE / 1000
        while len(seen) < 3 and time.monotonic() < end:
            seen.add(painter.forming() or "")
            page.wait_for_timeout(50)
        at = Pace.steps
        page.click("#images-stop-button")
    assert len(seen - {""}) >= 2
    made = painter.recipe["figures"]["steps"]
    assert made <= at + 4, "within a step of when it heard, on a machine where a click takes a second"
    assert painter.facts["Ended by"] == "stopped by you"
    assert painter.recipe["figures"]["finish"] == "stopped"
    assert page.locator("#images-pictures img").first.is_visible()
    page.wait_for_selector("#images-film .fm-done")
    assert page.locator("#images-film .fm-slider").get_attribute("max") == str(made - 1)
    Pace.seconds = 0.0
    painter.set("num_inference_steps", STEPS)
    assert painter.make()["figures"]["finish"] == "end"


def test_a_saved_picture_restores_the_form_of_somebody_else(
    painter: Painter, browser: Any, site: Site, tmp_path: Path
) -> None:
    """A picture is its own recipe: saved here, dropped there, it can be made again, pixel by pixel."""
    painter.set("negative_prompt", "a dog")
    painter.set("guidance_scale", 2.5)
    painter.set("num_images", 2)
    painter.make("a cat")
    painter.visitor.comes_to(lambda: len(painter.kept), 2)
    recipe = painter.recipe
    painter.page.wait_for_function("document.querySelectorAll('#images-gallery .gl-thumb').length === 2")
    painter.select()
    file = painter.save(tmp_path / "picture.png")
    assert png.read(file.read_bytes()).settings == recipe["settings"]
    with painting(browser, site) as other:
        other.drop(file)
        other.page.wait_for_function("document.querySelector('#images-status').innerText.includes('Restored')")
        wanted = {name: recipe["settings"][name] for name in ("prompt", "negative_prompt", "guidance_scale", "seed")}
        assert {name: other.value(name) for name in wanted} == wanted
        assert (other.value("num_images"), other.value("model")) == (1, "./sd")
        assert other.make()["settings"] == recipe["settings"]
        other.select()
        other.save(tmp_path / "again.png")
    with Image.open(file) as one, Image.open(tmp_path / "again.png") as two:
        apart = ImageChops.difference(one.convert("RGB"), two.convert("RGB")).getextrema()
    assert max(high for _, high in apart) <= 1, "made among others and alone"


def test_other_files_are_told_and_change_nothing(painter: Painter, tmp_path: Path) -> None:
    """A picture of another program fills in what it tells; one without a recipe, or junk, gives a word."""
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", f"{CANARY}\nSteps: 9, Sampler: Euler a, CFG scale: 3, Seed: 5, Model: x/y")
    Image.new("RGB", (8, 8)).save(tmp_path / "theirs.png", pnginfo=info)
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    (tmp_path / "junk.png").write_bytes(b"junk")
    for name, said in {"plain": "no recipe", "junk": "JSON"}.items():
        painter.drop(tmp_path / f"{name}.png")
        assert said in painter.visitor.toast()
        assert painter.value("seed") == 7
    painter.drop(tmp_path / "theirs.png")
    painter.visitor.comes_to(lambda: painter.value("prompt"), CANARY)
    assert (painter.value("num_inference_steps"), painter.value("seed"), painter.value("model")) == (9, 5, "./sd")
    assert painter.page.evaluate("window.__pwned") is None


def test_a_reload_keeps_the_pictures(painter: Painter) -> None:
    """The gallery lives in the browser: a reload loses nothing, and what made a picture can be taken up again."""
    first = painter.make("a cat")
    painter.set("seed", 8)
    second = painter.make("a dog")
    painter.reload()
    assert painter.kept == [second, first]
    painter.page.wait_for_function("document.querySelectorAll('#images-gallery .gl-thumb').length === 2")
    painter.select(1)
    painter.press("Reuse everything")
    painter.visitor.comes_to(lambda: painter.value("prompt"), "a cat")
    painter.visitor.comes_to(lambda: (painter.value("seed"), painter.value("model")), (7, "./sd"))
    painter.select(0)
    painter.press("Reuse the seed")
    painter.visitor.comes_to(lambda: (painter.value("seed"), painter.value("prompt")), (8, "a cat"))


def test_a_knob_without_effect_rests_and_says_why(painter: Painter) -> None:
    """Nobody turns a knob in vain: what does nothing now is disabled, with the reason in its place."""
    page = painter.page
    painter.unfold(canvas=True)

    def rests(name: str, words: Any) -> None:
        page.wait_for_selector(f"#images-{name} :is(input, textarea):disabled")
        painter.visitor.comes_to(lambda: words.en in page.inner_text(f"#images-{name}"), True)

    def works(name: str) -> None:
        page.wait_for_selector(f"#images-{name} :is(input, textarea):enabled")

    rests("strength", images_page.NO_PICTURE)
    works("guidance_scale")
    works("negative_prompt")
    painter.set("guidance_scale", 1)
    rests("negative_prompt", images_page.AT_ONE)
    painter.choose("./sd3")
    rests("scheduler", images_page.OWN_ONLY)
    painter.choose("sd-turbo")
    rests("guidance_scale", images_page.UNGUIDED)
    rests("negative_prompt", images_page.UNGUIDED)
    works("scheduler")
    painter.visitor.comes_to(lambda: painter.value("num_inference_steps"), 2)
    painter.choose("./sd")
    works("guidance_scale")
    painter.set("guidance_scale", 4)
    works("negative_prompt")


def test_each_tab_offers_its_own_models(painter: Painter) -> None:
    """A language model cannot paint: it is not in the list, and typed in by hand it is told."""
    painter.page.locator("#images-model input").click()
    offered = {one.strip() for one in painter.page.locator("#images-model [role=option]").all_inner_texts()}
    assert not {"./tiny", "./slow"} & offered
    painter.choose("./tiny")
    painter.begin("a cat")
    assert "no model folder “tiny”" in painter.visitor.toast()


def test_trouble_is_told_and_the_page_goes_on(painter: Painter, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that ran out, a fault of ours, a size that cannot be, a full queue: told, and the next picture is made."""
    page = painter.page

    def rested() -> None:
        page.wait_for_selector("#images-make-button", state="visible")
        page.wait_for_selector("#images-stop-button", state="hidden")
        page.wait_for_selector(".fm-is-live", state="detached")

    for error, said in ((MemoryError(), "Make smaller pictures or fewer"), (RuntimeError("a fault"), APOLOGY.en)):
        Pace.error = error
        painter.begin("a cat")
        assert said in painter.visitor.toast()
        rested()
        Pace.error = None
    painter.set("width", 26)
    painter.begin()
    assert "Width of" in painter.visitor.toast()
    rested()
    painter.set("width", 0)
    with monkeypatch.context() as patch:
        patch.setattr(site.page._queue, "max_size", 0)
        painter.begin()
        assert "Too many people" in painter.visitor.toast()
        rested()
    assert painter.value("prompt") == "a cat"
    assert painter.make()["settings"]["prompt"] == "a cat"


def test_markup_is_shown_and_runs_nowhere(painter: Painter) -> None:
    """A prompt, or a folder's name, may be HTML. It is text: in the facts, the gallery, the code, the recipe, a message."""
    page = painter.page
    painter.choose(f"./{CANARY}")
    assert painter.make(CANARY)["settings"]["prompt"] == CANARY
    assert painter.facts["Model"] == CANARY
    painter.unfold()
    painter.select()
    for place in ("#images-gallery .gl-texts", "#images-code", "#images-diffusers", "#images-recipe"):
        assert CANARY in page.inner_text(place).replace("\n", ""), place
    painter.choose(f"{CANARY}/x")
    painter.begin()
    assert CANARY in painter.visitor.toast()
    painter.reload()
    page.wait_for_selector("#images-gallery .gl-thumb")
    assert page.evaluate("[window.__pwned, document.querySelectorAll('img[src=x]').length]") == [None, 0]


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


def test_a_chinese_browser_gets_a_chinese_page(browser: Any, site: Site, tmp_path: Path) -> None:
    """Before a picture, after it, with a picture selected and one on the canvas; and every message."""
    with painting(browser, site, "zh-CN") as painter:
        painter.unfold(canvas=True)
        read_the_page(painter)
        painter.make("戴皇冠的猫")
        painter.select()
        read_the_page(painter)
        painter.press("编辑此图")
        painter.page.wait_for_selector("#images-strength input:enabled")
        painter.choose("sd-turbo")
        painter.page.wait_for_selector("#images-guidance_scale input:disabled")
        read_the_page(painter)
        painter.choose("./sd")

        def told(part: str) -> None:
            painter.begin()
            message = painter.visitor.toast()
            assert part in message
            assert english(ALSO_NAMES.sub("", message)) == [], message

        painter.set("seed", 3_000_000_000)
        told("随机种子")
        painter.set("seed", 7)
        Pace.error = MemoryError()
        told("减小图片尺寸")
        Pace.error = None
        for model, part in {"nothing": "没有模型", "a/b": "离线", "./gone": "没有模型文件夹"}.items():
            painter.choose(model)
            told(part)
        (tmp_path / "junk.png").write_bytes(b"junk")
        painter.drop(tmp_path / "junk.png")
        assert english(painter.visitor.toast()) == []


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_a_phone_needs_no_sideways_scrolling(browser: Any, site: Site, locale: str) -> None:
    """390 CSS pixels are what a phone has."""
    with painting(browser, site, locale, **PHONE) as painter:

        def fits() -> bool:
            return painter.page.evaluate("document.documentElement.scrollWidth") <= 390

        assert fits()
        painter.unfold(canvas=True)
        assert fits()
        painter.set("num_images", 4)
        painter.make("a cat " + "jumps" * 30)
        painter.select()
        assert fits()


PLACES = [
    "#images-status dt",
    "#images-status dd",
    "#images-make-button",
    "#images-model-note p",
    "#images-guidance_scale .info-text",
    "#images-film figcaption",
    "#images-film .fm-done p",
    "#images-film output",
    "#images-gallery .gl-note",
    "#images-gallery .gl-texts p",
    "#images-gallery dt",
    "#images-gallery dd",
    "#images-gallery .gl-actions button",
    "#images-from-picture .aigc-note p",
]


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_everything_can_be_read_in_the_dark_and_in_the_light(browser: Any, site: Site, scheme: str) -> None:
    """WCAG AA: 4.5 to 1 for text, with the colours that the browser computes."""
    with painting(browser, site, query=f"?__theme={scheme}", color_scheme=scheme) as painter:
        page = painter.page
        painter.unfold(canvas=True)
        painter.make("a cat")
        painter.select()
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, re.findall(r"\d+", ground)[:3])) < 70) == (scheme == "dark")
        contrast = {place: round(page.evaluate(CONTRAST, place), 2) for place in PLACES if page.locator(place).count()}
        assert set(contrast) == set(PLACES)
        assert {place: ratio for place, ratio in contrast.items() if ratio < 4.5} == {}


# One click on a kept picture makes one much like it: the same seed, a little of another's noise.
def test_a_kept_picture_is_varied_by_one_click(painter: Painter) -> None:
    painter.choose("./sd")
    painter.set("seed", 11)
    first = painter.make("a cat")["settings"]
    painter.select()
    with painter.made():
        painter.press("Vary a little")
    varied = painter.recipe["settings"]
    assert (varied["seed"], varied["variation_strength"]) == (11, 0.15)
    assert varied["variation_seed"] >= 0, "drawn, so that the recipe makes it again"
    assert {**varied, "variation_strength": 0.0, "variation_seed": first["variation_seed"]} == first
    painter.unfold()
    assert painter.value("variation_strength") == 0.15
