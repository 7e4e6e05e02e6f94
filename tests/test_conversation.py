"""Conversations as trees, the text that the page shows of them, and the facts under an answer."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aigc_demo.results import Step
from aigc_demo.ui import facts
from aigc_demo.ui.conversation import LONGEST, MOST_NODES, Conversation, Node
from aigc_demo.ui.text_page import shown_messages, shown_text, typed_text
from aigc_demo.weights import Progress
from aigc_demo.words import Words

ANY_TEXT = st.text(st.characters(categories=None), max_size=12)
IDS = st.sampled_from(["0", "1", "2", "3", "a", "\ud800", "x" * 21, ""])
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.just(10**400)
ANYTHING = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3), max_leaves=6
)
LIKELY = {
    "id": IDS,
    "parent": st.none() | IDS,
    "role": st.sampled_from(["user", "assistant"]),
    "content": ANY_TEXT,
    "mode": st.sampled_from(["chat", "complete"]),
    "tokens": st.lists(st.integers(0, 2**31 - 1), max_size=3),
}
ENTRIES = (
    st.fixed_dictionaries(LIKELY)
    | st.fixed_dictionaries({}, optional={name: likely | ANYTHING for name, likely in LIKELY.items()})
    | ANYTHING
)
STORED = (
    st.fixed_dictionaries({"nodes": st.lists(ENTRIES, max_size=8), "leaf": IDS | ANYTHING})
    | st.fixed_dictionaries({}, optional={"nodes": ANYTHING, "leaf": ANYTHING})
    | ANYTHING
)


def entry(id: str, parent: str | None, role: str = "user", content: str = "text", **more: Any) -> dict[str, Any]:
    return {"id": id, "parent": parent, "role": role, "content": content, **more}


def assert_well_formed(talk: Conversation) -> None:
    known: set[str] = set()
    for id, node in talk.nodes.items():
        assert node.id == id
        assert node.parent is None or node.parent in known  # so there is no way back up: no circle
        known.add(id)
        assert talk.path(id)[-1] is node
    assert talk.leaf in known if known else talk.leaf is None
    assert json.dumps(talk.data(), ensure_ascii=False, allow_nan=False).encode()
    assert all(token < 2**31 for node in talk.nodes.values() for token in node.tokens)


# What a browser sends may be old, damaged or made up: a well-formed tree comes of it, which the page can send back.
@given(STORED)
@example({"nodes": [entry("a", "b"), entry("b", "a")], "leaf": "a"})
@example({"nodes": [entry("a", "a")], "leaf": "a"})
@example({"nodes": [entry("a", None), entry("a", None, content="again")], "leaf": "b"})
@example({"nodes": [entry("a", None, tokens=[10**400])], "leaf": "a"})
@example({"nodes": [entry("\ud800", None)], "leaf": "\ud800"})
@settings(deadline=None, max_examples=300)
def test_anything_reads_as_a_well_formed_tree(data: Any):
    talk = Conversation.read(data)
    assert_well_formed(talk)
    assert Conversation.read(talk.data()) == talk
    assert [message["content"] for message in shown_messages(talk)] == [shown_text(n.content) for n in talk.path()]
    assert {leaf for _, leaf in talk.branches()} == {node.id for node in talk.leaves()}


# A well-formed conversation comes back as it was: a reload of the page loses nothing.
def test_what_the_browser_keeps_comes_back():
    talk = Conversation().ask("你好 <b>", "chat", None).answer("Hello", [1, 2, 3])
    talk = talk.ask("more", "chat", talk.leaf).answer("of it", [4])
    assert Conversation.read(json.loads(json.dumps(talk.data()))) == talk


# One bad turn takes those after it along, and no others: the rest of somebody's conversation is not lost.
def test_a_bad_turn_takes_only_what_follows_it():
    data = {
        "nodes": [entry("a", None), entry("b", "a", role="system"), entry("c", "b"), entry("d", "a")],
        "leaf": "c",
    }
    talk = Conversation.read(data)
    assert list(talk.nodes) == ["a", "d"]
    assert talk.leaf == "d"


# A browser that sends a hundred megabytes gets the beginning of its conversation, and the server keeps its memory.
def test_too_much_is_cut():
    many = {"nodes": [entry(str(n), None) for n in range(MOST_NODES + 10)], "leaf": None}
    assert len(Conversation.read(many).nodes) == MOST_NODES
    long = {"nodes": [entry(str(n), None, content="x" * (LONGEST // 3)) for n in range(5)], "leaf": "4"}
    assert list(Conversation.read(long).nodes) == ["0", "1", "2"]


def talked() -> Conversation:
    """q1 -> a1 -> q2 -> a2, shown to its end."""
    talk = Conversation().ask("q1", "chat", None).answer("a1", [1])
    return talk.ask("q2", "chat", talk.leaf).answer("a2", [2])


def contents(nodes: list[Node]) -> list[str]:
    return [node.content for node in nodes]


# A question goes behind what is shown and its answer behind the question; the earlier state stays as it was.
def test_ask_and_answer():
    before = Conversation().ask("q1", "chat", None)
    after = before.answer("a1", [7])
    assert [(n.role, n.content, n.tokens) for n in after.path()] == [("user", "q1", []), ("assistant", "a1", [7])]
    assert contents(before.path()) == ["q1"]
    assert contents(talked().path()) == ["q1", "a1", "q2", "a2"]


# Editing an early turn makes a branch beside it, and nothing of the old one is lost.
def test_an_edit_is_a_branch():
    talk = talked()
    first = talk.path()[0]
    edited = talk.ask("q1 changed", "chat", first.parent).answer("other", [3])
    assert contents(edited.path()) == ["q1 changed", "other"]
    assert contents(edited.show(talk.leaf).path()) == ["q1", "a1", "q2", "a2"]
    assert contents(edited.leaves()) == ["a2", "other"]


# Regenerating gives a second answer to the same question; both can be shown.
def test_a_retry_is_a_branch():
    talk = talked()
    asked = talk.path()[-2]
    again = talk.show(asked.id).answer("a2 again", [9])
    assert contents(again.path()) == ["q1", "a1", "q2", "a2 again"]
    assert contents(again.leaves()) == ["a2", "a2 again"]
    assert_well_formed(again)


# The model reads the turns before the question in the order of its own branch, and none of another.
def test_history_follows_the_branch():
    talk = talked()
    asked = talk.path()[-2]
    assert talk.history(asked.id) == [{"role": "user", "content": "q1"}, {"role": "assistant", "content": "a1"}]
    assert talk.history(talk.path()[0].id) == []
    edited = talk.ask("q2 changed", "chat", asked.parent)
    assert edited.history(edited.leaf or "") == talk.history(asked.id)


# A continuation reads its own text alone, and a chat does not take it for a turn.
def test_complete_begins_anew():
    talk = talked()
    raw = talk.ask("Once upon a time", "complete", talk.leaf).answer(" there was", [5])
    assert contents(raw.path()) == ["Once upon a time", " there was"]
    assert raw.history(raw.path()[0].id) == []
    chat = raw.ask("q", "chat", raw.leaf)
    assert contents(chat.path()) == ["q"]
    assert chat.history(chat.leaf or "") == []
    assert contents(chat.leaves()) == ["a2", " there was", "q"]


# A turn that the browser does not know any more cannot be asked behind: the question stands by itself.
def test_new_ids_are_free():
    talk = Conversation.read({"nodes": [entry("1", None), entry("2", "1")], "leaf": "2"})
    for n in range(5):
        talk = talk.ask(f"q{n}", "chat", talk.leaf)
        assert_well_formed(talk)
    assert len(talk.nodes) == 7


# People choose a branch by its label: one line each, numbered, with the end of the text where branches differ.
def test_branch_labels():
    talk = Conversation().ask("q", "chat", None)
    for ending in ("first", "second\n\n  line"):
        talk = talk.show("0").answer("x" * 100 + ending, [])
    labels = [label for label, _ in talk.branches()]
    assert [label[:3] for label in labels] == ["1. ", "2. "]
    assert labels[0].endswith("xfirst")
    assert labels[1].endswith("second line")
    assert all(len(label) < 60 and "\n" not in label for label in labels)
    assert [leaf for _, leaf in talk.branches()] == [node.id for node in talk.leaves()]


MARKDOWN = st.lists(
    st.sampled_from(
        ["`", "``", "```", "\n", "<", ">", "&", "&lt;", "&amp;", "&amp;lt;", "&#60;", "&copy;", "lt;", "div", " "]
    ),
    max_size=12,
).map("".join)


# Somebody who edits a turn gets back what they wrote, entities and code included, however it had to be shown.
@given(MARKDOWN | st.text(max_size=30))
@example("if a &lt; b: use `&lt;` or <b> &amp;lt; R&D")
@example("```html\n<div>&lt;</div>\n``` and <div>&lt;</div>")
@example("an open ``` fence <b> &lt;")
@settings(deadline=None, max_examples=500)
def test_shown_text_can_be_edited_without_loss(text: str):
    assert typed_text(shown_text(text)) == text


# Markdown shows a tag outside of code as nothing and an entity as another character; people want to read what was written.
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<div>", "&lt;div>"),
        ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"),
        ("write &lt; for it", "write &amp;lt; for it"),
        ("&#60;b&#62;", "&amp;#60;b&amp;#62;"),
        ("R&D, AT&T & co; a < b", "R&D, AT&T & co; a < b"),
        ("`<b>&lt;`", "`<b>&lt;`"),
        ("```\n<b>&lt;\n```\n<i>", "```\n<b>&lt;\n```\n&lt;i>"),
        ("你好 **bold**", "你好 **bold**"),
    ],
)
def test_what_is_shown(text: str, shown: str):
    assert shown_text(text) == shown


# In the box where a turn is edited a person may type an entity that we never wrote; it stays theirs.
def test_typed_entities_stay():
    assert typed_text("&copy; &nbsp; &lt") == "&copy; &nbsp; &lt"


class Elements(HTMLParser):
    """The elements of a piece of HTML and its text, as a browser would make them."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


