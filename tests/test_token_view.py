"""The token view: its payload, and in a browser its arithmetic, its keyboard, and that no text of a model is markup."""

from __future__ import annotations

import json
import random
import re
import time
from dataclasses import replace
from itertools import pairwise

import gradio as gr
import pytest
import torch

from aigc_demo.generators.sampling import rank
from aigc_demo.generators.text import TextParams
from aigc_demo.generators.tokens import HEAD, Token, describe_head
from aigc_demo.ui.token_view import STATIC, WORDS, token_view, view_of

VOCABULARY = 3000
CANARY = "<img src=x onerror=window.__pwned=1>"
SETTINGS = {"temperature": 0.7, "top_k": 50, "top_p": 0.9, "min_p": 0.0}
REQUEST = TextParams(prompt="-", **SETTINGS)
TEXTS = ["Hello", " wide", " world", "!", "\n\n", " the", " ", CANARY, "", "", "猫", "."]
PIECES = [*TEXTS[:8], "‹E7›", "‹8C›", "‹AB›", "."]
END = Token(2, "", "<|im_end|>", 0.97, 1.0, 0)


class Names:
    """Of a model only what `describe_head` asks for."""

    def piece(self, token: int) -> str:
        return f"{CANARY}{token}" if token % 3 == 0 else f" t{token}"


def make_logits(seed: int, spread: float = 3.0, size: int = VOCABULARY) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)) * spread


def make_token(logits: torch.Tensor, place: int = 0, text: str = "x", look: str = "x") -> Token:
    ranking = rank(logits, **SETTINGS)
    log_total = logits.logsumexp(0)
    chosen = int(ranking.ids[place])
    chance = float(ranking.probabilities[place]) if place < ranking.kept else 0.0
    head = describe_head(logits, logits, log_total, ranking, Names())
    return Token(chosen, text, look, float((logits[chosen] - log_total).exp()), chance, place, head)


ANSWER = [
    make_token(make_logits(n), n % 5, text, look) for n, (text, look) in enumerate(zip(TEXTS, PIECES, strict=True))
] + [END]


def lines(text: str) -> list[list]:
    return [json.loads(line) if line else None for line in text.split("\n")[:-1]]


# ---- the payload ----------------------------------------------------------------------------------------------------


def test_a_payload_holds_tokens_heads_and_the_pieces_of_the_heads() -> None:
    view = json.loads(json.dumps(view_of(ANSWER, REQUEST, node="n7")))
    assert (view["node"], view["live"]) == ("n7", False)
    assert view["settings"] == {**SETTINGS, "repetition_penalty": REQUEST.repetition_penalty}
    tokens, heads, pieces = lines(view["tokens"]), lines(view["heads"]), json.loads(view["pieces"])
    assert [row[:3] for row in tokens] == [[t.id, t.text, t.piece] for t in ANSWER]
    assert [row[5] for row in tokens] == [t.rank for t in ANSWER]
    for row, token in zip(tokens, ANSWER, strict=True):
        assert row[3:5] == pytest.approx([token.probability, token.chance], rel=1e-4)
    ids, scores, probabilities, counts, low, tail = heads[4]
    head = ANSWER[4].head
    assert ids == head.ids
    assert [pieces[str(i)] for i in ids] == head.pieces
    assert scores == pytest.approx(head.scores, abs=1e-5)
    assert probabilities == pytest.approx(head.probabilities, rel=1e-4)
    assert counts == list(head.counts.values())
    assert (low, sum(tail)) == (pytest.approx(head.low, abs=1e-3), VOCABULARY - HEAD)
    assert heads[-1] is None


def test_a_live_payload_only_grows_and_carries_no_heads() -> None:
    bare = [replace(token, head=None) for token in ANSWER]
    views = [view_of(bare[:n], REQUEST, live=True) for n in range(len(bare) + 1)]
    for before, after in pairwise(views):
        assert after["tokens"].startswith(before["tokens"])
        assert {**after, "tokens": ""} == {**before, "tokens": ""}
    assert (views[0]["tokens"], views[-1]["heads"], views[-1]["pieces"]) == ("", "", "{}")
    assert view_of(ANSWER, REQUEST)["tokens"] == views[-1]["tokens"]
    assert view_of(ANSWER, REQUEST, live=True)["heads"] == ""


def test_scores_that_differ_do_not_become_ties() -> None:
    logits = torch.arange(0, VOCABULARY).float() * -0.0002
    scores = lines(view_of([make_token(logits)], REQUEST)["heads"])[0][1]
    assert len(set(scores)) == HEAD


def test_every_word_is_said_in_both_languages_and_is_used() -> None:
    script = (STATIC / "token_view.js").read_text(encoding="utf-8")
    asked = set(re.findall(r'(?<!props\.)\bwords\.(\w+)|\b(?:say|heading)\("(\w+)"', script))
    assert {name for pair in asked for name in pair if name} <= set(WORDS)
    for key, words in WORDS.items():
        assert re.search(rf"\b{key}\b", script) or key.startswith("left_"), key
        assert words.en.strip()
        assert words.zh.strip()
        assert set(re.findall(r"\{\w+\}", words.en)) >= set(re.findall(r"\{\w+\}", words.zh)), key
        assert not re.search(r"[A-Za-z]", re.sub(r"top-[kp]|min-p|\{\w+\}", "", words.zh)), words.zh


