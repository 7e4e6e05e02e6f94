"""From logits to one token: the filters, as small pure functions.

The order is that of transformers' generate: repetition penalty, temperature, top-k, top-p, min-p, then
one draw. Every filter after the penalty keeps a *prefix* of the vocabulary ranked by score, so a filter
is a function from ranked scores to a count, and "who removed this token" is a comparison of its rank
with the counts. Ranking 50,000 to 150,000 scores costs more than a small model's layer, so only the
top of the ranking is made, and deepened in the rare case where a cut lies below it.

This module imports torch, so it is itself imported only once a model runs.

Shapes: scores and logits are float32 vectors of length V (the vocabulary) or n (the ranked top).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

RANKED_AT_FIRST = 256
COLDEST = 1e-6
"""Temperatures below this count as 0: the likeliest token wins anyway, and the quotient may overflow float32."""
FILTERS = ("temperature", "top_k", "top_p", "min_p")
"""In the order in which they cut; "temperature" cuts only at 0, where it leaves the likeliest token alone."""


@dataclass(frozen=True)
class Ranking:
    """The head of the vocabulary, likeliest first, and where each filter cuts it.

    ids: token ids, int64 of length n.
    scores: penalised logits before temperature, of length n.
    probabilities: after every filter, of length min(n, kept); they sum to 1 over the first `kept`.
    counts: filter -> how many tokens were left after it (each at most the one before).
    """

    ids: torch.Tensor
    scores: torch.Tensor
    probabilities: torch.Tensor
    counts: dict[str, int]

    @property
    def kept(self) -> int:
        return self.counts[FILTERS[-1]]

    def removed_by(self, rank: int) -> str | None:
        """The first filter that cut the token at this rank (0 is the likeliest); None where it survived."""
        return next((name for name in FILTERS if rank >= self.counts[name]), None)


def penalise_repetition(logits: torch.Tensor, seen: torch.Tensor, penalty: float) -> torch.Tensor:
    """Divide the positive logits of seen tokens by `penalty` and multiply the negative ones.

    seen: token ids of the prompt and of the text so far. A penalty of 1 changes nothing.
    Source: CTRL, Keskar et al. 2019, arXiv 1909.05858, section 4.1; the treatment of negative logits is
    transformers' RepetitionPenaltyLogitsProcessor.
    """
    if penalty == 1:
        return logits
    chosen = logits[seen]
    return logits.scatter(0, seen, torch.where(chosen > 0, chosen / penalty, chosen * penalty))


def rank(
    logits: torch.Tensor, temperature: float, top_k: int, top_p: float, min_p: float, uniform: float = math.inf
) -> Ranking:
    """Rank the vocabulary and cut it. Temperature 0 keeps the likeliest token; top_k 0, top_p 1, min_p 0 are off.

    uniform: the number that `draw` will get. Without any filter the ranking need only reach down to it;
    infinity ranks the whole vocabulary.
    """
    size = logits.numel()
    temperature = 0 if temperature < COLDEST else temperature
    scaled = logits if temperature == 0 else logits / temperature
    log_total = scaled.logsumexp(0)
    n = min(size, max(RANKED_AT_FIRST, top_k + 1))
    while True:
        scores, ids = scaled.topk(n)
        counts = cut(scores, log_total, size, temperature, top_k, top_p, min_p)
        kept = counts[FILTERS[-1]]
        if n == size or (kept < n and counts["top_k"] != n):  # equals of the k-th score may go on below the head
            probabilities = scores[:kept].softmax(0)
            break
        if kept == size:
            probabilities = (scores - log_total).exp()
            if probabilities.sum() > uniform:
                break
        n = min(size, n * 16)
    return Ranking(ids, logits[ids], probabilities, counts)


def cut(
    scores: torch.Tensor,
    log_total: torch.Tensor,
    size: int,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
) -> dict[str, int]:
    """How many tokens are left after each filter.

    scores: the n > top_k largest of `size` temperature-scaled scores, ranked; log_total: logsumexp of all.
    A count of n or more is only a lower bound where n < size.

    temperature: at 0 one token. Otherwise p_i = exp(s_i / T) / sum_j exp(s_j / T) (Ackley et al. 1985).
    top_k: tokens scoring at least the k-th score, ties included (Fan et al. 2018, arXiv 1805.04833).
    top_p: the smallest head whose probability, renormalised after top_k, reaches p (Holtzman et al. 2019,
        arXiv 1904.09751); never empty.
    min_p: tokens at least min_p times as likely as the likeliest (Nguyen et al. 2024, arXiv 2407.01082).
    """
    left = size
    if temperature == 0:
        return dict.fromkeys(FILTERS, 1)
    counts = {"temperature": left}
    if 0 < top_k < size:
        # transformers removes what scores *less* than the k-th, so equals stay
        left = max(1, int((scores >= scores[top_k - 1]).sum()))  # 0 of a broken model's NaN
        log_total = scores[:left].logsumexp(0)
    counts["top_k"] = left
    if top_p < 1:
        before = (scores[:left] - log_total).exp().double().cumsum(0).roll(1)
        before[0] = 0
        left = min(left, int((before < top_p).sum()))
    counts["top_p"] = left
    if min_p > 0:
        left = max(1, min(left, int((scores - scores[0] >= math.log(min_p)).sum())))
    counts["min_p"] = left
    return counts


def draw(ranking: Ranking, uniform: float) -> int:
    """The rank of one token, by inverse transform sampling: the first whose cumulative probability exceeds `uniform`.

    uniform: in [0, 1). One number per token, drawn on the CPU, so that the draw is the same on every device.
    """
    cumulative = ranking.probabilities.double().cumsum(0)
    place = int((cumulative <= uniform).sum())
    if place == cumulative.numel():  # rounding left the sum a little below `uniform`
        place = max(1, int((ranking.probabilities > 0).sum())) - 1
    return place
