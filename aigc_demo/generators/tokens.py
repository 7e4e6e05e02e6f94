"""What is known of every token of an answer, and the answer that they add up to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aigc_demo.generators.detokenize import Detokenizer, find_stop, safe_length
from aigc_demo.generators.text_model import TextModel

if TYPE_CHECKING:
    import torch

    from aigc_demo.generators.sampling import Ranking

HEAD = 40
"""How many of the likeliest tokens the token view keeps at each position; the others it keeps as a histogram."""
TAIL_BINS = 40
TAIL_SPAN = 20.0
"""What scores this much less than the head's last is counted in the lowest bin: it has no mass to speak of."""
FARTHEST = 1e30
"""Stands for minus infinity, which some models give to tokens that they mask."""


@dataclass(frozen=True)
class Head:
    """The next-token distribution at one position, as the token view draws it.

    ids, pieces, scores, probabilities: the HEAD likeliest tokens, ranked by score. `scores` are logits after the
    repetition penalty and before temperature; `probabilities` are the model's own (temperature 1, no filter).
    counts: filter -> tokens left after it. tail: how many of the other tokens score in each of TAIL_BINS
    equal bins from `low` up to the last of `scores`; the lowest also counts what scores less.
    """

    ids: list[int]
    pieces: list[str]
    scores: list[float]
    probabilities: list[float]
    counts: dict[str, int]
    low: float
    tail: list[int]


@dataclass(frozen=True)
class Token:
    """One token of the answer.

    text: what it added; "" for a special token and for the beginning of a character that a later one completes.
    piece: what it looks like by itself ("<|im_end|>", "‹E7 8C›" for two bytes of a character).
    probability: the model's own. chance: after penalty, temperature and filters, what the draw saw;
    0 for a token that a person chose and the filters had removed. rank: by score, from 0.
    """

    id: int
    text: str
    piece: str
    probability: float
    chance: float
    rank: int
    head: Head | None = None


@dataclass(frozen=True)
class Writing:
    """The answer so far: whole characters only, and nothing that may be a stop string. tokens: the new ones."""

    text: str
    tokens: tuple[Token, ...]


@dataclass(frozen=True)
class TextResult:
    """The finished answer.

    finish: "end" (the model ended it), "stop" (a stop string), "length" (max_new_tokens), "context" (it is
    full), "stopped" (somebody asked).
    prompt_text: what the model read, chat template and special tokens included.
    """

    text: str
    tokens: tuple[Token, ...]
    finish: str
    prompt_text: str


def describe_head(
    logits: torch.Tensor, scores: torch.Tensor, log_total: torch.Tensor, ranking: Ranking, loaded: TextModel
) -> Head:
    """The parts of one position's distribution that the token view keeps."""
    ids = ranking.ids[:HEAD]
    top = ranking.scores[:HEAD]
    high = float(top[-1].clamp(min=-FARTHEST))
    low = max(float(scores.min()), high - TAIL_SPAN)
    scores, top = scores.clamp(min=low), top.clamp(min=low)
    if high > low:
        tail = scores.histc(TAIL_BINS, low, high)
        # the head's own last token, and its equals in it, fall into the last bin
        tail[-1] -= int((top <= high).sum())
    else:  # whatever is left is equal to the head's last
        tail = scores.new_zeros(TAIL_BINS)
        tail[-1] = len(scores) - len(ids)
    names = ids.tolist()
    return Head(
        ids=names,
        pieces=[loaded.piece(i) for i in names],
        scores=top.tolist(),
        probabilities=(logits[ids] - log_total).exp().tolist(),
        counts=dict(ranking.counts),
        low=low,
        tail=[int(count) for count in tail.tolist()],
    )


class Answer:
    """What has been written so far, and whether that is the end of it."""

    def __init__(self, loaded: TextModel, stops: list[str]):
        self.tokens: list[Token] = []
        self.finish: str | None = None
        self._raw = ""
        self._stops = stops
        self._ends = loaded.ends
        self._detokenizer = Detokenizer(loaded.decode)

    @property
    def shown(self) -> str:
        return self._raw[: safe_length(self._raw, self._stops)] if self.finish is None else self._raw

    def add(self, token: Token) -> Token:
        before = len(self._raw)
        if token.id in self._ends:
            self.finish = "end"
        else:
            token = replace(token, text=self._detokenizer.push(token.id))
            self._raw += token.text
            cut = find_stop(self._raw, self._stops, before)
            if cut is not None:
                self._raw, self.finish = self._raw[:cut], "stop"
        self.tokens.append(token)
        return token

    def whole(self) -> str:
        return self._raw if self.finish == "stop" else self._raw + self._detokenizer.rest()