# ---- in a browser ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site():
    """A page with the view, sliders, a button that streams an answer, and what the event said."""
    with gr.Blocks() as blocks:
        for name, (low, high, step) in {
            "temperature": (0, 2, 0.05),
            "top_k": (0, 200, 1),
            "top_p": (0.01, 1, 0.01),
            "min_p": (0, 1, 0.01),
        }.items():
            gr.Slider(low, high, SETTINGS[name], step=step, label=name, elem_id=f"text-{name}")
        view = token_view(elem_id="view", value=view_of(ANSWER, REQUEST, node="n1"))
        stream, clear = gr.Button("stream", elem_id="stream"), gr.Button("clear", elem_id="clear")
        said = gr.Textbox(elem_id="said")

        def write():
            for n in range(1, len(ANSWER) + 1):
                yield view_of([replace(token, head=None) for token in ANSWER[:n]], REQUEST, live=True)
                time.sleep(0.15 if n in (6, 9) else 0.02)
            yield view_of(ANSWER, REQUEST, node="n2")

        def branch(event: gr.EventData):
            return json.dumps({"node": event.node, "index": event.index, "id": event.id})

        stream.click(write, None, view)
        clear.click(lambda: None, None, view)
        view.branch(branch, None, said)
    _, url, _ = blocks.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
    yield url
    blocks.close()


@pytest.fixture
def page(site, browser):
    yield from opened(site, browser, "en")


@pytest.fixture
def chinese_page(site, browser):
    yield from opened(site, browser, "zh-CN")


