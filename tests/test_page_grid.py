"""The grid, "stop after this picture" and the queue as a person meets them: a real server, a real browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import TWO_FRAMES, Site
from painter import (
    CANARY,
    PHONE,
    Pace,
    Painter,
    hurry,
    painter,
    painting,
    pixels_of,
    read_the_page,
    site,
)
from PIL import Image
from test_page_form import CONTRAST
from tiny_images import SIDE

from aigc_demo import png
from aigc_demo.generators import diffusion_memory
from aigc_demo.generators.diffusion_axes import AXES
from aigc_demo.ui import queued
from aigc_demo.ui.images_page import ALREADY

__all__ = ["hurry", "painter", "site"]  # fixtures


class Comparer:
    """What a person does with the grid."""

    def __init__(self, painter: Painter, language: str = "en"):
        self.painter, self.page, self.language = painter, painter.page, language
        self.unfold()

    def unfold(self) -> None:
        fold = self.page.locator("#images-grid button.label-wrap").first
        if "open" not in fold.get_attribute("class").split():
            fold.click()
        self.page.wait_for_selector("#grid-x_axis input", state="visible")

    def axis(self, which: str, name: str, values: str | list[str]) -> None:
        """Choose what an axis varies, and its values: typed, or picked by their labels."""
        self.page.locator(f"#grid-{which}_axis input").click()
        self.page.get_by_role("option", name=AXES[name].to(self.language), exact=True).click()
        self.lists_are_shut()
        if isinstance(values, str):
            box = self.page.locator(f"#grid-{which}_values").locator("textarea, input").first
            box.fill(values)
            box.blur()
            return
        self.page.locator(f"#grid-{which}_picks input").click()
        for label in values:
            self.page.get_by_role("option", name=label, exact=True).click()
        self.page.keyboard.press("Escape")
        self.page.evaluate("document.activeElement.blur()")
        self.lists_are_shut()

    def lists_are_shut(self) -> None:
        """A list that still fades out would offer its options beside the next one's."""
        self.page.wait_for_selector("[role=option]", state="detached")

    def begin(self) -> None:
        self.page.click("#grid-make-button")

    def finish(self) -> None:
        """Wait until the grid is shown as ended."""
        self.page.wait_for_selector("#grid-status .aigc-facts")
        self.page.wait_for_selector("#grid-make-button", state="visible")
        self.page.evaluate(TWO_FRAMES)

    def states(self) -> list[str]:
        return self.page.locator("#grid-table td.gr-cell").evaluate_all(
            "(cells) => cells.map((cell) => cell.className.match(/gr-(waiting|now|done|failed)/)[1])"
        )

    def reaches(self, *states: str) -> None:
        self.painter.visitor.comes_to(self.states, list(states))

    def cost(self) -> str:
        return self.page.inner_text("#grid-cost")

    def costs(self, part: str) -> None:
        self.painter.visitor.comes_to(lambda: part in self.cost(), True)

    def value(self, name: str) -> str:
        return self.page.locator(f"#grid-{name}").locator("textarea, input").first.input_value()

    def picked(self, which: str) -> list[str]:
        return self.page.locator(f"#grid-{which}_picks .token > span").all_inner_texts()

    def pixels(self, n: int) -> np.ndarray:
        """Of the n-th cell's file."""
        url = self.page.locator("#grid-table td.gr-cell").nth(n).locator("img").get_attribute("src")
        path = Path(self.page.request.get(url).body() and url.partition("file=")[2])
        with Image.open(path) as found:
            return np.asarray(found.convert("RGB"))

    def save(self, button: str, to: Path) -> Path:
        with self.page.expect_download() as download:
            self.page.locator("#grid-table").get_by_role("button", name=re.compile(button)).click()
        download.value.save_as(to)
        return to


@pytest.fixture
def comparer(painter: Painter) -> Comparer:
    painter.page.locator("#images-prompt textarea").fill("a cat")
    return Comparer(painter)


