"""The filters keep what transformers' own keep, and the draw follows the probabilities they leave."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from aigc_demo.device import uniforms
from aigc_demo.generators.sampling import FILTERS, RANKED_AT_FIRST, Ranking, draw, penalise_repetition, rank

VOCABULARIES = (50, 1_000, 50_000)
OFF: dict[str, Any] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
COMBINATIONS: list[dict[str, Any]] = [
    dict(zip(OFF, values, strict=True))
    for values in itertools.product((0.3, 1.0, 1.7), (0, 1, 40, 300), (0.1, 0.9, 1.0), (0.0, 0.05, 1.0))
]
ROUNDING = 2e-6
"""Of probabilities summed in float32: who stands this close to a threshold may fall on either side of it."""


def random_logits(size: int, seed: int, spread: float = 3.0) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)) * spread


def theirs(
    logits: torch.Tensor, temperature: float, top_k: int, top_p: float, min_p: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Per token, by transformers' warpers: (probability, whether it survives, whether it stands at a threshold)."""
    ids: Any = torch.zeros(1, 1, dtype=torch.long)
    scores = TemperatureLogitsWarper(temperature)(ids, logits[None]) if temperature != 1 else logits[None]
    if top_k:
        scores = TopKLogitsWarper(top_k)(ids, scores)
    scores = scores.double()
    edge = torch.zeros_like(logits, dtype=torch.bool)
    if top_p < 1:
        ordered, order = scores[0].softmax(0).sort(descending=True)
        after = ordered.cumsum(0)
        edge[order[((after - ordered) - top_p).abs() < ROUNDING]] = True
        scores = TopPLogitsWarper(top_p)(ids, scores)
    if min_p:
        probabilities = scores[0].softmax(0)
        edge |= (probabilities / probabilities.max() / min_p - 1).abs() < 1e-5
        edge[probabilities.argmax()] = False
        scores = MinPLogitsWarper(min_p)(ids, scores)
    return scores[0].softmax(0), scores[0] > -math.inf, edge


