"""The page as a person meets it: a real server with tiny models, a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from browser import Site, Visitor, serving, short, visiting

from aigc_demo.generators.text import TextParams
from aigc_demo.generators.text_model import Passes
from aigc_demo.generators.text_rows import TEXT
from aigc_demo.params import clean
from aigc_demo.results import finish
from aigc_demo.ui.run import UPDATES_PER_SECOND

COUNT_UPDATES = """() => {
    const ask = window.fetch;
    window.updates = 0;
    window.fetch = async (...request) => {
        const response = await ask(...request);
        if (!response.url.includes("/queue/data")) return response;
        const [forPage, forUs] = response.body.tee();
        (async () => {
            for await (const part of forUs.pipeThrough(new TextDecoderStream()))
                window.updates += part.split('"process_generating"').length - 1;
        })().catch(() => {});
        return new Response(forPage, response);
    };
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("page")) as started:
        yield started


@pytest.fixture
def visitor(browser: Any, site: Site) -> Iterator[Visitor]:
    """Someone with the page open, ready to ask ./tiny for short answers."""
    with visiting(browser, site.url) as arrived:
        yield short(arrived)
        assert arrived.faults == []


def test_an_answer_streams_and_the_page_comes_to_rest(visitor: Visitor) -> None:
    """The way from a prompt to an answer: the first thing that anybody does here."""
    page = visitor.page
    visitor.choose("./slow")
    page.evaluate(
        """() => {
            window.seen = new Set();
            const chat = document.querySelector("#text-chat");
            new MutationObserver(() => {
                const last = [...chat.querySelectorAll(".message.bot .message-content")].pop();
                if (last) window.seen.add(last.innerText);
            }).observe(chat, {subtree: true, childList: true, characterData: true});
        }"""
    )
    visitor.type("The quick brown fox")
    with visitor.answered():
        page.press("#text-prompt textarea", "Enter")
        page.wait_for_selector("#text-stop-button", state="visible")
        page.wait_for_selector("#text-send-button", state="hidden")
        page.wait_for_function("document.querySelector('#text-prompt textarea').value === ''")
    assert page.evaluate("window.seen.size") > 2
    page.wait_for_selector("#text-stop-button", state="hidden")
    assert visitor.facts["Model"] == "slow"
    assert visitor.facts["Ended by"] == "the longest answer allowed"
    assert visitor.said[0] == "The quick brown fox"
    assert len(visitor.said) == 2
    assert page.locator(".tv-text [role=option]").count() == 16