CANARY = "\"'><img src=x onerror=alert(1)><script>alert(1)</script>&lt;b>"
RECIPE = {
    "model": {"name": "SmolLM2"},
    "device": {"kind": "cpu", "name": "a CPU", "dtype": "float32"},
    "settings": {"seed": 7},
    "timings": {"first_token": 0.5},
    "figures": {
        "prompt_tokens": 1234,
        "generated_tokens": 5,
        "tokens_per_second": 12.34,
        "context_share": 0.25,
        "peak_memory_bytes": 2**30,
        "surprisal_bits": 1.5,
        "perplexity": 2.75,
        "finish": "stop",
    },
}


# Everything that the issue promises under a result, in the reader's language.
def test_facts_of_an_answer():
    english, chinese = (Elements(facts.text_facts(RECIPE, language)).text for language in ("en", "zh-CN"))
    for value in ("SmolLM2", "a CPU · float32", "1,234 tokens", "5 tokens", "0.50 s", "12.3 tokens/s", "25.0%"):
        assert value in english
    for value in ("1.00 GiB", "2.75", "1.50 bits", "Seed7", "a stop string"):
        assert value in english
    for value in ("模型SmolLM2", "1,234 个词元", "0.50 秒", "随机种子7", "遇到停止字符串"):
        assert value in chinese