def ours(ranking: Ranking, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Per token, by a ranking: (probability, whether it survives)."""
    survives = torch.zeros(size, dtype=torch.bool)
    survives[ranking.ids[: ranking.kept]] = True
    probabilities = torch.zeros(size, dtype=torch.double)
    probabilities[ranking.ids[: ranking.kept]] = ranking.probabilities.double()
    return probabilities, survives


def check_against_transformers(logits: torch.Tensor, setting: dict[str, Any]) -> None:
    expected, expected_survivors, edge = theirs(logits, **setting)
    got, survivors = ours(rank(logits, **setting), logits.numel())
    assert int(edge.sum()) <= max(2, 0.02 * int(expected_survivors.sum()))  # the excuse is rare
    assert not ((survivors != expected_survivors) & ~edge).any(), setting
    assert (got - expected).abs().max() < 1e-5, setting


# The promise of the token view and of the README: our visible filters are the ones that everybody else uses.
@pytest.mark.parametrize(("size", "seed"), [(50, 0), (50, 1), (1_000, 2), (1_000, 3), (50_000, 4)])
def test_all_combinations_keep_what_transformers_keeps(size: int, seed: int) -> None:
    logits = random_logits(size, seed)
    for setting in COMBINATIONS:
        check_against_transformers(logits, setting)


# Logits of a real model come in bfloat16, full of equal values, and flatter or steeper than the above.
@pytest.mark.parametrize("spread", [0.1, 1.0, 10.0])
def test_coarse_logits_keep_what_transformers_keeps(spread: float) -> None:
    logits = random_logits(5_000, 3, spread).bfloat16().float()
    for setting in COMBINATIONS:
        if setting["top_p"] == 1:  # which of equals the top-p cut keeps is left to the sort
            check_against_transformers(logits, setting)


# The penalty changes logits before anything else does; tokens that occur twice are penalised once.
@pytest.mark.parametrize("size", VOCABULARIES)
@pytest.mark.parametrize("penalty", [1.0, 1.1, 2.0])
def test_repetition_penalty_is_that_of_transformers(size: int, penalty: float) -> None:
    logits = random_logits(size, 5)
    logits[:3] = torch.tensor([0.0, -0.0, 1e-30])
    seen = torch.randint(0, size, (200,), generator=torch.Generator().manual_seed(1))
    seen[:3] = torch.arange(3)
    expected = RepetitionPenaltyLogitsProcessor(penalty)(seen[None], logits.clone()[None])[0]
    before = logits.clone()
    assert torch.equal(penalise_repetition(logits, seen, penalty), expected)
    assert torch.equal(logits, before)  # the model's own probabilities are still computed from them


# What the ranking reports about a token has to be about that token.
def test_the_ranking_is_sorted_and_keeps_the_given_scores() -> None:
    logits = random_logits(1_000, 2)
    ranking = rank(logits, 0.5, 40, 0.9, 0.01)
    assert torch.equal(ranking.scores, logits[ranking.ids])
    assert torch.equal(ranking.scores, ranking.scores.sort(descending=True).values)
    assert ranking.probabilities.sum().item() == pytest.approx(1, abs=1e-6)
    assert ranking.probabilities.numel() == ranking.kept
    assert ranking.ids[0] == logits.argmax()


# Each count belongs to its own filter, so that the page can say which one removed a token.
@pytest.mark.parametrize(
    ("guilty", "value"), [("temperature", 0), ("top_k", 10), ("top_p", 0.3), ("min_p", 0.5)], ids=FILTERS
)
def test_removed_by_names_the_filter(guilty: str, value: float) -> None:
    ranking = rank(torch.linspace(5, -5, 100), **{**OFF, guilty: value})
    assert 0 < ranking.kept < 100
    for place in range(100):
        assert ranking.removed_by(place) == (None if place < ranking.kept else guilty)


# With several filters on, the blame goes to the first in their order that cuts there.
def test_removed_by_blames_the_first() -> None:
    ranking = rank(torch.linspace(5, -5, 100), 1.0, 30, 0.9, 0.5)
    counts = [ranking.counts[name] for name in FILTERS]
    assert counts[0] == 100
    assert counts[1] == 30
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == 4
    assert ranking.removed_by(counts[3] - 1) is None
    assert ranking.removed_by(counts[3]) == "min_p"
    assert ranking.removed_by(counts[2]) == "top_p"
    assert ranking.removed_by(30) == "top_k"


# Equals of the k-th token stay, as they do in transformers, even where they reach below the ranked head.
@pytest.mark.parametrize(("size", "equals"), [(50, 10), (1_000, 300), (50_000, 20_000), (50_000, 50_000)])
def test_top_k_keeps_ties(size: int, equals: int) -> None:
    logits = torch.full((size,), -1.0)
    winners = torch.randperm(size, generator=torch.Generator().manual_seed(0))[:equals]
    logits[winners] = 2.0
    ranking = rank(logits, 1.0, 5, 1.0, 0.0)
    assert ranking.kept == equals
    assert set(ranking.ids[:equals].tolist()) == set(winners.tolist())
    assert torch.allclose(ranking.probabilities, torch.tensor(1 / equals))


# Temperature 0 is the likeliest token, whatever the other controls say.
@pytest.mark.parametrize("top_k", [0, 40])
def test_temperature_zero_is_greedy(top_k: int) -> None:
    logits = random_logits(1_000, 4)
    ranking = rank(logits, 0, top_k, 0.9, 0.1)
    assert ranking.kept == 1
    assert ranking.ids[draw(ranking, 0.999999)] == logits.argmax()
    assert ranking.probabilities.tolist() == [1.0]


# The API takes any float: a temperature that would overflow the division must not make NaN of the probabilities.
@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-40, 1e-20, 1e-6, 1e-3])
def test_tiny_temperatures_are_greedy_too(temperature: float) -> None:
    logits = random_logits(1_000, 4)
    for setting in ({}, {"top_k": 40}, {"top_p": 0.9}, {"min_p": 0.1}):
        ranking = rank(logits, **{**OFF, **setting, "temperature": temperature})
        assert ranking.ids[draw(ranking, 0.999999)] == logits.argmax()
        assert ranking.probabilities.isfinite().all()


def degenerate(size: int) -> dict[str, torch.Tensor]:
    masked = random_logits(size, 6)
    masked[size // 2 :] = -math.inf
    alone = torch.full((size,), -math.inf)
    alone[7] = 0.0
    huge = random_logits(size, 6)
    huge[7] = 1e30
    return {
        "all equal": torch.zeros(size),
        "all equal and large": torch.full((size,), 100.0),
        "one huge": huge,
        "one hugely negative": -huge,
        "half masked": masked,
        "all but one masked": alone,
    }


# Models mask tokens with -inf, and damaged ones answer with constants: something is always left, and it can be drawn.
@pytest.mark.parametrize("size", [50, 5_000])
@pytest.mark.parametrize("case", degenerate(50))
def test_degenerate_logits(size: int, case: str) -> None:
    logits = degenerate(size)[case]
    for setting in COMBINATIONS:
        ranking = rank(logits, **setting)
        assert ranking.kept >= 1, setting
        assert ranking.probabilities.isfinite().all(), setting
        assert ranking.probabilities.sum().item() == pytest.approx(1, abs=1e-4), setting
        for uniform in (0.0, 0.5, 1 - 2**-53):
            place = draw(ranking, uniform)
            assert logits[ranking.ids[place]] > -math.inf, setting
            assert ranking.probabilities[place] > 0, setting


# A broken model's NaN must not empty the vocabulary, which would end in an index error far from its cause.
def test_never_empty_even_for_nan() -> None:
    for value in (math.nan, -math.inf, math.inf):
        for setting in COMBINATIONS:
            ranking = rank(torch.full((50,), value), **setting)
            assert ranking.kept >= 1
            assert 0 <= draw(ranking, 0.5) < 50


# Where nothing is filtered, only the head is ranked: it has to reach down to the token that will be drawn.
@pytest.mark.parametrize("uniform", [0.0, 0.3, 0.9, 0.999999, 1 - 2**-53])
@pytest.mark.parametrize("spread", [0.1, 3.0])
def test_the_shortened_ranking_draws_the_same_token(uniform: float, spread: float) -> None:
    logits = random_logits(50_000, 8, spread)
    short, whole = rank(logits, **OFF, uniform=uniform), rank(logits, **OFF)
    assert whole.ids.numel() == 50_000
    a, b = draw(short, uniform), draw(whole, uniform)
    # in a flat tail of 50,000 the two sums differ in their last digits, so neighbours in rank are as good
    assert abs(a - b) <= (0 if uniform < 0.999 else 5)
    assert short.probabilities[a].item() == pytest.approx(whole.probabilities[a].item(), rel=1e-4)


# The usual case stays cheap: with a steep distribution nobody ranks 50,000 tokens.
def test_a_filtered_ranking_stays_short() -> None:
    assert rank(random_logits(50_000, 8), 0.7, 50, 0.9, 0.0).ids.numel() == RANKED_AT_FIRST
    assert rank(random_logits(50_000, 8, 8.0), 1.0, 0, 1.0, 0.0, uniform=0.5).ids.numel() == RANKED_AT_FIRST


# The draw is the probabilities: over many uniforms every token comes up as often as it should.
def test_frequencies_match_probabilities() -> None:
    ranking = rank(random_logits(30, 9, 1.5), 0.9, 12, 1.0, 0.0)
    count = 20_000
    drawn = torch.tensor([draw(ranking, u) for u in uniforms(0, count)]).bincount(minlength=ranking.kept)
    p = ranking.probabilities.double()
    standard_errors = (drawn / count - p) / (p * (1 - p) / count).sqrt()
    assert drawn.numel() == 12
    assert standard_errors.abs().max() < 4.5


# The ends of [0, 1): the first token for 0, the last one that is possible just below 1, and each where its share begins.
def test_draw_at_the_ends() -> None:
    ranking = rank(torch.tensor([0.25, 0.5, 0.125, 0.125]).log(), **OFF)
    assert draw(ranking, 0.0) == 0
    assert draw(ranking, 0.4999) == 0
    assert draw(ranking, 0.5001) == 1
    assert draw(ranking, 0.7501) == 2
    assert draw(ranking, 0.999999) == 3
    assert draw(ranking, 1 - 2**-53) == 3


# Whatever the logits and settings, a person gets some token, the counts fall, and the likeliest one stays.
@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=600),
    st.one_of(st.just(0.0), st.floats(0, 2)),
    st.integers(0, 200),
    st.floats(0.01, 1),
    st.floats(0, 1),
    st.floats(0, 1, exclude_max=True),
)
@settings(deadline=None, max_examples=150)
def test_something_is_always_left(
    numbers: list[float], temperature: float, top_k: int, top_p: float, min_p: float, uniform: float
) -> None:
    logits = torch.tensor(numbers, dtype=torch.float32)
    ranking = rank(logits, temperature, top_k, top_p, min_p, uniform)
    counts = [ranking.counts[name] for name in FILTERS]
    assert 1 <= counts[3] <= counts[2] <= counts[1] <= counts[0] <= len(numbers)
    assert logits[ranking.ids[0]] == logits.max()
    place = draw(ranking, uniform)
    assert 0 <= place < ranking.kept
    assert ranking.removed_by(place) is None
    assert ranking.probabilities[place] > 0