def test_stop_keeps_what_is_written_and_leaves_others_alone(
    browser: Any, site: Site, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everyone stops only their own job, and loses nothing by it."""
    with visiting(browser, site.url) as other:
        other.unfold("Length")
        for person in (visitor, other):
            person.choose("./slow")
            person.set("max_new_tokens", 60)
            person.set("seed", 5)
            person.type("Once upon a time")
        with other.answered():
            monkeypatch.setattr(site, "pause", 1)  # 60 of them outlast what a busy machine needs for two clicks
            other.page.click("#text-send-button")
            other.page.wait_for_selector(".tv-live [data-index='1']")
            with visitor.answered():
                visitor.page.click("#text-send-button")
                visitor.page.wait_for_selector(".tv-live [data-index='3']")
                visitor.page.click("#text-stop-button")
            assert other.page.locator("#text-stop-button").is_visible()
            monkeypatch.setattr(site, "pause", 0)
        alone = finish(site.engine.run(TEXT, TextParams.of(other.recipe["settings"]))).value.text
        assert (other.facts["Ended by"], other.facts["Answer"]) == ("the longest answer allowed", "60 tokens")
        assert other.answer == clean(alone)
    assert visitor.facts["Ended by"] == "stopped by you"
    assert clean(alone).startswith(visitor.answer.rstrip("\ufffd"))
    assert 4 <= len(visitor.kept["conversation"]["nodes"][-1]["tokens"]) < 60
    visitor.page.wait_for_selector("#text-stop-button", state="hidden")


def test_a_reload_brings_everything_back(visitor: Visitor) -> None:
    """Who reloads by mistake loses neither the answer, nor the look inside it, nor what was being typed."""
    visitor.ask("The quick brown fox")
    with visitor.answered():
        visitor.page.click("#text-again-button")
    visitor.type("not sent yet")
    visitor.unfold("Recipe", "What the model read")

    def look() -> list[Any]:
        shown = [visitor.page.inner_text(box) for box in ("#text-tokens .tv-text", "#text-recipe")]
        return [
            visitor.said,
            visitor.facts,
            visitor.branches(),
            visitor.page.input_value("#text-read textarea"),
            *shown,
        ]

    before = look()
    visitor.reload()
    visitor.page.wait_for_selector("#text-status .aigc-facts")
    visitor.unfold("Recipe", "What the model read")
    visitor.comes_to(look, before)
    assert len(before[2]) == 2
    assert visitor.prompt == "not sent yet"


def test_a_restart_of_the_server_loses_nothing(site: Site, visitor: Visitor) -> None:
    """The server keeps nothing of a conversation, so it has nothing to lose."""
    first = visitor.ask("The capital of France")
    said = visitor.said
    site.stop()
    site.start()
    visitor.reload()
    visitor.page.wait_for_selector("#text-status .aigc-facts")
    assert visitor.said == said
    visitor.choose("./tiny")
    visitor.ask("And of Spain?")
    visitor.unfold("What the model read")
    visitor.comes_to(
        lambda: visitor.page.input_value("#text-read textarea"),
        f"<|im_start|>user\nThe capital of France<|im_end|>\n<|im_start|>assistant\n{first}<|im_end|>\n"
        "<|im_start|>user\nAnd of Spain?<|im_end|>\n<|im_start|>assistant\n",
    )


def test_two_tabs_do_not_overwrite_each_other(site: Site, visitor: Visitor) -> None:
    """Two tabs of one browser share its storage; so does a tab with the copy that "duplicate" makes of it."""
    visitor.ask("first tab")
    second = Visitor(visitor.context.new_page())
    second.open(site.url)
    assert second.said == []
    second.choose("./tiny")
    second.ask("second tab")
    copy = Visitor(visitor.context.new_page())
    id = visitor.page.evaluate("sessionStorage.getItem('aigc-conversation')")
    copy.page.add_init_script(
        f"if (!sessionStorage.getItem('aigc-conversation')) sessionStorage.setItem('aigc-conversation', '{id}')"
    )
    copy.open(site.url)
    copy.page.wait_for_selector("#text-status .aigc-facts")
    copy.choose("./tiny")
    copy.ask("from the copy")
    visitor.ask("from the first")
    asked = {}
    for tab in (visitor, second, copy):
        tab.reload()
        tab.page.wait_for_selector("#text-status .aigc-facts")
        asked[tab.kept["id"]] = [text for role, text in tab.turns if role == "user"]
        earlier = [node["id"] for node in tab.kept["conversation"]["nodes"] if node["role"] == "assistant"]
        assert all(tab.page.evaluate("(node) => aigc.store.answer(node)", node) for node in earlier)
    assert list(asked.values()) == [
        ["first tab", "from the first"],
        ["second tab"],
        ["first tab", "from the copy"],
    ]


def test_what_is_stored_can_be_seen_opened_and_deleted(visitor: Visitor) -> None:
    """The promise of the panel: it lists all there is, and deletes what it says."""
    page = visitor.page
    visitor.ask("the first talk")
    page.click("#text-new-button")
    page.wait_for_selector("#text-chat .message", state="detached")
    visitor.ask("the second talk")
    visitor.unfold("stored")
    rows = page.locator(".aigc-stored li")
    titles = page.locator(".aigc-stored-title")
    rows.nth(1).wait_for()
    assert titles.all_inner_texts() == ["the second talk", "the first talk"]
    assert ["shown here" in text for text in rows.all_inner_texts()] == [True, False]
    rows.nth(1).get_by_role("button").first.click()
    page.wait_for_function("document.querySelector('#text-chat').innerText.includes('the first talk')")
    assert visitor.said[0] == "the first talk"
    rows.nth(0).get_by_role("button").nth(1).click()
    page.wait_for_function("document.querySelectorAll('.aigc-stored li').length === 1")
    assert titles.all_inner_texts() == ["the first talk"]
    assert visitor.said[0] == "the first talk"
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.click(".aigc-stored > .aigc-small")
    assert titles.count() == 1
    page.once("dialog", lambda dialog: dialog.accept())
    page.click(".aigc-stored > .aigc-small")
    page.wait_for_selector(".aigc-stored li", state="detached")
    assert "Nothing is stored." in page.inner_text(".aigc-stored")
    page.wait_for_selector("#text-chat .message", state="detached")
    visitor.ask("afresh")
    assert [text for role, text in visitor.turns if role == "user"] == ["afresh"]


def test_another_token_makes_a_branch_and_the_list_leads_back(visitor: Visitor) -> None:
    """The look inside a token, its alternatives and the way back, with keys alone."""
    page = visitor.page
    visitor.ask("The quick brown fox")
    before = visitor.kept
    whole = [visitor.said, visitor.facts, page.inner_text(".tv-text")]
    page.locator(".tv-text [role=option][data-index='0']").focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    go = page.locator(".tv-table .tv-go")
    assert go.count() == 10
    rank = next(n for n in range(10) if go.nth(n).is_enabled())
    go.nth(rank).focus()
    with visitor.answered():
        page.keyboard.press("Enter")
    ids = json.loads(before["answer"]["view"]["heads"].split("\n")[4])[0]
    old, new = (kept["conversation"]["nodes"][-1]["tokens"] for kept in (before, visitor.kept))
    assert new[:5] == [*old[:4], ids[rank]]
    assert new[4] != old[4]
    assert page.locator(".tv-text [role=option]").count() == len(new)
    branch = [visitor.said, visitor.facts, page.inner_text(".tv-text")]
    assert branch[0][1] != whole[0][1]
    for n, expected in enumerate((whole, branch, whole)):
        visitor.show_branch(n % 2)
        visitor.comes_to(lambda: [visitor.said, visitor.facts, page.inner_text(".tv-text")], expected)
    assert len(visitor.branches()) == 2


def test_edit_regenerate_and_retry_make_branches_and_clear_begins_anew(visitor: Visitor) -> None:
    """Nothing that a person changes is lost: it is a branch beside the other."""
    page = visitor.page
    visitor.ask("one")
    visitor.ask("two")
    assert visitor.branches() == []
    row = page.locator(".message-buttons-right").first
    row.get_by_label("Edit").click()
    page.locator("#text-chat textarea").fill("uno")
    with visitor.answered():
        page.locator("#text-chat").get_by_label("Submit").click()
    assert [text for role, text in visitor.turns if role == "user"] == ["uno"]
    assert len(visitor.branches()) == 2
    with visitor.answered():
        page.click("#text-again-button")
    assert [text for role, text in visitor.turns if role == "user"] == ["uno"]
    assert len(visitor.branches()) == 3
    with visitor.answered():
        page.locator("#text-chat").get_by_label("Retry").last.click()
    assert len(visitor.branches()) == 4
    visitor.show_branch(0)
    assert [text for role, text in visitor.turns if role == "user"] == ["one", "two"]
    old = visitor.kept["id"]
    page.locator("#text-chat").get_by_label("Clear").click()
    page.wait_for_selector("#text-chat .message", state="detached")
    visitor.comes_to(lambda: visitor.facts, {})
    visitor.comes_to(page.locator(".tv-text [role=option]").count, 0)
    visitor.ask("another")
    assert visitor.kept["id"] != old
    assert len(visitor.turns) == 2


def test_the_page_gets_thirty_updates_a_second_and_the_last_one(
    site: Site, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However fast the tokens come, the page has time to breathe, and ends with the whole answer."""
    again = torch.randn(400, generator=torch.Generator().manual_seed(0)) * 3
    monkeypatch.setattr(Passes, "step", lambda self, token: again[: self._loaded.model.config.vocab_size])
    visitor.page.evaluate(COUNT_UPDATES)
    visitor.set("max_new_tokens", 250)
    visitor.ask("Once upon a time")
    updates = visitor.page.evaluate("window.updates")
    seconds = visitor.recipe["timings"]["total"]
    assert 2 < updates <= UPDATES_PER_SECOND * seconds + 5
    assert visitor.answer == clean(finish(site.engine.run(TEXT, TextParams.of(visitor.recipe["settings"]))).value.text)
    assert visitor.page.locator(".tv-text [role=option]").count() == visitor.recipe["figures"]["generated_tokens"]
    shown, written = (re.sub(r"\W", "", text) for text in (visitor.said[-1], visitor.answer))
    assert shown == written