# A recipe that a stranger sent around is shown, never interpreted.
def test_facts_escape_a_hostile_recipe():
    hostile = {
        "model": {"name": CANARY},
        "device": {"name": CANARY, "dtype": CANARY},
        "settings": {"seed": CANARY},
        "figures": {"prompt_tokens": CANARY, "finish": CANARY},
        "timings": {"first_token": CANARY},
    }
    made = Elements(facts.text_facts(hostile, "en"))
    assert set(made.tags) <= {"dl", "div", "dt", "dd"}
    assert made.attributes <= {"class"}
    assert made.text.count(CANARY) == 4


# The other pieces of HTML are made of words from files and folders too.
def test_notes_and_bars_escape():
    words = Words(CANARY, CANARY)
    step = Step("fetch", 1, 2, Progress(words, 1_000_000, 2_000_000))
    for html in (facts.note(CANARY), facts.busy(words, "en", CANARY, 0.5), facts.progress(step, "en")):
        made = Elements(html)
        assert not {"img", "script", "b"} & set(made.tags)
        assert "onerror" not in made.attributes
        assert CANARY in made.text


# Numbers of a recipe may be missing or no numbers at all: such a fact is left out and the others stay.
@pytest.mark.parametrize("odd", [None, "fast", True, [1], {}, 10**400, -(10**400)])
def test_odd_figures_are_left_out(odd: Any):
    figures = dict.fromkeys(RECIPE["figures"], odd)
    html = facts.text_facts(RECIPE | {"figures": figures, "timings": {"first_token": odd}}, "en")
    assert Elements(html).text == "ModelSmolLM2Devicea CPU · float32Seed7"


# A recipe from a browser's storage may be of any shape; the page shows what it can and goes on.
@given(
    st.fixed_dictionaries(
        {}, optional={n: st.dictionaries(st.sampled_from(list(RECIPE[n])), ANYTHING) | ANYTHING for n in RECIPE}
    ),
    st.sampled_from(["en", "zh"]),
)
@settings(deadline=None)
def test_any_recipe_has_facts(recipe: dict[str, Any], language: str):
    assert set(Elements(facts.text_facts(recipe, language)).tags) <= {"dl", "div", "dt", "dd"}


# A bar that is past its end or knows no total must not break the page.
@pytest.mark.parametrize(("index", "total"), [(0, None), (5, None), (0, 0), (0, 10), (5, 10), (11, 10)])
def test_progress_of_every_size(index: int, total: int | None):
    for stage in (*facts.STAGES, "another"):
        for value in (None, Progress(Words("Getting it", "正在获取"), index, total)):
            made = facts.progress(Step(stage, index, total, value), "en")
            assert "role='progressbar'" in made
            assert "width:110" not in made
