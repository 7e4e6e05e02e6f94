"""The Images tab is read: as text whatever people write, in Chinese, on a phone, in the dark and in the light."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from browser import Site
from painter import (
    ALSO_NAMES,
    CANARY,
    PHONE,
    Pace,
    Painter,
    hurry,
    painter,
    painting,
    read_the_page,
    site,
)
from test_page_form import CONTRAST
from test_page_words import english

__all__ = ["hurry", "painter", "site"]  # fixtures


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
