"""The film of a picture, and both it and the gallery in Chinese, on a phone and side by side."""

from __future__ import annotations

import re
from typing import Any

from gallery_stand import (
    CANARY,
    STEPS,
    Stand,
    Visitor,
    drawing,
    frame,
    payload,
    stand,
    visiting,
    visitor,
)

from aigc_demo.ui import film as film_module

__all__ = ["stand", "visitor"]  # fixtures


# ---- the film -------------------------------------------------------------------------------------------------------


def test_frames_arrive_while_the_picture_is_made_and_stay(visitor: Visitor) -> None:
    """Each payload brings one frame, so the page has to keep those before it; the next run begins with none."""
    page = visitor.page
    page.evaluate(
        """() => {
            window.seen = new Set();
            const image = document.querySelector(".fm-now img");
            new MutationObserver(() => window.seen.add(image.src)).observe(image, {attributes: true});
        }"""
    )
    page.click("#stream")
    page.wait_for_selector(".fm-is-live")
    page.wait_for_selector(".aigc-film:not(.fm-is-live) .fm-strip img")
    assert page.evaluate("window.seen.size") > 3
    assert page.get_attribute(".fm-slider", "max") == str(STEPS - 1)
    assert page.inner_text(".fm-spoken") == film_module.WORDS["finished"].en.format(n=STEPS)

    visitor.give(payload([frame(1)], live=True, append=True))
    page.wait_for_selector(".fm-is-live")
    assert page.inner_text(".fm-now .aigc-progress-line").split("\n") == ["Step 1 of 12", "about 3 s left"]
    assert page.get_attribute(".fm-progress", "aria-valuenow") == "8"
    visitor.give(payload([frame(2)], live=True, append=True, eta=None))
    page.wait_for_function("document.querySelector('.fm-now').innerText.startsWith('Step 2')")
    visitor.give(payload([frame(3)], append=True))
    page.wait_for_selector(".aigc-film:not(.fm-is-live)")
    assert page.get_attribute(".fm-slider", "max") == "2"
    assert page.locator(".fm-strip img").count() == 3
    visitor.give(None)
    page.wait_for_selector(".aigc-film.fm-is-empty")
    assert page.inner_text(".aigc-film") == film_module.WORDS["empty"].en


def test_progress_is_not_announced_at_every_step(visitor: Visitor) -> None:
    """A screen reader that reads fifty steps aloud says nothing any more."""
    visitor.page.evaluate(
        """() => {
            window.said = 0;
            new MutationObserver(() => window.said++).observe(document.querySelector(".fm-spoken"), {childList: true});
        }"""
    )
    visitor.page.click("#stream")
    visitor.page.wait_for_selector(".fm-is-live")
    visitor.page.wait_for_selector(".aigc-film:not(.fm-is-live) .fm-strip img")
    assert visitor.page.evaluate("window.said") <= 4


def test_the_steps_are_walked_with_arrow_keys(visitor: Visitor) -> None:
    """Noise, guess, pull and strip all follow the one slider."""
    page, frames = visitor.page, [frame(step, pull=step / 10) for step in range(1, STEPS + 1)]
    visitor.give(payload(frames))
    page.wait_for_selector(".fm-strip img")
    slider = page.get_by_label("Step", exact=True)
    slider.focus()

    def look() -> list[Any]:
        images = page.locator(".fm-pair img").evaluate_all("(all) => all.map((one) => one.src)")
        chosen = page.locator(".fm-strip img").evaluate_all(
            "(all) => all.findIndex((one) => one.matches('.fm-chosen'))"
        )
        return [*images, page.inner_text(".fm-line output"), page.inner_text(".fm-title b"), chosen]

    for key, at in (("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", STEPS - 1)):
        page.keyboard.press(key)
        told = f"Step {at + 1} of {STEPS}"
        pull = f"{frames[at]['pull']:.3f}" if frames[at]["pull"] >= 0.1 else f"{frames[at]['pull']:.4f}"
        assert look() == [frames[at]["noisy"], frames[at]["guess"], told, pull, at]
        assert slider.get_attribute("aria-valuetext") == told
    dot, thumb = (
        page.evaluate(
            "(of) => { const box = document.querySelector(of).getBoundingClientRect(); return box.left + box.width / 2; }",
            of,
        )
        for of in (".fm-dot", ".fm-strip img.fm-chosen")
    )
    assert abs(dot - thumb) < 1.5


