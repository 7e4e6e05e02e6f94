"""The page's form: knobs that rest, recipes that go out and come back, markup, a phone, the dark, the keyboard."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Site, Visitor, recipe_file, serving, short, visiting
from transformers import AutoTokenizer

from aigc_demo.generators.text import TextParams
from aigc_demo.ui.text_page import AT_ZERO, COMPLETING

CANARY = "<img src=x onerror=window.__pwned=1>"
MARKUP = [
    CANARY,
    "<script>window.__pwned=1</script>",
    "<svg onload=window.__pwned=1>",
    "[link](javascript:window.__pwned=1)",
    "<a href='javascript:window.__pwned=1'>link</a>",
    "&lt;b&gt; &amp; `<i>` a<b",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("form")) as started:
        yield started


@pytest.fixture
def visitor(browser: Any, site: Site) -> Iterator[Visitor]:
    """Someone with the page open, ready to ask ./tiny for short answers."""
    with visiting(browser, site.url) as arrived:
        yield short(arrived)
        assert arrived.faults == []


def test_a_knob_without_effect_rests_and_says_why(visitor: Visitor) -> None:
    """Nobody turns a knob in vain: what does nothing now is disabled, with the reason in its place."""
    page = visitor.page
    visitor.unfold()
    sideways = "(column) => column.scrollWidth - column.clientWidth"
    assert page.locator(".aigc-settings").evaluate(sideways) <= 0, "the knobs stand in one column"

    def resting(why: str) -> set[str]:
        names = ("temperature", "top_k", "top_p", "min_p", "seed", "system_prompt", "repetition_penalty")
        return {
            name
            for name in names
            if why in page.inner_text(f"#text-{name}")
            and page.locator(f"#text-{name}").locator("input, textarea").first.is_disabled()
        }

    def wait(why: str, how_often: int) -> None:
        page.wait_for_function(
            "([why, n]) => document.querySelector('.aigc-settings').innerText.split(why).length === n + 1",
            arg=[why, how_often],
        )

    assert page.locator(".aigc-settings :disabled").count() == 0
    page.get_by_role("radio", name="Complete").check()
    wait(COMPLETING.en, 1)
    assert resting(COMPLETING.en) == {"system_prompt"}
    visitor.set("temperature", 0)
    wait(AT_ZERO.en, 4)
    assert resting(AT_ZERO.en) == {"top_k", "top_p", "min_p", "seed"}
    page.get_by_role("radio", name="Chat").check()
    wait(COMPLETING.en, 0)
    visitor.set("temperature", 0.5)
    wait(AT_ZERO.en, 0)
    assert page.locator(".aigc-settings :disabled").count() == 0
    for name in ("top_k", "seed", "system_prompt"):
        assert TextParams.markers()[name][1].help.en in page.inner_text(f"#text-{name}")


WANTED = {
    "system_prompt": "Answer briefly.",
    "temperature": 0.9,
    "top_k": 17,
    "top_p": 0.83,
    "min_p": 0.01,
    "repetition_penalty": 1.25,
    "max_new_tokens": 13,
    "stop": "zzz\nyyy",
    "seed": 11,
}


def test_a_recipe_restores_the_form_and_makes_the_text_again(visitor: Visitor, browser: Any, site: Site) -> None:
    """Yesterday's recipe, dropped on today's page of somebody else, gives yesterday's text."""
    visitor.ask("The first question")
    for name, value in WANTED.items():
        visitor.set(name, value)
    text = visitor.ask("The quick brown fox")
    said, recipe = visitor.said, visitor.recipe
    visitor.unfold("Recipe")
    with visitor.page.expect_download() as download:
        visitor.page.click("#text-save-button")
    assert download.value.suggested_filename == "aigc-text-11.json"
    assert json.loads(Path(download.value.path()).read_text("utf-8")) == recipe
    with visiting(browser, site.url) as other:
        other.type("something else")
        other.unfold("Recipe")
        other.restore(download.value.path())
        other.page.wait_for_function("document.querySelector('#text-status').innerText.includes('Restored')")
        assert other.said == said[:2]
        other.unfold()
        fields = {**WANTED, "prompt": "The quick brown fox", "model": "./tiny", "mode": "chat"}
        assert {name: other.value(name) for name in fields} == fields
        with other.answered():
            other.page.click("#text-send-button")
        assert other.answer == text
        assert other.said == said
        assert other.recipe["settings"] == recipe["settings"]