def test_from_a_click_to_a_sheet_and_back(comparer: Comparer, browser: Any, site: Site, tmp_path: Path) -> None:
    """Two by two: cells come one by one, each opens large and is the picture of its settings; and the sheet, given to
    somebody else's page, restores their form and both axes."""
    page, painter = comparer.page, comparer.painter
    comparer.costs("at most 100")
    comparer.axis("x", "scheduler", ["DDIM", "Euler a"])
    comparer.axis("y", "words", "cat, dog")
    comparer.costs("4 pictures.")
    Pace.seconds = 0.15
    comparer.begin()
    page.wait_for_selector("#grid-between-button", state="visible")
    page.wait_for_selector("#images-make-button", state="hidden")  # one thing at a time
    comparer.reaches("done", "now", "waiting", "waiting")
    comparer.finish()
    assert comparer.states() == ["done"] * 4
    comparer.costs("about")
    heads = page.locator("#grid-table th").all_inner_texts()
    assert heads == ["Sampler", "DDIM", "Euler a", "cat", "dog"]

    page.locator("#grid-table td.gr-cell button").nth(3).click()
    detail = page.locator("#grid-table .gr-detail")
    assert detail.locator("img").evaluate("(image) => image.decode().then(() => image.naturalWidth)") == SIDE
    assert "Sampler: Euler a · Prompt words: dog" in detail.inner_text()
    detail.get_by_role("button", name="Use these settings").click()
    painter.visitor.comes_to(lambda: painter.value("prompt"), "a dog")
    painter.unfold()
    assert painter.value("scheduler") == "Euler a"
    Pace.seconds = 0.0
    recipe = painter.make()
    assert np.array_equal(comparer.pixels(3), np.asarray(pixels_of(site, recipe).convert("RGB")))
    detail.get_by_role("button", name="Keep among your pictures").click()
    painter.visitor.comes_to(lambda: len(painter.kept), 2)
    assert painter.recipe["settings"] == recipe["settings"]

    file = comparer.save("Download the sheet", tmp_path / "sheet.png")
    assert png.read(file.read_bytes()).settings["prompt"] == "a cat"
    with painting(browser, site) as other:
        other.set("seed", 99)
        other.drop(file)
        theirs = Comparer(other)
        other.visitor.comes_to(lambda: "axes are restored" in other.page.inner_text("#grid-status"), True)
        assert (other.value("prompt"), other.value("seed")) == ("a cat", 7)
        assert (theirs.value("x_axis"), theirs.picked("x")) == ("Sampler", ["DDIM", "Euler a"])
        assert (theirs.value("y_axis"), theirs.value("y_values")) == ("Prompt words", "cat, dog")
        theirs.begin()
        theirs.finish()
        for n in range(4):
            assert np.array_equal(theirs.pixels(n), comparer.pixels(n))


@pytest.mark.parametrize("way", ["stop", "between"])
def test_stop_keeps_and_the_rest_is_made_later(comparer: Comparer, way: str) -> None:
    """A grid takes its time: what is done stays, the sheet shows it, and later the missing ones are made."""
    page = comparer.page
    comparer.axis("x", "num_inference_steps", "6-8")
    Pace.seconds = 0.4
    comparer.begin()
    comparer.reaches("done", "now", "waiting")
    page.click(f"#grid-{way}-button")
    comparer.finish()
    done = ["done", "waiting", "waiting"] if way == "stop" else ["done", "done", "waiting"]
    assert comparer.states() == done
    first = comparer.pixels(0)
    assert page.get_by_role("button", name="Download the sheet").is_visible()
    Pace.seconds, Pace.steps = 0.0, 0
    page.click("#grid-resume-button")
    comparer.reaches("done", "done", "done")
    comparer.finish()
    assert Pace.steps == {"stop": 7 + 8, "between": 8}[way], "nothing is made twice"
    page.wait_for_selector("#grid-resume-button", state="hidden")
    resumed = [comparer.pixels(n) for n in range(3)]
    assert np.array_equal(resumed[0], first)
    comparer.begin()
    page.wait_for_selector("#grid-status .aigc-facts", state="detached")
    comparer.finish()
    for n in range(3):
        assert np.array_equal(comparer.pixels(n), resumed[n])


def test_trouble_is_told_where_it_is(comparer: Comparer) -> None:
    """Before it begins, under the axes; in one cell, in that cell; and markup is text everywhere."""
    page, painter = comparer.page, comparer.painter
    comparer.axis("x", "words", "fox, hen")
    comparer.costs("“fox”, which does not stand in the prompt")
    comparer.begin()
    assert "does not stand in the prompt" in painter.visitor.toast()
    page.wait_for_selector("#grid-make-button", state="visible")
    page.wait_for_selector("#images-make-button", state="visible")
    comparer.axis("x", "words", f'cat, "{CANARY}"')
    comparer.axis("y", "model", ["./sd", "./sd3"])
    painter.set("num_inference_steps", 2)
    painter.unfold()
    page.locator("#images-scheduler input").click()
    page.get_by_role("option", name="DDIM", exact=True).click()
    comparer.costs("4 pictures.")
    comparer.begin()
    comparer.reaches("done", "done", "failed", "failed")
    comparer.finish()
    assert CANARY in page.locator("#grid-table thead").inner_text()
    page.locator("#grid-table .gr-failed button").first.click()
    assert "does not go with this model" in page.inner_text("#grid-table .gr-detail")
    assert page.locator("#grid-resume-button").is_visible()
    assert page.evaluate("[window.__pwned, document.querySelectorAll('img[src=x]').length]") == [None, 0]