def test_a_film_without_guidance_says_so(visitor: Visitor) -> None:
    """A flat line would look like a measurement."""
    visitor.give(payload([frame(step, pull=None) for step in range(1, 5)]))
    visitor.page.wait_for_selector(".fm-without:not([hidden])")
    assert visitor.page.locator(".fm-pull").is_hidden()
    visitor.give(payload([{**frame(step), "pull": None if step == 2 else 0.3} for step in range(1, 5)]))
    visitor.page.wait_for_selector(".fm-without", state="hidden")
    assert visitor.page.get_attribute(".fm-curve", "d").count("M") == 2
    visitor.page.locator(".fm-slider").focus()
    visitor.page.keyboard.press("Home")
    visitor.page.keyboard.press("ArrowRight")
    assert visitor.page.inner_text(".fm-title b") == "–"


# ---- both -----------------------------------------------------------------------------------------------------------


def test_the_page_speaks_chinese(browser: Any, stand: Stand) -> None:
    """Not a word of English is left on a Chinese page, except what people and models wrote."""
    with visiting(browser, stand, locale="zh-CN") as visitor:
        visitor.open()
        assert visitor.page.inner_text(".aigc-film") == film_module.WORDS["empty"].zh
        visitor.add(1, prompt="狐狸", scheduler="调度", guidance_scale=2)
        visitor.add(2, prompt="熊猫")
        visitor.give(payload([frame(1), frame(2)]))
        visitor.page.wait_for_selector(".fm-strip img")
        visitor.look_at(1)

        def english() -> list[str]:
            text = "".join(visitor.page.inner_text(of) for of in (".aigc-film", ".aigc-gallery"))
            return re.findall(r"[A-Za-z]+", re.sub(r"emoji|DDIM|\d+ KB", "", text))

        assert english() == []
        visitor.press("比较")
        visitor.pick(2)
        visitor.page.wait_for_selector(".gl-differences")
        assert english() == []


def test_a_phone_needs_no_sideways_scroll(browser: Any, stand: Stand) -> None:
    """Half of the visitors hold the page in their hand."""
    with visiting(browser, stand, viewport={"width": 390, "height": 844}) as visitor:
        visitor.open()
        for n in range(1, 8):
            visitor.add(n, prompt="W" * 300)
        visitor.add(8, drawing(8, (512, 128)))
        visitor.give(payload([frame(n, 50) for n in range(1, 51)], live=True, total=50))
        visitor.page.wait_for_selector(".fm-is-live")
        assert visitor.sideways() <= 0
        visitor.give(payload([frame(n, 50) for n in range(1, 51)], total=50, count=4))
        visitor.page.wait_for_selector(".fm-strip img")
        visitor.look_at(1)
        assert visitor.sideways() <= 0
        visitor.press("Compare")
        visitor.pick(8)
        visitor.page.wait_for_selector(".aigc-gallery .aigc-wipe")
        assert visitor.sideways() <= 0


# Two settings from the same noise, side by side at the same share of their steps: what a held run is for.
def test_a_held_run_is_compared_with_the_next(visitor: Visitor) -> None:
    page = visitor.page
    first, second = [frame(n) for n in range(1, 5)], [frame(n, pull=0.2) for n in range(1, STEPS + 1)]
    visitor.give(payload(first, settings={"seed": 5, "guidance_scale": 4, "prompt": CANARY}))
    page.get_by_role("button", name="Hold to compare").click()
    assert visitor.heard() == {"event": "hold", "seed": 5}
    assert page.locator(".fm-held").is_visible()
    assert not page.locator(".fm-compared").is_visible(), "a run is not compared with itself"

    visitor.give(payload(second, settings={"seed": 5, "guidance_scale": 8, "prompt": CANARY}))
    page.wait_for_selector(".fm-compared", state="visible")
    rows = page.locator(".fm-differences tr").evaluate_all("(all) => all.map((row) => row.innerText.split('\\t'))")
    assert rows == [["", "Held run (left)", "This run (right)"], ["Guidance", "4", "8"]]
    left, right = page.get_by_alt_text("Held run (left)"), page.get_by_alt_text("This run (right)")
    assert (left.get_attribute("src"), right.get_attribute("src")) == (first[-1]["guess"], second[-1]["guess"])
    page.locator(".fm-slider").fill("0")
    assert (left.get_attribute("src"), right.get_attribute("src")) == (first[0]["guess"], second[0]["guess"])

    visitor.give(payload(second, settings={"seed": 6, "guidance_scale": 8, "prompt": "another"}))
    page.get_by_text("The seeds differ").wait_for()
    assert page.evaluate("window.__pwned") is None
    page.get_by_role("button", name="Let go").click()
    assert not page.locator(".fm-compared").is_visible()
    assert visitor.sideways() <= 0