def test_a_recipe_of_a_branch_makes_the_branch_again(
    visitor: Visitor, browser: Any, site: Site, tmp_path: Path
) -> None:
    """An answer with a token that a person chose is as reproducible as any other."""
    visitor.ask("The quick brown fox")
    visitor.page.locator(".tv-text [role=option][data-index='3']").click()
    with visitor.answered():
        visitor.page.locator(".tv-table .tv-go:enabled").first.click()
    text, settings = visitor.answer, visitor.recipe["settings"]
    assert len(settings["answer_prefix"]) == 4
    with visiting(browser, site.url) as other:
        other.unfold("Recipe")
        other.restore(recipe_file(tmp_path, settings))
        other.page.wait_for_function("document.querySelector('#text-prompt textarea').value !== ''")
        with other.answered():
            other.page.click("#text-send-button")
        assert other.answer == text
        other.ask("The quick brown fox")
        assert other.recipe["settings"]["answer_prefix"] == []


def test_a_damaged_recipe_is_told_and_changes_nothing(visitor: Visitor, tmp_path: Path) -> None:
    """A file from anywhere: a clear word, and everything on the page stays."""
    visitor.ask("The quick brown fox")
    visitor.type("not sent yet")
    before = [visitor.said, visitor.facts, visitor.value("seed")]
    visitor.unfold("Recipe")
    file = tmp_path / "recipe.json"
    for data, told in {
        b"{": "damaged",
        b"\xff\xfe\x00": "damaged",
        b"[]": "not a recipe",
        recipe_file(tmp_path, {"temperature": 9}).read_bytes(): "Missing settings",
        recipe_file(tmp_path, {"prompt": "x", CANARY: 1}).read_bytes(): CANARY,
    }.items():
        file.write_bytes(data)
        visitor.restore(file)
        assert told in visitor.toast()
        assert [visitor.said, visitor.facts, visitor.value("seed")] == before
        assert visitor.prompt == "not sent yet"
    visitor.ask("and on")
    assert len(visitor.turns) == 4
    assert visitor.page.evaluate("window.__pwned") is None


def test_markup_is_shown_everywhere_and_runs_nowhere(browser: Any, site: Site, tmp_path: Path) -> None:
    """A model, a recipe or a visitor may write HTML. It is text: in the chat, the tokens, the facts, the titles."""
    shutil.copytree(site.models / "tiny", site.models / CANARY, dirs_exist_ok=True)
    tokens = AutoTokenizer.from_pretrained(site.models / "tiny")(" ".join(MARKUP))["input_ids"]
    settings = TextParams(
        prompt="\n\n".join(MARKUP), model=f"./{CANARY}", answer_prefix=tokens, max_new_tokens=4, seed=7
    ).values()
    with visiting(browser, site.url) as visitor:
        page = visitor.page
        visitor.unfold()
        visitor.restore(recipe_file(tmp_path, settings | {"token_details": True}))
        page.wait_for_function("document.querySelector('#text-prompt textarea').value !== ''")
        with visitor.answered():
            page.click("#text-send-button")
        assert visitor.facts["Model"] == CANARY
        page.wait_for_selector(".aigc-stored li")
        for index in range(0, len(tokens), 7):
            page.locator(f".tv-text [role=option][data-index='{index}']").click()
        with visitor.answered():
            page.click("#text-again-button")
        visitor.show_branch(0)
        texts = [*visitor.said, page.inner_text(".tv-text"), page.inner_text(".aigc-stored-title")]
        texts += [page.input_value("#text-read textarea"), page.inner_text("#text-recipe")]
        for text in texts:
            assert CANARY in text.replace("\n", "")
        for text in visitor.said:
            for piece in MARKUP[:3]:
                assert piece in text
            assert "&lt;b&gt; &amp; <i> a<b" in text
        page.locator(".message-buttons-right").first.get_by_label("Edit").click()
        visitor.reload()
        page.wait_for_selector("#text-status .aigc-facts")
        visitor.choose(f"{CANARY}/x")
        visitor.type("-")
        page.press("#text-prompt textarea", "Enter")
        assert CANARY in visitor.toast()
        assert visitor.branches()
        assert page.evaluate("[window.__pwned, document.querySelectorAll('img[src=x], svg[onload]').length]") == [
            None,
            0,
        ]
        assert page.locator("a[href^='javascript']").count() == 0
        assert visitor.faults == []


