"""Writing text, on a tiny random Llama: the loop, its records, its beginnings."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import CONTEXT
from tiny_text import GREEDY, OFF, ask, ending, folder, ids, stream, tiny, typed, write

from aigc_demo.errors import Invalid
from aigc_demo.generators import text_model
from aigc_demo.generators.sampling import FILTERS, rank
from aigc_demo.generators.text import generate
from aigc_demo.generators.text_model import TextModel, encode_prompt
from aigc_demo.generators.tokens import HEAD, TAIL_BINS, describe_head
from aigc_demo.results import finish

__all__ = ["ending", "folder", "tiny"]  # fixtures
pytestmark = pytest.mark.usefixtures("one_thread")


# The page and the API build on this order: prefill, then one step for each token, then one Done.
def test_the_stream_has_one_step_for_each_token(tiny: TextModel) -> None:
    prefill, decode, done = stream(tiny)
    assert len(prefill) == 1
    assert [(step.index, step.total) for step in decode] == [(i, 24) for i in range(1, 25)]
    assert tuple(t for step in decode for t in step.value.tokens) == done.value.tokens
    for before, after in itertools.pairwise([*(step.value.text for step in decode), done.value.text]):
        assert after.startswith(before)


# Copying tokens out of the token view gives the text of the answer.
def test_token_texts_add_up_to_the_text(tiny: TextModel) -> None:
    for seed in range(5):
        result = write(tiny, seed=seed, **OFF, max_new_tokens=60)
        written = "".join(token.text for token in result.tokens)
        assert result.text.startswith(written)
        assert not result.text[len(written) :].strip("\ufffd")
        assert result.text == tiny.decode(ids(result))


# A recipe is a promise: the same seed and settings give the same text.
def test_the_same_seed_gives_the_same_text(tiny: TextModel) -> None:
    assert write(tiny, seed=5) == write(tiny, seed=5)
    assert len({write(tiny, seed=seed).text for seed in range(5)}) == 5


# Turning the token view on must not change what is written.
def test_details_do_not_change_the_answer(tiny: TextModel) -> None:
    plain, detailed = write(tiny), write(tiny, token_details=True)
    assert [replace(token, head=None) for token in detailed.tokens] == list(plain.tokens)
    assert all(token.head is None for token in plain.tokens)


# The figures under a result are about that result.
def test_figures(tiny: TextModel) -> None:
    done = finish(generate(ask(), tiny))
    figures, tokens = done.figures, done.value.tokens
    surprisal = -sum(math.log2(token.probability) for token in tokens) / len(tokens)
    prompt = encode_prompt("chat", "", [], "Once upon a time", tiny)
    assert figures["prompt_tokens"] == len(prompt)
    assert figures["generated_tokens"] == len(tokens) == 24
    assert figures["context_share"] == (len(prompt) + 24) / CONTEXT
    assert figures["surprisal_bits"] == pytest.approx(surprisal)
    assert figures["perplexity"] == pytest.approx(2**surprisal)
    assert figures["peak_memory_bytes"] > 0
    assert done.value.prompt_text == tiny.tokenizer.decode(prompt)
    assert {"total", "first_token", "decode"} <= set(done.timings)


# Whoever knows transformers gets from us what its generate gives.
@pytest.mark.parametrize("penalty", [1.0, 1.1, 1.8])
@pytest.mark.parametrize("mode", ["chat", "complete"])
def test_greedy_text_is_that_of_transformers(ending: TextModel, penalty: float, mode: str) -> None:
    for prompt in ("Once upon a time", "你好，世界！😀", "The fox"):
        result = write(ending, prompt=prompt, mode=mode, max_new_tokens=60, **GREEDY | {"repetition_penalty": penalty})
        read = torch.tensor([encode_prompt(mode, "", [], prompt, ending)])
        expected = ending.model.generate(
            read,
            attention_mask=torch.ones_like(read),
            do_sample=False,
            max_new_tokens=60,
            repetition_penalty=penalty,
        )[0, read.shape[1] :].tolist()
        assert ids(result) == expected


# The probabilities in the token view are the model's own: one pass over the finished text gives the same.
def test_probabilities_are_those_of_a_single_pass(tiny: TextModel) -> None:
    result = write(tiny, temperature=0.9, repetition_penalty=1.3, token_details=True)
    prompt = encode_prompt("chat", "", [], "Once upon a time", tiny)
    with torch.inference_mode():
        logits = tiny.model(torch.tensor([prompt + ids(result)])).logits[0, len(prompt) - 1 : -1]
    expected = logits.softmax(-1)
    for token, row in zip(result.tokens, expected, strict=True):
        assert token.probability == pytest.approx(row[token.id].item(), abs=1e-5)
        assert token.head is not None
        assert token.head.probabilities == pytest.approx(row[token.head.ids].tolist(), abs=1e-5)


# A prompt read in chunks (so that it can be stopped) is the same prompt.
@pytest.mark.parametrize("chunk", [1, 7, 16])
def test_prefill_in_chunks_equals_one_chunk(tiny: TextModel, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    forced = ids(write(tiny))[:9]
    whole = write(tiny), write(tiny, answer_prefix=forced)
    monkeypatch.setattr(text_model, "CHUNK", chunk)
    prefill, _, done = stream(tiny)
    size = done.figures["prompt_tokens"]
    assert [step.index for step in prefill] == [*range(chunk, size, chunk), size]
    assert {step.total for step in prefill} == {size}
    for before, after in zip(whole, (done.value, write(tiny, answer_prefix=forced)), strict=True):
        assert ids(after) == ids(before)
        assert after.text == before.text
        assert [t.probability for t in after.tokens] == pytest.approx([t.probability for t in before.tokens], abs=1e-5)


# Token view and plot draw these numbers, and they have to add up.
@pytest.mark.parametrize("penalty", [1.0, 1.4])
def test_token_records_add_up(tiny: TextModel, penalty: float) -> None:
    result = write(
        tiny, temperature=0.8, top_k=60, top_p=0.95, min_p=0.01, repetition_penalty=penalty, token_details=True
    )
    vocabulary = tiny.model.config.vocab_size
    for token in result.tokens:
        head = token.head
        assert head is not None
        assert (
            len(head.ids)
            == len(set(head.ids))
            == len(head.pieces)
            == len(head.scores)
            == len(head.probabilities)
            == HEAD
        )
        assert head.scores == sorted(head.scores, reverse=True)
        assert 0 < sum(head.probabilities) <= 1 + 1e-5
        assert len(head.tail) == TAIL_BINS
        assert all(count >= 0 for count in head.tail)
        assert sum(head.tail) + len(head.ids) == vocabulary
        assert head.low <= head.scores[-1]
        counts = [head.counts[name] for name in FILTERS]
        assert counts[0] == vocabulary
        assert 1 <= counts[3] <= counts[2] <= counts[1] <= 60
        assert token.rank < counts[3]
        assert 0 < token.chance <= 1
        if token.rank < HEAD:
            assert head.ids[token.rank] == token.id
            assert head.pieces[token.rank] == token.piece
            assert head.probabilities[token.rank] == pytest.approx(token.probability, abs=1e-6)


# The chance of a token is what the draw saw: with every filter off and temperature 1, the model's own probability.
def test_without_filters_the_chance_is_the_probability(tiny: TextModel) -> None:
    for token in write(tiny, **OFF, max_new_tokens=60).tokens:
        assert token.chance == pytest.approx(token.probability, rel=1e-4)


# The sampling controls disabled at temperature 0 do not matter there: the token is certain.
def test_at_temperature_zero_the_chance_is_one(tiny: TextModel) -> None:
    assert {token.chance for token in write(tiny, temperature=0).tokens} == {1.0}


# Small or flat vocabularies (toy models, damaged ones) must not make negative or missing counts.
@pytest.mark.parametrize(
    "logits",
    [
        torch.linspace(1, -1, 30),
        torch.linspace(1, -1, HEAD),
        torch.linspace(1, -1, HEAD + 1),
        torch.zeros(100),
        torch.cat([torch.ones(20), torch.zeros(80)]),
        torch.cat([torch.linspace(1, -1, 60), torch.full((40,), -math.inf)]),
    ],
    ids=["30", "head", "head and one", "all equal", "two levels", "masked"],
)
def test_the_tail_of_odd_vocabularies(logits: torch.Tensor) -> None:
    ranking = rank(logits, 1.0, 0, 1.0, 0.0)
    names: Any = SimpleNamespace(piece=str)
    head = describe_head(logits, logits, logits.logsumexp(0), ranking, names)
    assert len(head.ids) == min(HEAD, logits.numel())
    assert all(count >= 0 for count in head.tail)
    assert sum(head.tail) + len(head.ids) == logits.numel()
    assert math.isfinite(head.low)


# A branch made at a token changes nothing before it; taken at the same token it gives the same answer again.
@pytest.mark.parametrize(
    "settings", [{}, OFF, {"temperature": 0, "repetition_penalty": 1.2}], ids=["default", "off", "greedy"]
)
@pytest.mark.parametrize("n", [1, 10, 23])
def test_forcing_the_beginning_reproduces_the_rest(tiny: TextModel, settings: dict[str, Any], n: int) -> None:
    whole = write(tiny, **settings)
    again = write(tiny, **settings, answer_prefix=ids(whole)[:n], max_new_tokens=24 - n)
    assert ids(again) == ids(whole)
    assert again.text == whole.text
    assert again.finish == whole.finish
    for a, b in zip(again.tokens, whole.tokens, strict=True):
        assert (a.text, a.piece, a.rank) == (b.text, b.piece, b.rank)
        assert (a.probability, a.chance) == pytest.approx((b.probability, b.chance), rel=1e-3, abs=1e-6)


# Choosing another token is what a branch is for: the answer begins with it and goes on from there.
def test_a_branch_goes_on_from_another_token(tiny: TextModel) -> None:
    whole = write(tiny, token_details=True)
    fork = whole.tokens[5]
    assert fork.head is not None
    other = next(i for i in fork.head.ids if i != fork.id)
    branch = write(tiny, answer_prefix=[*ids(whole)[:5], other])
    assert ids(branch)[:6] == [*ids(whole)[:5], other]
    assert len(branch.tokens) == 6 + 24
    assert ids(branch)[6:] != ids(whole)[6:]


# The first step of a branch brings the forced tokens together, with their records.
def test_forced_tokens_come_in_one_step(tiny: TextModel) -> None:
    forced = ids(write(tiny))[:6]
    _, (first, *others), _ = stream(tiny, answer_prefix=forced, token_details=True)
    assert [token.id for token in first.value.tokens] == forced
    assert all(token.head for token in first.value.tokens)
    assert [len(step.value.tokens) for step in others] == [1] * 24


# A token that a person chose although the filters had removed it has no chance; one that they left has its own.
def test_the_chance_of_a_forced_token(tiny: TextModel) -> None:
    last = write(tiny, **OFF, token_details=True, max_new_tokens=1).tokens[0]
    assert last.head is not None
    prompt = encode_prompt("chat", "", [], "Once upon a time", tiny)
    with torch.inference_mode():
        probabilities = tiny.model(torch.tensor([prompt])).logits[0, -1].softmax(0)
    order = probabilities.argsort(descending=True).tolist()
    for place in (0, 39, 40, 300, 383):
        token = write(tiny, **OFF, answer_prefix=[order[place]], max_new_tokens=1).tokens[0]
        assert token.rank == place
        assert token.chance == pytest.approx(probabilities[order[place]].item(), rel=1e-3), place
        cut = write(tiny, **OFF | {"top_k": 40}, answer_prefix=[order[place]], max_new_tokens=1).tokens[0]
        assert (cut.chance > 0) == (place < 40)


# A recipe from another model names tokens that this one lacks: words, and not an index error.
def test_foreign_token_ids(tiny: TextModel) -> None:
    with pytest.raises(Invalid) as caught:
        write(tiny, answer_prefix=[1, 10**6])
    assert caught.value.words.zh
    assert write(tiny).finish == "length"


# A beginning that already holds the end (the stop string was added later) is cut there and not written on.
def test_a_forced_beginning_that_already_ends(tiny: TextModel) -> None:
    whole = write(tiny)
    stop = whole.tokens[4].text or whole.tokens[5].text
    cut = whole.text.index(stop)
    result = write(tiny, answer_prefix=ids(whole)[:12], stop=typed(stop))
    assert result.finish == "stop"
    assert result.text == whole.text[:cut]
    fourth = whole.tokens[4].id
    first = ids(whole).index(fourth)
    ended = write(replace(tiny, ends=frozenset({fourth})), answer_prefix=ids(whole)[:12])
    assert ended.finish == "end"
    assert ids(ended) == ids(whole)[: first + 1]
