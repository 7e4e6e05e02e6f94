"""This browser's gallery, in a browser, on a small page that has nothing else but a film."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from browser import PATIENCE
from gallery_stand import (
    CANARY,
    COUNT,
    Stand,
    Visitor,
    drawing,
    png,
    recipe,
    stand,
    visiting,
    visitor,
)

from aigc_demo.ui import film as film_module
from aigc_demo.ui import gallery as gallery_module
from aigc_demo.ui.gallery import STATIC

__all__ = ["stand", "visitor"]  # fixtures


# ---- words ----------------------------------------------------------------------------------------------------------


# A word that the script asks for and nobody wrote would stand on the page as "undefined".
@pytest.mark.parametrize("module", [film_module, gallery_module])
def test_every_word_is_said_in_both_languages_and_is_used(module: Any) -> None:
    script = (STATIC / module.__name__.rpartition(".")[2]).with_suffix(".js").read_text("utf-8")
    asked = set(re.findall(r'(?<!props\.)\bwords\.(\w+)|\bsay\("(\w+)"', script))
    assert {name for pair in asked for name in pair if name} <= set(module.WORDS)
    for key, words in module.WORDS.items():
        assert re.search(rf"\b{key.removesuffix('_help')}\b", script), key
        assert re.search("[\u4e00-\u9fff]", words.zh), key
        assert set(re.findall(r"\{\w+\}", words.en)) == set(re.findall(r"\{\w+\}", words.zh)), key


# ---- the gallery ----------------------------------------------------------------------------------------------------


def test_a_hundred_pictures_stay_the_newest_first_over_a_reload(visitor: Visitor) -> None:
    """The promise of the gallery: nobody loses an evening's pictures, nor their order."""
    visitor.have(*range(1, 101))
    newest_first = list(range(100, 0, -1))
    assert visitor.seeds == newest_first
    visitor.open()
    visitor.count(100)
    assert visitor.seeds == newest_first
    assert "100 pictures" in visitor.page.inner_text(".gl-top")
    rows = visitor.page.evaluate("async () => (await aigc.pictures.list()).map(({blob}) => blob === undefined)")
    assert rows == [True] * 100
    last = visitor.page.locator(".gl-thumb").last
    last.scroll_into_view_if_needed()
    visitor.page.wait_for_function("document.querySelector('.gl-thumb:last-child img').naturalWidth === 64")


def test_a_page_of_version_1_leaves_its_conversations_behind(browser: Any, stand: Stand) -> None:
    """Who used the page before it had pictures keeps every conversation."""
    with visiting(browser, stand) as visitor:
        visitor.page.goto(stand.file(drawing(1), "plain.png"))  # the same origin, without our script
        visitor.page.evaluate(
            """() => new Promise((done) => {
                const request = indexedDB.open("aigc-demo", 1);
                request.onupgradeneeded = () => {
                    request.result.createObjectStore("conversations", {keyPath: "id"});
                    request.result.createObjectStore("answers", {keyPath: ["conversation", "node"]});
                };
                request.onsuccess = () => {
                    const writing = request.result.transaction(["conversations", "answers"], "readwrite");
                    const conversation = {leaf: "n1", nodes: [{id: "n1", role: "user", content: "from before"}]};
                    const row = {id: "old", revision: 3, title: "from before", updated: 1, conversation};
                    writing.objectStore("conversations").put(row);
                    writing.objectStore("answers").put({conversation: "old", node: "n1", view: "kept"});
                    writing.oncomplete = () => { request.result.close(); done(); };
                };
            })"""
        )
        visitor.open()
        visitor.have(1)
        titles = visitor.page.evaluate("async () => (await aigc.store.list()).map(({title}) => title)")
        assert titles == ["from before"]
        kept = visitor.page.evaluate(
            "async () => [await aigc.store.load('old'), await aigc.store.answer('n1')].map((x) => x.leaf || x.view)"
        )
        assert kept == ["n1", "kept"]


def test_an_older_page_in_another_tab_does_not_hang_this_one(browser: Any, stand: Stand) -> None:
    """The database cannot grow while a page of version 1 holds it: this one goes on, says so, and recovers."""
    with visiting(browser, stand) as visitor:
        older = visitor.page.context.new_page()
        older.goto(stand.file(drawing(1), "plain.png"))
        older.evaluate(
            """() => new Promise((done) => {
                const request = indexedDB.open("aigc-demo", 1);
                request.onsuccess = () => { window.held = request.result; done(); };
            })"""
        )
        visitor.open()
        visitor.page.wait_for_selector(".aigc-gallery .warn:not([hidden])")
        assert visitor.page.evaluate("aigc.store.load('old')") is None
        older.close()
        visitor.page.wait_for_function("aigc.pictures.list().then(() => true, () => false)", timeout=PATIENCE)
        visitor.have(1)
        assert visitor.page.locator(".aigc-gallery .warn").is_hidden()