CONTRAST = """(selector) => {
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const channels = (color) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = (rgb) => rgb.slice(0, 3).map((c) => c / 255)
        .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const node = document.querySelector(selector);
    let under = node, back = [0, 0, 0, 0];
    while (under && back[3] < 255) {
        back = channels(getComputedStyle(under).backgroundColor);
        under = under.parentElement;
    }
    const [high, low] = [light(channels(getComputedStyle(node).color)), light(back)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
}"""
READ = [
    ".aigc-header h1",
    ".aigc-in-en p",
    "#aigc-device p",
    "#text-status dt",
    "#text-status dd",
    "#text-chat .message.bot p",
    "#text-chat .message.user p",
    "#text-send-button",
    "#text-again-button",
    "#text-temperature .info-text",
    "#text-temperature label > span",
    "#text-model-note p",
    ".tv-totals",
    ".tv-text .l0",
    ".tv-text .l4",
    ".tv-table td",
    ".tv-table th",
    ".tv-sentence",
]


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_everything_can_be_read_in_the_dark_and_in_the_light(browser: Any, site: Site, scheme: str) -> None:
    """WCAG AA: 4.5 to 1 for text, with the colours that the browser computes."""
    with visiting(browser, f"{site.url}?__theme={scheme}", color_scheme=scheme) as visitor:
        short(visitor).ask("The quick brown fox")
        visitor.page.locator(".tv-text [role=option][data-index='3']").click()
        ground = visitor.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, re.findall(r"\d+", ground)[:3])) < 70) == (scheme == "dark")
        contrast = {
            place: round(visitor.page.evaluate(CONTRAST, place), 2)
            for place in READ
            if visitor.page.locator(place).count()
        }
        assert len(contrast) >= len(READ) - 2
        assert {place: ratio for place, ratio in contrast.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_a_phone_needs_no_sideways_scrolling(browser: Any, site: Site, locale: str) -> None:
    """390 CSS pixels are what a phone has."""
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    with visiting(browser, site.url, locale, **phone) as visitor:

        def width() -> int:
            return visitor.page.evaluate("document.documentElement.scrollWidth")

        assert width() <= 390
        visitor.unfold()
        assert width() <= 390
        short(visitor).ask("The quick brown fox " + "jumps" * 30)
        visitor.page.locator(".tv-text [role=option][data-index='3']").click()
        visitor.page.wait_for_selector(".tv-sentence")
        assert width() <= 390


def test_everything_is_reached_with_the_tab_key(visitor: Visitor, site: Site) -> None:
    """Who has no mouse reaches the prompt, the buttons, the knobs and the tokens; and the page has a name and a face."""
    page = visitor.page
    visitor.ask("The quick brown fox")
    visitor.unfold()
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    page.locator(".aigc-languages button").first.focus()
    reached: list[str] = []
    for _ in range(90):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "(() => { const own = document.activeElement.closest('[id^=text-]'); return own ? own.id : ''; })()"
            )
        )
    wanted = {f"text-{name}" for name in (*WANTED, "prompt", "mode", "model", "chat", "tokens", "stored", "drop")}
    wanted |= {f"text-{name}-button" for name in ("send", "again", "new", "save", "keep_seed")}
    assert wanted - set(reached) == set()
    assert page.title().startswith("aigc-demo")
    assert page.evaluate("document.documentElement.lang") == "en"
    icon = page.request.get(f"{site.url}favicon.ico")
    assert icon.body() == (Path(__file__).parents[1] / "assets" / "favicon.png").read_bytes()