def opened(site, browser, locale):
    context = browser.new_context(locale=locale, viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(site)
    page.wait_for_selector(".tv-text [data-index='12']")
    yield page
    context.close()


def token_at(page, index):
    return page.locator(f".tv-text [role=option][data-index='{index}']")


def slide(page, name, value):
    page.evaluate(
        """([name, value]) => {
            const input = document.querySelector(`#text-${name} input[type=range]`);
            input.value = value;
            input.dispatchEvent(new Event("input", {bubbles: true}));
            return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        }""",
        [name, value],
    )


def in_browser(page, logits, settings):
    """[counts, probabilities of the head after the filters] as the page computes them."""
    head = view_of([make_token(logits)], REQUEST)["heads"].strip()
    return page.evaluate(
        """([line, settings]) => {
            const view = window.aigc.tokenView, scores = view.unfold(view.readHead(line));
            const found = view.distribute(scores, settings);
            return [found.counts, Array.from({length: 40}, (_, rank) => found.after(rank)), scores.length];
        }""",
        [head, settings],
    )


def random_settings(rng):
    return {
        "temperature": rng.choice([0, 0.2, 0.5, 0.7, 1.0, 1.3, 2.0]),
        "top_k": rng.choice([0, 0, 1, 5, 20, 39, 100]),
        "top_p": rng.choice([1.0, 0.95, 0.9, 0.5, 0.01]),
        "min_p": rng.choice([0.0, 0.0, 0.02, 0.1, 1.0]),
    }


def test_the_page_computes_what_the_sampler_does(page) -> None:
    """Exact where the head alone decides. Where the tail matters (its total, or equals of the head's last score), what
    its histogram allows: a count within a fifth and probabilities within 0.02."""
    rng, exact, near = random.Random(0), 0, 0
    for n in range(150):
        logits = make_logits(n, spread=rng.choice([1.0, 2.0, 4.0]))
        if n % 3 == 0:
            logits = (logits * 8).round() / 8  # real ties, which top-k keeps; bfloat16 makes them
        settings = random_settings(rng)
        want = rank(logits, **settings)
        counts, after, size = in_browser(page, logits, settings)
        known = [0.0] * HEAD
        known[: want.kept] = want.probabilities[:HEAD].tolist()
        furthest = max(abs(a - b) for a, b in zip(after, known, strict=True))
        assert size == VOCABULARY
        tail_matters = want.counts["top_k"] > HEAD and settings["top_p"] < 1
        if want.kept <= HEAD and not tail_matters:
            assert counts[-1] == want.kept, settings
            assert furthest < 1e-3, settings
            exact += 1
        else:
            assert abs(counts[-1] - want.kept) <= max(1, 0.2 * want.kept), settings
            assert furthest < 0.02, settings
            near += 1
    assert exact > 50
    assert near > 20


def test_markup_is_shown_and_never_interpreted(page) -> None:
    for index in (5, 7, 9):
        token_at(page, index).click()
        token_at(page, index).hover()
    assert CANARY in page.inner_text(".tv-text")
    assert CANARY in page.inner_text(".tv-table") + page.inner_text(".tv-bars")
    page.wait_for_timeout(100)
    assert page.evaluate("[window.__pwned, document.querySelectorAll('.aigc-tv img').length]") == [None, 0]


def test_text_reads_as_written_and_parts_of_a_character_stand_together(page) -> None:
    assert page.inner_text(".tv-character") == "猫"
    assert page.locator(".tv-group .tv-chip").all_inner_texts() == ["E7", "8C", "AB"]
    assert page.inner_text(".tv-end") == WORDS["end"].en
    assert page.evaluate("document.querySelector('.tv-line').textContent") == "Hello wide world!\n\n"
    levels = [int(re.search(r"\bl([0-4])\b", token_at(page, n).get_attribute("class"))[1]) for n in range(13)]
    assert levels == [sum(token.probability < bound for bound in (0.5, 0.2, 0.05, 0.01)) for token in ANSWER]


def test_keys_move_select_and_branch(page) -> None:
    assert page.locator(".tv-text [tabindex='0']").count() == 1
    token_at(page, 0).focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.dataset.index") == "1"
    assert page.locator("[aria-selected=true]").count() == 0
    page.keyboard.press("Enter")
    assert token_at(page, 1).get_attribute("aria-selected") == "true"
    assert WORDS["said"].en.split(":")[1].split()[0] in page.inner_text(".tv-said")
    buttons = page.locator(".tv-table .tv-go")
    assert buttons.count() == 10
    assert [n for n in range(10) if buttons.nth(n).is_disabled()] == [1]
    buttons.nth(3).focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#said textarea').value")
    said = json.loads(page.input_value("#said textarea"))
    assert said == {"node": "n1", "index": 1, "id": ANSWER[1].head.ids[3]}
    token_at(page, 1).focus()
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.dataset.index") == "12"
    page.keyboard.press("Home")
    assert token_at(page, 0).get_attribute("aria-selected") == "true"
    page.keyboard.press("Escape")
    assert page.locator("[aria-selected=true]").count() == 0
    assert page.locator(".tv-panel").is_hidden()


def test_the_table_says_who_removed_what(page) -> None:
    for index in (0, 3):
        token_at(page, index).click()
        counts = ANSWER[index].head.counts
        for place, told in enumerate(page.locator(".tv-table .tv-fate").all_inner_texts()):
            by = next((name for name, left in counts.items() if place >= left), None)
            assert told == f"removed by {WORDS[by].en}" if by else told.startswith("kept: ")


def test_the_plot_follows_the_sliders_without_the_server(page) -> None:
    token_at(page, 2).click()
    kept = ANSWER[2].head.counts["min_p"]
    assert page.inner_text(".tv-sentence").startswith(f"{kept} of 3,000 tokens are left")
    assert page.locator(".tv-differs").count() == 0
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    slide(page, "temperature", 0)
    assert page.inner_text(".tv-sentence") == WORDS["left_one_removed"].en.format(
        all="3,000", filter=WORDS["temperature"].en
    )
    assert page.locator(".tv-differs").count() == 1
    assert page.inner_text(".tv-settings b") == "0"
    slide(page, "temperature", 1.5)
    slide(page, "top_k", 4)
    slide(page, "top_p", 1)
    assert page.inner_text(".tv-sentence").startswith("4 of 3,000 tokens are left; the chosen one has ")
    removed = page.locator(".tv-bars .tv-removed .tv-number").all_inner_texts()
    assert removed == ["top-k"] * 17
    for name, value in SETTINGS.items():
        slide(page, name, value)
    assert page.locator(".tv-differs").count() == 0
    assert requests == []


def test_without_sliders_the_plot_shows_the_run(page) -> None:
    slide(page, "temperature", 0)
    page.evaluate("document.querySelectorAll('[id^=text-]').forEach((slider) => slider.remove())")
    token_at(page, 2).click()
    assert page.locator(".tv-differs").count() == 0


def test_a_growing_answer_keeps_nodes_selection_and_focus(page) -> None:
    page.click("#clear")
    page.wait_for_selector(".aigc-tv.tv-empty")
    assert page.inner_text(".aigc-tv") == WORDS["empty"].en
    page.click("#stream")
    page.wait_for_selector(".tv-live [data-index='2']")
    token_at(page, 2).click()
    page.evaluate("document.querySelector('[data-index=\"2\"]').kept = true")
    assert WORDS["wait"].en in page.inner_text(".tv-details")
    page.wait_for_selector(".aigc-tv:not(.tv-live) .tv-table")
    assert page.evaluate("document.querySelector('[data-index=\"2\"]').kept")
    assert page.evaluate("document.activeElement.dataset.index") == "2"
    assert token_at(page, 2).get_attribute("aria-selected") == "true"
    assert page.locator(".tv-text [role=option]").count() == 13


def test_the_page_speaks_chinese(chinese_page) -> None:
    assert chinese_page.inner_text(".tv-body > .tv-hint") == WORDS["choose"].zh
    token_at(chinese_page, 2).click()
    assert "个词元中剩下" in chinese_page.inner_text(".tv-sentence")
    assert WORDS["continue"].zh in chinese_page.inner_text(".tv-table")


def test_a_phone_needs_no_sideways_scroll(page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    token_at(page, 7).click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert (
        page.evaluate(
            "(() => { const t = document.querySelector('.tv-text'); return t.scrollWidth - t.clientWidth; })()"
        )
        <= 0
    )