def test_two_tabs_show_the_same_pictures(visitor: Visitor) -> None:
    """They share one store: a picture that one deletes is gone from the other, also where it is shown large."""
    visitor.have(1, 2)
    other = Visitor(visitor.page.context.new_page(), visitor.stand)
    other.open()
    other.count(2)
    other.look_at(1)
    visitor.page.bring_to_front()
    visitor.look_at(1)
    visitor.press("Delete")
    for tab in (visitor, other):
        tab.count(1)
        tab.page.wait_for_selector(".gl-picture", state="detached")
        assert tab.seeds == [2]
    assert other.faults == []


def test_one_picture_or_all_are_deleted(visitor: Visitor) -> None:
    """What is said to be deleted is gone from the store and not only from the page; all of it only when asked twice."""
    visitor.have(1, 2, 3)
    visitor.look_at(2)
    visitor.press("Delete")
    visitor.count(2)
    assert visitor.seeds == [3, 1]
    visitor.page.wait_for_function("document.activeElement.ariaLabel?.endsWith(' 1')")  # the next one
    delete_all = visitor.page.get_by_role("button", name="Delete all")
    visitor.page.once("dialog", lambda dialog: dialog.dismiss())
    delete_all.click()
    visitor.count(2)
    visitor.page.once("dialog", lambda dialog: dialog.accept())
    delete_all.click()
    visitor.count(0)
    assert gallery_module.WORDS["none"].en in visitor.page.inner_text(".aigc-gallery")
    visitor.open()
    assert visitor.page.evaluate(COUNT) == [0, 0]


def test_a_full_store_says_so_and_keeps_the_rest(visitor: Visitor) -> None:
    """A picture that was not kept must not look kept, half of one neither; deleting something ends the trouble."""
    visitor.have(1, 2)
    visitor.page.evaluate(
        """() => {
            const put = IDBObjectStore.prototype.put;
            IDBObjectStore.prototype.put = function (value) {
                if (this.name === "thumbs") throw new DOMException("full", "QuotaExceededError");
                return put.call(this, value);
            };
        }"""
    )
    assert visitor.add(3) is None
    warning = visitor.page.locator(".aigc-gallery .warn")
    assert warning.inner_text() == gallery_module.WORDS["full"].en
    assert visitor.page.evaluate(COUNT) == [2, 2]
    visitor.look_at(1)
    visitor.press("Delete")
    warning.wait_for(state="hidden")
    visitor.count(1)
    assert visitor.seeds == [2]


def test_a_browser_that_stores_nothing_says_so(browser: Any, stand: Stand) -> None:
    """Where storage is forbidden the page still works, and says what will be lost."""
    with visiting(browser, stand) as visitor:
        visitor.page.add_init_script(
            """IDBFactory.prototype.open = () => { throw new DOMException("no", "SecurityError"); };
            window.BroadcastChannel = function () { throw new DOMException("no", "SecurityError"); };"""
        )
        visitor.open()
        assert visitor.page.inner_text(".aigc-gallery .warn") == gallery_module.WORDS["refused"].en
        assert visitor.add(1) is None
        assert visitor.page.inner_text(".aigc-gallery .warn") == gallery_module.WORDS["refused"].en
        assert visitor.page.evaluate("aigc.store.load('any')") is None
        assert visitor.faults == []


def test_a_picture_that_the_server_lost_is_told(visitor: Visitor) -> None:
    """Gradio deletes its files after a while; a broken thumbnail in the grid would help nobody."""
    assert visitor.page.evaluate("aigc.pictures.add({url: '/nothing-here.png', recipe: {}})") is None
    assert visitor.page.inner_text(".aigc-gallery .warn") == gallery_module.WORDS["lost"].en
    assert visitor.seeds == []


