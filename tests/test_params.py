"""A request checks itself, whoever makes it: nothing that a stranger sends gets past it or breaks it."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, dataclass
from typing import Annotated, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aigc_demo.errors import Invalid
from aigc_demo.generators.text import LONGEST_PROMPT, TextParams
from aigc_demo.params import SEED_LIMIT, Choice, Params, Range, Seed, Switch, Text, clean
from aigc_demo.words import Words

NO_WORDS = Words("", "")


def labelled(name: str) -> dict[str, Words]:
    return {"label": Words(name.capitalize(), f"字段{name}"), "help": NO_WORDS}


@dataclass(frozen=True)
class Sample(Params):
    """One field of each kind."""

    text: Annotated[str, Text(**labelled("text"), max_length=20, required=True)]
    steps: Annotated[int, Range(**labelled("steps"), low=1, high=50, step=1)] = 8
    scale: Annotated[float, Range(**labelled("scale"), low=0, high=2, step=0.05)] = 0.7
    mode: Annotated[str, Choice(**labelled("mode"), options={"a": Words("A", "甲"), "b": Words("B", "乙")})] = "a"
    shiny: Annotated[bool, Switch(**labelled("shiny"))] = False
    seed: Annotated[int, Seed(**labelled("seed"))] = -1


def refusal(**values: Any) -> Words:
    with pytest.raises(Invalid) as caught:
        Sample(**{"text": "hello", **values})
    return caught.value.words


REFUSED: dict[str, list[Any]] = {
    "steps": [0, 51, -1, 2.5, "8", None, True, [8], {}, float("nan"), float("inf"), 10**400],
    "scale": [-0.01, 2.01, float("nan"), float("-inf"), "0.7", None, False, 10**400, -(10**400)],
    "mode": ["c", "", "A", None, 0, ["a"], {"a": 1}],
    "shiny": [0, 1, "true", None],
    "seed": [-2, SEED_LIMIT, 1.5, "1", None, True, float("nan"), 10**400],
    "text": [None, 5, ["hello"], b"hello", "", " \n\t", "x" * 21, "\x00\x1b"],
}


# A value of the wrong kind or out of range is named by its label, in both languages.
@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values])
def test_refusals(name: str, value: Any) -> None:
    words = refusal(**{name: value})
    assert words.en.startswith(f"{name.capitalize()} ({name}) ")
    assert words.zh.startswith(f"“字段{name}”")


# The ends of a range belong to it; sliders send them.
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 1),
        ("steps", 50),
        ("scale", 0),
        ("scale", 2),
        ("seed", -1),
        ("seed", SEED_LIMIT - 1),
        ("text", "x" * 20),
    ],
)
def test_ends_are_inside(name: str, value: Any) -> None:
    assert getattr(Sample(**{"text": "hello", name: value}), name) == value


# JSON has one kind of number: a browser sends 8 for a float and 8.0 for an int, and code relies on the declared type.
def test_numbers_take_the_declared_type() -> None:
    made = Sample("hello", steps=8.0, scale=1, seed=3.0)  # type: ignore[arg-type]
    assert (type(made.steps), type(made.scale), type(made.seed)) == (int, float, int)


# A message that says "from 0 to 2, not 2" helps nobody: the refused value is shown in full.
def test_a_refused_number_is_not_rounded_into_the_range() -> None:
    assert "2.0000001" in refusal(scale=2.0000001).en
    assert "2.0000001" in refusal(scale=2.0000001).zh


# A person mends a form once, not once per field.
def test_every_problem_is_reported_at_once() -> None:
    words = refusal(text="", steps=0, scale=float("nan"), mode="c", shiny="yes", seed=-7)
    for name in ("text", "steps", "scale", "mode", "shiny", "seed"):
        assert f"({name})" in words.en
        assert f"“字段{name}”" in words.zh


# Lone surrogates reach us through JSON and break every encoder further down; control characters break terminals.
def test_text_is_cleaned() -> None:
    made = Sample("a\ud800b\x00c\x1b[0m\x7f\x85\t\r\nd😀")
    assert made.text == "a\ufffdbc[0m\t\r\nd😀"
    assert made.text.encode()


# 1 MB pasted by mistake is refused with both numbers, so that the person knows how much to cut.
def test_a_megabyte_of_text_is_refused_with_its_length() -> None:
    with pytest.raises(Invalid) as caught:
        TextParams("猫" * 1_000_000)
    for text in (caught.value.words.en, caught.value.words.zh):
        assert "1,000,000" in text
        assert f"{LONGEST_PROMPT:,}" in text


# The same limit holds for the conversation, which a client also sends whole.
def test_a_megabyte_of_history_is_refused() -> None:
    turn = {"role": "user", "content": "x" * 10_000}
    with pytest.raises(Invalid) as caught:
        TextParams("hello", history=[turn] * 100)
    assert "(history)" in caught.value.words.en


# A recipe of another version names settings that we do not have; dropping them in silence would change the result.
def test_of_names_unknown_settings() -> None:
    with pytest.raises(Invalid) as caught:
        Sample.of({"text": "hello", "colour": 1, "\ud800\x1b": 2, 5: 3})  # type: ignore[dict-item]
    assert "colour" in caught.value.words.en
    assert "colour" in caught.value.words.zh
    caught.value.words.en.encode()


# A recipe with a thousand unknown names must not fill the page.
def test_of_shortens_a_flood_of_unknown_names() -> None:
    with pytest.raises(Invalid) as caught:
        Sample.of({"text": "hello"} | {"x" * 1000 + str(i): i for i in range(1000)})
    assert len(caught.value.words.en) < 1000


# A recipe without its prompt is damaged, and the message says what is missing.
def test_of_names_missing_settings() -> None:
    with pytest.raises(Invalid) as caught:
        Sample.of({"steps": 5})
    assert "text" in caught.value.words.en
    assert "text" in caught.value.words.zh


# Settings that a recipe leaves out take the defaults of the declaration.
def test_of_fills_in_defaults() -> None:
    assert Sample.of({"text": "hello"}) == Sample("hello")
    assert Sample.defaults() == {"steps": 8, "scale": 0.7, "mode": "a", "shiny": False, "seed": -1}


# Forms, the API and MCP pass values by position: markers() is the order of declaration.
def test_markers_keep_the_order_of_declaration() -> None:
    assert list(Sample.markers()) == ["text", "steps", "scale", "mode", "shiny", "seed"]
    assert list(Sample("hello").values()) == list(Sample.markers())


# "Random" is drawn once, before the run; a seed drawn again later would make the recipe a lie.
def test_resolved_draws_once_and_stays() -> None:
    drawn = Sample("hello", steps=9).resolved()
    assert 0 <= drawn.seed < SEED_LIMIT
    assert drawn.resolved() == drawn
    assert drawn.steps == 9
    assert len({Sample("hello").resolved().seed for _ in range(20)}) > 1


# A seed that a person fixed, 0 included, is theirs.
@pytest.mark.parametrize("seed", [0, 7, SEED_LIMIT - 1])
def test_resolved_keeps_a_fixed_seed(seed: int) -> None:
    assert Sample("hello", seed=seed).resolved().seed == seed


# A request that has been checked cannot be changed behind the check's back.
def test_a_request_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Sample("hello").steps = 1000  # type: ignore[misc]


# Two requests made with the default history must not share one list.
def test_default_lists_are_not_shared() -> None:
    assert TextParams("a").history is not TextParams("b").history


# Roles are written into the chat template by name: one that we do not know, or a system turn, is refused.
@pytest.mark.parametrize(
    "history",
    [
        "hello",
        {"role": "user", "content": "x"},
        ["hello"],
        [None],
        [{}],
        [{"role": "system", "content": "x"}],
        [{"role": ["user"], "content": "x"}],
        [{"role": "user"}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": ["x"]}],
        [{"role": "user", "content": ""}] * 1001,
    ],
)
def test_bad_histories(history: Any) -> None:
    with pytest.raises(Invalid) as caught:
        TextParams("hello", history=history)
    assert "(history)" in caught.value.words.en


# What a turn holds beside role and content (metadata of a chat component) does not reach the template.
def test_history_keeps_role_and_clean_content_only() -> None:
    made = TextParams("hello", history=[{"role": "user", "content": "a\ud800\x00", "metadata": {"x": 1}}])
    assert made.history == [{"role": "user", "content": "a\ufffd"}]


# Token ids index tensors: whatever is not a plain non-negative int would raise deep inside torch.
@pytest.mark.parametrize("ids", ["12", 5, {"0": 1}, [-1], [1.0], [True], ["1"], [None], [2**31], [10**400]])
def test_bad_token_ids(ids: Any) -> None:
    with pytest.raises(Invalid) as caught:
        TextParams("hello", answer_prefix=ids)
    assert "(answer_prefix)" in caught.value.words.en


# `clean` is applied to names and messages from anywhere: it never fails and its result can always be written.
@given(st.text(st.characters(categories=None)))
@settings(deadline=None)
def test_clean_text_can_be_encoded_and_stays(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode()
    assert clean(cleaned) == cleaned
    assert not {c for c in cleaned if c < " "} - {"\t", "\n", "\r"}


ANY_TEXT = st.text(st.characters(categories=None), max_size=30)
ANY_NUMBER = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 2**31, 2**63, 1e-320, -0.0])
JSONISH: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | ANY_NUMBER | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=8,
)
TURNS = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": ANY_TEXT})
    | st.fixed_dictionaries({"role": JSONISH, "content": JSONISH}),
    max_size=3,
)
# each field: often something near to legal, so that valid requests come up too, and anything at all otherwise
LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "prompt": ANY_TEXT,
    "system_prompt": ANY_TEXT,
    "mode": st.sampled_from(["chat", "complete"]),
    "model": st.just("smollm2-135m"),
    "temperature": st.floats(0, 2),
    "top_k": st.integers(0, 200),
    "top_p": st.floats(0.01, 1),
    "min_p": st.floats(0, 1),
    "repetition_penalty": st.floats(1, 2),
    "max_new_tokens": st.integers(1, 4096) | st.just(8.0),
    "stop": ANY_TEXT,
    "seed": st.integers(-1, SEED_LIMIT - 1),
    "history": TURNS,
    "answer_prefix": st.lists(st.integers(0, 2**31 - 1), max_size=5),
    "token_details": st.booleans(),
}
VALUES = st.fixed_dictionaries({}, optional=LIKELY) | st.fixed_dictionaries(
    {}, optional={name: likely | JSONISH for name, likely in LIKELY.items()}
)


# hypothesis has to know every field, or a new one would go untested.
def test_hypothesis_drives_every_field() -> None:
    assert set(LIKELY) == set(TextParams.markers())


# The API, MCP and recipes hand over what strangers wrote: a request comes of it, or words in both languages.
@given(VALUES | st.dictionaries(ANY_TEXT, JSONISH, max_size=3))
@example({})
@example({"prompt": "hello"})
@example({"prompt": "hello", "temperature": float("nan")})
@settings(deadline=None, max_examples=150)
def test_any_values_make_a_request_or_words(values: dict[str, Any]) -> None:
    made = words = None
    try:
        made = TextParams.of(values)
    except Invalid as error:
        words = error.words
    if made is None:
        assert words
        assert words.en.strip()
        assert words.zh.strip()
        (words.en + words.zh).encode()
    else:
        written = json.dumps(made.values(), allow_nan=False, ensure_ascii=False).encode()
        assert TextParams.of(json.loads(written)) == made
        assert made.resolved().values() | {"seed": made.seed} == made.values()