def test_several_pictures_end_between_two(painter: Painter, monkeypatch: pytest.MonkeyPatch) -> None:
    """ "Stop after this picture" is there where pictures are made in turns, and keeps whole ones only."""
    page = painter.page
    painter.set("num_images", 3)
    Pace.seconds = 0.3
    with painter.made():
        painter.begin("a cat")
        page.wait_for_selector(".fm-is-live")
        assert page.locator("#images-between-button").is_hidden(), "all three go through together"
    monkeypatch.setitem(diffusion_memory.AT_ONCE, "cpu", SIDE * SIDE)
    with painter.made():
        painter.begin("a dog")
        page.wait_for_selector("#images-between-button", state="visible")
        page.click("#images-between-button")
    assert painter.facts["Ended by"] == "stopped by you after a whole picture"
    whole, rest = divmod(painter.recipe["figures"]["steps"], 4)
    assert whole in (1, 2)
    assert not rest
    painter.visitor.comes_to(lambda: len([one for one in painter.kept if one["settings"]["prompt"] == "a dog"]), whole)
    page.wait_for_selector("#images-between-button", state="hidden")


def waits(painter: Painter) -> list[str]:
    return painter.page.locator("#images-queue .qu-text").all_inner_texts()


def add(painter: Painter, prompt: str) -> None:
    painter.page.locator("#images-prompt textarea").fill(prompt)
    painter.page.click("#images-add-button")


def test_settings_wait_and_begin_by_themselves(painter: Painter) -> None:
    """While one is made the next are put aside, each with its own settings; a failure of one stops none of the rest."""
    page, visitor = painter.page, painter.visitor
    painter.set("num_inference_steps", 60)
    Pace.seconds = 0.5
    painter.begin("one")
    page.wait_for_selector("#images-add-button", state="visible")
    painter.set("seed", 8)
    add(painter, "two")
    visitor.comes_to(lambda: waits(painter), ["two"])
    painter.set("width", 26)
    add(painter, "impossible")
    visitor.comes_to(lambda: waits(painter)[-1], "impossible")
    painter.set("width", 0)
    add(painter, CANARY)
    visitor.comes_to(lambda: waits(painter)[-1], CANARY)
    painter.set("seed", 9)
    add(painter, "last")
    visitor.comes_to(lambda: waits(painter)[-1], "last")
    page.get_by_role("button", name=re.compile("^Remove number .* src=x")).click()
    visitor.comes_to(lambda: waits(painter)[-2:], ["impossible", "last"])
    page.locator("#images-prompt textarea").press("Enter")
    assert ALREADY.en in visitor.toast()
    Pace.seconds = 0.0
    assert "Width of" in visitor.toast()
    visitor.comes_to(lambda: len(painter.kept), 3)
    found = [(recipe["settings"]["prompt"], recipe["settings"]["seed"]) for recipe in painter.kept[::-1]]
    assert found == [("one", 7), ("two", 8), ("last", 9)]
    page.wait_for_selector("#images-make-button", state="visible")
    page.wait_for_selector("#images-queue", state="hidden")
    assert painter.value("prompt") == "last"
    assert page.evaluate("window.__pwned") is None