def test_markup_in_a_recipe_is_shown_and_not_interpreted(visitor: Visitor) -> None:
    """A recipe may come from a stranger's file, and this page holds everything that a visitor has made."""
    strange = {"prompt": CANARY, "negative_prompt": CANARY, "scheduler": CANARY, "seed": CANARY, CANARY: CANARY}
    url = visitor.stand.file(drawing(1), "1-64x64.png")
    for recipe_ in (
        {"settings": {"prompt": "plain"}},
        {"settings": strange, "model": {"name": CANARY}},
        {"settings": None, "model": [CANARY]},
        "nothing",
    ):
        visitor.page.evaluate("(made) => aigc.pictures.add(made)", {"url": url, "recipe": recipe_})
    visitor.count(4)
    for n in (3, 0, 1, 2):
        visitor.page.locator(".gl-thumb").nth(n).click()
        visitor.page.wait_for_selector(".gl-picture img")
    facts = visitor.page.locator(".gl-detail")
    visitor.page.wait_for_function("(text) => document.querySelector('.gl-texts').innerText.includes(text)", arg=CANARY)
    assert facts.inner_text().count(CANARY) == 5
    visitor.press("Compare")
    visitor.page.locator(".gl-thumb").nth(3).click()
    visitor.page.wait_for_selector(".gl-differences")
    assert facts.inner_text().count(CANARY) == 7
    assert visitor.page.locator("img[src='x']").count() == 0


def test_the_buttons_hand_the_recipe_over(visitor: Visitor) -> None:
    """What the tab puts into the form is what the picture was made from, and what it edits is the PNG itself."""
    big = drawing(9, (512, 512), noise=0.5)
    visitor.have(1, 2)
    assert visitor.add(9, big, prompt="两只猫")
    visitor.count(3)
    visitor.look_at(9)
    for button, event in (("Reuse everything", "reuse"), ("Reuse the seed", "reuse_seed"), ("Edit this", "edit")):
        visitor.press(button)
        visitor.page.wait_for_function(
            '(name) => document.querySelector(\'#heard textarea\').value.includes(`"event": "${name}"`)', arg=event
        )
        heard = visitor.heard()
        assert heard["recipe"] == recipe(9, prompt="两只猫")
    head, _, data = heard["picture"].partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data) == png(big)
    assert len(data) > 500_000


def test_a_download_is_the_png_byte_for_byte(visitor: Visitor) -> None:
    """The recipe is in the file's text chunks: drawn anew, a picture would lose it."""
    for n, prompt, name in (
        (1, "A red/blue  <fox>!", "aigc-a-red-blue-fox-1.png"),
        (2, "../../一只 狐狸", "aigc-一只-狐狸-2.png"),
        (3, "", "aigc-3.png"),
    ):
        visitor.add(n, prompt=prompt)
        visitor.look_at(n)
        with visitor.page.expect_download() as got:
            visitor.press("Download")
        assert got.value.suggested_filename == name
        assert Path(got.value.path()).read_bytes() == png(drawing(n))


def test_two_pictures_are_compared_with_keys_alone(visitor: Visitor) -> None:
    """The slider between two pictures, and what differs in their making, for who uses no mouse."""
    page = visitor.page
    visitor.have(1, 2)
    assert visitor.add(3, drawing(3, (96, 64)), guidance_scale=3)
    visitor.count(3)
    page.locator(".gl-thumb[tabindex='0']").focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.wait_for_selector(".gl-picture")
    page.locator(".gl-compare").focus()
    page.keyboard.press("Enter")
    assert page.inner_text(".gl-hint") == gallery_module.WORDS["second"].en
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    wipe = page.get_by_label(gallery_module.WORDS["wipe"].en)
    wipe.focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.aigc-gallery .aigc-wipe img + img')).clipPath")
        == "inset(0px 30% 0px 0px)"
    )
    assert wipe.get_attribute("aria-valuetext") == "70% of the left picture, 30% of the right one"
    boxes = page.locator(".aigc-gallery .aigc-wipe img").evaluate_all(
        "(all) => all.map((one) => one.getBoundingClientRect().width)"
    )
    assert boxes[0] == boxes[1]
    rows = page.locator(".gl-differences tbody tr").evaluate_all(
        "(rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent))"
    )
    assert rows == [
        ["Prompt", "a smiling face, number 1", "a smiling face, number 3"],
        ["Seed", "1", "3"],
        ["Guidance", "7.5", "3"],
        ["Size", "64 × 64", "96 × 64"],
    ]
    page.keyboard.press("Escape")
    page.wait_for_selector(".gl-picture")
    page.keyboard.press("Escape")
    page.wait_for_selector(".gl-picture", state="detached")
