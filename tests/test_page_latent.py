"""The Latent tab as a person meets it: a real server with tiny autoencoders and the shipped one, a real browser."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import PATIENCE, Site, Visitor, serving, visiting
from PIL import Image
from test_page_words import READ, english
from tiny_latent import MAKERS

from aigc_demo import animation, png
from aigc_demo.generators import latent_pictures, latent_rows
from aigc_demo.ui import latent_map

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
SHOWN = "(at) => { const found = document.querySelector(at); return found && found.complete && found.naturalWidth; }"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    place = tmp_path_factory.mktemp("latent")
    for name, make in MAKERS.items():
        make(place / "models" / name)
    with serving(place) as started:
        yield started


class Walker:
    """What a person does on the Latent tab."""

    def __init__(self, visitor: Visitor):
        self.visitor, self.page = visitor, visitor.page
        self.page.get_by_role("tab", name=re.compile("^(Latent space|潜空间)$")).click()
        self.page.wait_for_selector("#rebuild-model-note p")

    def section(self, name: str) -> None:
        self.page.get_by_role("tab", name=re.compile(f"^({name})$")).click()

    def choose(self, prefix: str, model: str) -> None:
        box = self.page.locator(f"#{prefix}-model input")
        box.fill(model)
        with self.page.expect_response(lambda response: "/queue/join" in response.url):
            box.press("Enter")

    def set(self, name: str, value: Any) -> None:
        box = self.page.locator(f"#{name}").locator("input[type=number]").first
        box.fill(str(value))
        box.blur()

    def begin(self, prefix: str) -> None:
        self.page.click(f"#{prefix}-make-button")

    def done(self, prefix: str) -> dict[str, str]:
        """Wait for the end; the facts under the result."""
        self.page.wait_for_selector(f"#{prefix}-status .aigc-facts", timeout=4 * PATIENCE)
        self.page.wait_for_selector(f"#{prefix}-make-button", timeout=PATIENCE)
        return dict(
            self.page.locator(f"#{prefix}-status .aigc-fact").evaluate_all(
                "(facts) => facts.map((fact) => [...fact.children].map((part) => part.textContent))"
            )
        )

    def walk(self, **settings: Any) -> dict[str, str]:
        self.section("Between|图片之间")
        self.page.wait_for_function("document.querySelectorAll('#walk-images img').length === 3", timeout=PATIENCE)
        self.choose("walk", "./vector")
        for name, value in settings.items():
            self.set(f"walk-{name}", value)
        self.begin("walk")
        return self.done("walk")


@pytest.fixture
def walker(browser: Any, site: Site) -> Iterator[Walker]:
    with visiting(browser, site.url) as visitor:
        yield Walker(visitor)
        assert visitor.faults == []


# Someone who has never seen the app gets a result from one click on a sample, with what the latent looks like.
def test_a_click_on_a_sample_rebuilds_it(walker: Walker) -> None:
    walker.page.locator("#rebuild-samples button").nth(2).click()
    told = walker.done("rebuild")
    assert told["Model"] == "emoji-vae"
    assert float(told["PSNR"].split()[0]) > 15
    assert walker.page.locator("#rebuild-inside figure").count() == 1 + 4 + 4
    walker.page.wait_for_function(SHOWN, arg="#rebuild-both img", timeout=PATIENCE)
    assert "CC-BY-4.0" in walker.page.inner_text("#rebuild-samples"), "pictures are credited where they are shown"


def test_a_message_says_what_is_missing(walker: Walker) -> None:
    walker.begin("rebuild")
    walker.page.get_by_text("There is no picture yet").wait_for()
    walker.page.wait_for_selector("#rebuild-make-button")
    walker.page.locator("#rebuild-samples button").first.click()
    assert walker.done("rebuild"), "and the next run works"


# From three pictures to a film that plays, is walked through by hand, and is taken away in every format.
def test_a_walk_is_played_and_saved(walker: Walker, tmp_path: Path) -> None:
    told = walker.walk(frames=7)
    assert told["Frames"] == "7"
    page = walker.page
    assert page.locator("#walk-player figure img").count() == 3, "the latents' way beside the pixels'"
    page.locator("#walk-player .pl-slider").fill("3")
    assert page.inner_text("#walk-player output") == "Frame 4 of 7"
    before = page.get_attribute("#walk-player figure img", "src")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#walk-player output") == "Frame 5 of 7"
    assert page.get_attribute("#walk-player figure img", "src") != before
    assert page.locator("#walk-player .pl-chart path").count() == 3
    for form in animation.FORMATS:
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Save {form.upper()}").click()
        assert download.value.suggested_filename == f"aigc.{form}"
        download.value.save_as(tmp_path / f"walk.{form}")
        data = (tmp_path / f"walk.{form}").read_bytes()
        found = png.read_any(data)
        assert (found.family, found.settings["frames"], found.settings["model"]) == ("walk", 7, "./vector")
        if form != "mp4":
            with Image.open(io.BytesIO(data)) as film:
                assert film.n_frames == 7

    # dropped back, a film restores the form that made it
    walker.set("walk-frames", 30)
    walker.section("From noise")
    with page.expect_file_chooser() as chooser:
        page.click("#latent-drop")
    chooser.value.set_files(tmp_path / "walk.mp4")
    page.get_by_text("Restored, but for the pictures").wait_for()
    walker.visitor.comes_to(lambda: page.input_value("#walk-frames input[type=number]"), "7")
    assert page.locator("#walk-frames").is_visible()


# One way through pixels, a spatial latent and a vector latent, frame by frame: that is what the tab is about.
def test_another_model_walks_the_same_way(walker: Walker) -> None:
    walker.section("Between")
    box = walker.page.locator("#walk-beside input")
    box.fill("./kl")
    box.press("Enter")
    walker.walk(frames=4)
    titles = walker.page.locator("#walk-player figcaption").all_inner_texts()
    assert [title.partition(" (")[0] for title in titles] == [
        "Through the latents of vector",
        "Through the latents of kl",
        "Through the pixels: a cross-fade",
    ]
    walker.page.locator("#walk-player .pl-slider").fill("2")
    sources = walker.page.locator("#walk-player figure img").evaluate_all("(all) => all.map((one) => one.src)")
    assert len(set(sources)) == 3


# Stop keeps the frames that are there.
def test_stop_keeps_the_frames(walker: Walker, monkeypatch: pytest.MonkeyPatch) -> None:
    page = walker.page
    own = latent_pictures.decoded

    def slow(model: Any, latents: Any) -> Any:
        page_seen.append(len(latents))
        import time

        time.sleep(0.3)
        return own(model, latents)

    page_seen: list[int] = []
    monkeypatch.setattr("aigc_demo.generators.latent.decoded", slow)
    walker.section("Between")
    walker.choose("walk", "./vector")
    walker.set("walk-frames", 600)
    walker.begin("walk")
    page.wait_for_selector("#walk-player figure img[src]", timeout=PATIENCE)
    page.click("#walk-stop-button")
    told = walker.done("walk")
    assert told["Ended by"] == "stopped by you"
    assert 0 < int(told["Frames"]) < 600
    assert sum(page_seen) <= int(told["Frames"]) + latent_pictures.AT_ONCE


def test_noise_is_decoded(walker: Walker) -> None:
    walker.section("From noise")
    walker.choose("prior", "./kl")
    walker.set("prior-num_images", 3)
    walker.begin("prior")
    walker.done("prior")
    walker.page.wait_for_function(
        "document.querySelectorAll('#prior-pictures .thumbnail-lg, #prior-pictures .grid-wrap img').length >= 3"
    )


# In Chinese, by thumb: every word of the tab is Chinese, and nothing is wider than a phone.
def test_a_chinese_phone_walks(browser: Any, site: Site) -> None:
    with visiting(browser, site.url, "zh-CN", **PHONE) as visitor:
        walker = Walker(visitor)
        walker.walk(frames=4)
        texts = visitor.page.evaluate(READ)
        names = r"PSNR|SSIM|emoji-vae|GIF|WEBP|MP4|Fluent|Emoji|Microsoft|MIT|Noto|Google|Twemoji|Twitter|CC-BY-4\.0|lerp|slerp|vector"
        left = {text: english(re.sub(names, "", text)) for text in texts}
        assert {text: words for text, words in left.items() if words} == {}
        assert visitor.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert visitor.faults == []


# A drag shows the newest point, however slow the machine, and leaves no queue of old ones behind; then keys, a slider, a sum,
# and the saved picture, which brings its point back.
def test_the_map_is_walked(walker: Walker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page, decoded, own = walker.page, [], latent_map.point

    def slow(engine: Any, settings: Any) -> Any:
        decoded.append((settings["x"], settings["y"]))
        time.sleep(0.25)
        return own(engine, settings)

    monkeypatch.setattr(latent_map, "point", slow)
    walker.section("Walk the map")
    picture, field = "#latent-map .mp-picture", page.locator("#latent-map .mp-field")

    def shown() -> str:
        return page.get_attribute(picture, "data-of")

    page.wait_for_selector(f"{picture}[data-of='0 0']", timeout=4 * PATIENCE)
    field.scroll_into_view_if_needed()
    box, moves = field.bounding_box(), 40
    decoded.clear()
    page.mouse.move(box["x"] + 150, box["y"] + 200)
    page.mouse.down()
    for n in range(moves):
        page.mouse.move(box["x"] + 150 + 4 * n, box["y"] + 200 + n)
    page.mouse.up()

    def rested() -> bool:
        asked = len(decoded)
        page.wait_for_timeout(1000)
        return len(decoded) == asked and shown() == f"{decoded[-1][0]:g} {decoded[-1][1]:g}"

    walker.visitor.comes_to(rested, True)
    assert 2 <= len(decoded) < moves / 2, "what lay between was dropped"
    monkeypatch.undo()

    x, y = map(float, shown().split())
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    walker.visitor.comes_to(lambda: [float(n) for n in shown().split()], [round(x + 0.05, 3), round(y + 0.5, 3)])
    before = page.get_attribute(picture, "src")
    page.locator("#latent-map input[data-name=red]").fill("2")
    walker.visitor.comes_to(lambda: page.get_attribute(picture, "src") != before, True)
    page.locator("#latent-map select[data-name=c]").select_option(label="red square")
    walker.visitor.comes_to(lambda: page.inner_text("#latent-map .mp-where").partition(" ·")[0], "A − B + C")
    assert page.locator("#latent-map .mp-told li").count() == 3
    with page.expect_download() as download:
        page.get_by_role("button", name="Save PNG").click()
    download.value.save_as(tmp_path / "map.png")
    found = png.read_any((tmp_path / "map.png").read_bytes())
    assert (found.settings["start"], found.settings["c"], found.settings["red"]) == ("sum", "red-square", 2)
    page.get_by_role("button", name="Set all to 0").click()
    walker.section("From noise")
    with page.expect_file_chooser() as chooser:
        page.click("#latent-drop")
    chooser.value.set_files(tmp_path / "map.png")
    walker.visitor.comes_to(lambda: page.input_value("#latent-map input[data-name=red]"), "2")
    assert field.is_visible()


# By thumb, in Chinese: all four sections within reach, a tap on a dot names it, and the picture stays in sight at the last slider.
def test_a_chinese_phone_walks_the_map(browser: Any, site: Site) -> None:
    with visiting(browser, site.url, "zh-CN", **PHONE) as visitor:
        walker, page = Walker(visitor), visitor.page
        for name in ("重建", "图片之间", "从噪声抽取", "在地图上漫步"):
            walker.section(name)
        picture = page.locator("#latent-map .mp-picture")
        page.wait_for_selector("#latent-map .mp-picture[data-of]", timeout=4 * PATIENCE)
        field = page.locator("#latent-map .mp-field")
        field.scroll_into_view_if_needed()
        assert field.locator("canvas").evaluate("(canvas) => canvas.width / canvas.height") == 1
        box, chart = field.bounding_box(), latent_map.charted(latent_rows.chart(), "zh")
        places = chart["layouts"]["places"]["components"]
        xs, ys = zip(*places, strict=True)
        wide = 1.06 * max(max(xs) - min(xs), max(ys) - min(ys))
        left, top = (min(xs) + max(xs) - wide) / 2, (min(ys) + max(ys) + wide) / 2
        (x, y), (_, name, _) = max(zip(places, chart["dots"], strict=True))
        place = (x - left) / wide * box["width"], (top - y) / wide * box["height"]
        page.touchscreen.tap(box["x"] + place[0], box["y"] + place[1])
        walker.visitor.comes_to(lambda: picture.get_attribute("data-of"), f"{x:g} {y:g}")
        assert page.locator("#latent-map .mp-told li").first.inner_text().split() == [name, "0.00"]
        page.locator("#latent-map .mp-reset").scroll_into_view_if_needed()
        at = picture.bounding_box()
        assert 0 <= at["y"] < 844 - at["height"]
        texts = page.evaluate(READ)
        left_over = {
            text: english(re.sub(r"PNG|Noto|Emoji|Google|Apache-2\.0|Unicode|CLDR|t-SNE", "", text)) for text in texts
        }
        assert {text: words for text, words in left_over.items() if words} == {}
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert visitor.faults == []