def test_the_queue_is_bounded_and_stop_ends_one(comparer: Comparer, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most so many wait, behind a grid as well; Stop ends what is in hand, and the next begins."""
    page, painter = comparer.page, comparer.painter
    monkeypatch.setattr(queued, "MOST", 1)
    comparer.axis("x", "seed", "1, 2")
    painter.set("num_inference_steps", 20)
    Pace.seconds = 0.4
    comparer.begin()
    page.wait_for_selector("#images-add-button", state="visible")
    comparer.reaches("now", "waiting")
    add(painter, "next")
    painter.visitor.comes_to(lambda: waits(painter), ["next"])
    add(painter, "too many")
    assert "queue is full" in painter.visitor.toast()
    page.click("#images-stop-button")
    Pace.seconds = 0.0
    painter.visitor.comes_to(lambda: len(painter.kept), 1)
    assert painter.recipe["settings"]["prompt"] == "next"
    assert comparer.states() == ["waiting", "waiting"]
    page.wait_for_selector("#images-queue", state="hidden")


def test_a_full_server_keeps_the_queue(painter: Painter, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that the server has no room for waits on, and is begun by a person, not by a page that knocks for ever."""
    page = painter.page
    Pace.seconds = 0.5
    painter.begin("one")
    page.wait_for_selector("#images-add-button", state="visible")
    add(painter, "two")
    painter.visitor.comes_to(lambda: waits(painter), ["two"])
    with monkeypatch.context() as patch:
        patch.setattr(site.page._queue, "max_size", 0)
        assert "Too many people" in painter.visitor.toast()
        page.wait_for_selector("#images-make-button", state="visible")
    Pace.seconds = 0.0
    assert waits(painter) == ["two"]
    page.get_by_role("button", name="Start the queue").click()
    painter.visitor.comes_to(lambda: len(painter.kept), 2)
    assert painter.recipe["settings"]["prompt"] == "two"


def test_all_of_it_speaks_chinese(browser: Any, site: Site) -> None:
    """The axes, their lists, the table, a picture large, a failed cell, and what waits."""
    with painting(browser, site, "zh-CN") as painter:
        page = painter.page
        page.locator("#images-prompt textarea").fill("戴皇冠的猫")
        comparer = Comparer(painter, "zh")
        comparer.axis("x", "scheduler", ["模型自带", "DDIM"])
        comparer.axis("y", "model", ["./sd", "./sd3"])
        comparer.costs("共 4 张图片")
        Pace.seconds = 0.3
        comparer.begin()
        page.wait_for_selector("#images-add-button", state="visible")
        comparer.reaches("done", "now", "waiting", "waiting")
        page.wait_for_selector("#images-stop-button", state="visible")
        add(painter, "戴皇冠的狗")
        painter.visitor.comes_to(lambda: waits(painter), ["戴皇冠的狗"])
        painter.unfold()
        read_the_page(painter)
        Pace.seconds = 0.0
        painter.visitor.comes_to(lambda: len(painter.kept), 1)
        page.wait_for_selector("#images-make-button", state="visible")
        for n in (0, 3):
            page.locator("#grid-table td.gr-cell button").nth(n).click()
            page.wait_for_selector("#grid-table .gr-detail .gr-label")
            read_the_page(painter)


def test_a_phone_holds_a_grid(browser: Any, site: Site) -> None:
    """The table scrolls within itself, and the page does not."""
    with painting(browser, site, **PHONE) as painter:
        page = painter.page
        page.locator("#images-prompt textarea").fill("a cat")
        comparer = Comparer(painter)
        comparer.axis("x", "seed", "1-6")
        comparer.axis("y", "words", "cat, " + "jumps" * 30)
        comparer.begin()
        comparer.finish()
        page.locator("#grid-table td.gr-cell button").nth(2).click()
        page.wait_for_selector("#grid-table .gr-detail img")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        wide = page.locator("#grid-table .gr-scroll").evaluate("(box) => box.scrollWidth > box.clientWidth")
        assert wide


PLACES = [
    "#grid-cost p",
    "#grid-table th",
    "#grid-table .gr-name",
    "#grid-table .gr-note",
    "#grid-table .gr-label",
    "#grid-table .gr-prompt",
    "#grid-table dt",
    "#grid-table .gr-actions button",
    "#grid-table .gr-said",
]


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_a_grid_can_be_read_in_the_dark_and_in_the_light(browser: Any, site: Site, scheme: str) -> None:
    """WCAG AA: 4.5 to 1 for text."""
    with painting(browser, site, query=f"?__theme={scheme}", color_scheme=scheme) as painter:
        page = painter.page
        page.locator("#images-prompt textarea").fill("a cat")
        comparer = Comparer(painter)
        comparer.axis("x", "scheduler", ["The model's own", "DDIM"])
        comparer.axis("y", "model", ["./sd", "./sd3"])
        comparer.begin()
        comparer.finish()
        page.locator("#grid-table td.gr-cell button").nth(1).click()
        page.wait_for_selector("#grid-table .gr-detail img")
        contrast = {place: round(page.evaluate(CONTRAST, place), 2) for place in PLACES if page.locator(place).count()}
        assert set(contrast) == set(PLACES)
        assert {place: ratio for place, ratio in contrast.items() if ratio < 4.5} == {}
