"""From token ids back to text while it is still being written.

A byte-level token can be half a character: 猫 is two or three tokens, an emoji up to four. Text is handed
out only once it is whole, so that nobody sees U+FFFD flicker by; and never a piece that might turn out to
be the beginning of a stop string.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

UNFINISHED = "\ufffd"
LONGEST_CHARACTER = 8
"""Tokens. An ill-formed byte never becomes whole, so what waits longer than this is shown as U+FFFD."""
UNFINISHED_BYTES = 3
"""UTF-8 bytes of a character that lacks one: what may still change at the end of an ill-formed text."""

Decode = Callable[[list[int]], str]


class Detokenizer:
    """Ids in, text out; `push` gives "" while a character is incomplete.

    Decoding restarts a little before the new token, because a tokenizer may render a token differently at
    the start of a text (SentencePiece drops its space). The method is that of text-generation-inference,
    but counts the characters that were given out, so that ill-formed bytes never swallow what follows them.
    """

    def __init__(self, decode: Decode):
        self._decode = decode
        self._ids: list[int] = []
        self._start = 0
        self._whole = 0
        self._given = 0

    def push(self, token: int) -> str:
        """The text that this token completes."""
        self._ids.append(token)
        text = self._decode(self._ids[self._start :])
        settled = len(text.rstrip(UNFINISHED))
        if len(self._ids) - self._whole > LONGEST_CHARACTER:
            settled = max(settled, len(text) - UNFINISHED_BYTES)
        piece = text[self._given : settled]
        self._given = max(self._given, settled)
        if settled == len(text):
            self._start, self._whole = self._whole, len(self._ids)
            self._given = len(self._decode(self._ids[self._start :]))
        return piece

    def rest(self) -> str:
        """What is still held back, at the end: an unfinished character, shown as U+FFFD."""
        return self._decode(self._ids[self._start :])[self._given :]


def find_stop(text: str, stops: Sequence[str], since: int) -> int | None:
    """Where the first stop string begins in `text`, if one ends after position `since`; None where none does."""
    found = [text.find(stop, max(0, since - len(stop) + 1)) for stop in stops]
    return min((position for position in found if position >= 0), default=None)


def safe_length(text: str, stops: Sequence[str]) -> int:
    """How much of `text` can be shown: all but the longest end that is the beginning of a stop string."""
    held = 0
    for stop in stops:
        for size in range(min(len(stop) - 1, len(text)), held, -1):
            if text.endswith(stop[:size]):
                held = size
                break
    return len(text) - held


def parse_stops(text: str) -> list[str]:
    r"""Stop strings from a text with one per line, where \n, \t and \\ stand for a line end, a tab and a backslash."""
    escapes = {"n": "\n", "t": "\t", "\\": "\\"}
    stops = []
    for line in text.splitlines():
        out, characters = "", iter(line)
        for character in characters:
            if character == "\\":
                follower = next(characters, "")
                out += escapes.get(follower, "\\" + follower)
            else:
                out += character
        if out:
            stops.append(out)
    return stops
