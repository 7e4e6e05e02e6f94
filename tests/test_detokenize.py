"""Text while it is being written: whole characters only, nothing lost, and no stop string peeping out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import make_tiny_tokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

from aigc_demo.generators.detokenize import UNFINISHED, Detokenizer, find_stop, parse_stops, safe_length

CHINESE = "今天天气怎么样？我们一起学习：生成模型，𠮷野家。"
EMOJI = "😀🎉👍🏽👩‍👩‍👧‍👦🏳️‍🌈🇨🇳 e\u0301"
MIXED = f"a {CHINESE} b {EMOJI}\n\tThe fox – “ok”"


class ByteLevel:
    """The tiny byte-level tokenizer: every byte has a token, and frequent pairs have one too."""

    def __init__(self) -> None:
        self.tokenizer: Any = make_tiny_tokenizer()
        self.of_byte = {
            byte: self.tokenizer.convert_tokens_to_ids(character) for byte, character in bytes_to_unicode().items()
        }

    def encode(self, text: str) -> list[int]:
        return self.tokenizer(text)["input_ids"]

    def bytes(self, data: bytes) -> list[int]:
        return [self.of_byte[byte] for byte in data]

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


LEVEL = ByteLevel()


def byte_fallback(ids: list[int]) -> str:
    """What a SentencePiece tokenizer with byte fallback makes of byte tokens: one U+FFFD for each ill-formed byte."""
    try:
        return bytes(ids).decode()
    except UnicodeDecodeError:
        return UNFINISHED * len(ids)


def pieces(ids: list[int], decode: Any = LEVEL.decode) -> list[str]:
    """What a reader gets, one piece per token and the rest at the end."""
    detokenizer = Detokenizer(decode)
    return [*(detokenizer.push(i) for i in ids), detokenizer.rest()]


# The tests below are about split characters: the tokenizer has to split them.
def test_the_tokenizer_splits_characters() -> None:
    assert len(LEVEL.encode("😴")) > 1
    assert len(LEVEL.encode("猫")) > 1
    assert UNFINISHED in LEVEL.decode(LEVEL.encode("猫")[:1])


# Nobody sees U+FFFD flicker by, and nothing of the text is lost, whichever tokens it comes in.
@pytest.mark.parametrize("text", ["", "plain", CHINESE, EMOJI, MIXED, "猫" * 300])
def test_well_formed_text_comes_whole(text: str) -> None:
    for ids in (LEVEL.encode(text), LEVEL.bytes(text.encode())):
        got = pieces(ids)
        assert "".join(got) == text == LEVEL.decode(ids)
        assert not any(UNFINISHED in piece for piece in got)


# Streaming means at once: a character is shown with its own last token, not later.
def test_a_character_comes_with_its_last_token() -> None:
    assert pieces(LEVEL.bytes("a猫😀b".encode())) == ["a", "", "", "猫", "", "", "", "😀", "b", ""]


# Any text at all, split at every byte: the pieces are the text.
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
@settings(deadline=None)
def test_any_text_by_single_bytes(text: str) -> None:
    got = pieces(LEVEL.bytes(text.encode()))
    assert "".join(got) == text
    if UNFINISHED not in text:
        assert not any(UNFINISHED in piece for piece in got)


# A small model at a high temperature writes bytes that are no text: they show as U+FFFD and swallow nothing around them.
@given(
    st.lists(
        st.binary(max_size=12)
        | st.text(st.characters(exclude_categories=["Cs"]), max_size=4).map(str.encode)
        | st.sampled_from([b"\x80" * 9, b"\xe7\x8c", b"\xf0\x9f\x98", b"\xff" * 20, b"\xe7" * 7]),
        max_size=8,
    ).map(b"".join)
)
@settings(deadline=None, max_examples=300)
def test_any_bytes_add_up_to_their_decoding(data: bytes) -> None:
    assert "".join(pieces(LEVEL.bytes(data))) == data.decode("utf-8", "replace")


# The character after a long run of ill-formed bytes used to be lost.
def test_a_character_after_ill_formed_bytes_survives() -> None:
    got = "".join(pieces(LEVEL.bytes(b"\x80" * 7 + "猫a".encode())))
    assert got == UNFINISHED * 7 + "猫a"


# Ill-formed bytes do not hold back the stream for ever: a reader sees that something goes on.
def test_an_endless_run_of_ill_formed_bytes_is_shown_while_it_lasts() -> None:
    got = pieces(LEVEL.bytes(b"\xff" * 100))
    assert sum(map(len, got[:-1])) > 90
    assert "".join(got) == UNFINISHED * 100


# A character that the last token leaves unfinished is admitted at the end, once.
def test_an_unfinished_end_is_shown_as_one_replacement() -> None:
    assert pieces(LEVEL.bytes("ab猫".encode()[:-1])) == ["a", "b", "", "", UNFINISHED]


# Tokens without text of their own (end of turn) neither show up nor disturb a character around them.
def test_special_tokens_have_no_text() -> None:
    end = LEVEL.tokenizer.eos_token_id
    cat = LEVEL.bytes("猫".encode())
    assert pieces([*LEVEL.encode("a"), end, end, *cat, end]) == ["a", "", "", "", "", "猫", "", ""]


# Gemma and Llama-2 style tokenizers mark every byte of an unfinished character, not the character.
@pytest.mark.parametrize("text", ["猫", "猫猫猫", "😀", "a😀b猫", "👩‍👩‍👧‍👦"])
def test_byte_fallback_tokenizers(text: str) -> None:
    got = pieces(list(text.encode()), byte_fallback)
    assert "".join(got) == text
    assert not any(UNFINISHED in piece for piece in got)


# SentencePiece drops the space at the start of what it decodes; words must not run together because of it.
def test_tokenizers_that_drop_the_first_space() -> None:
    words = ["▁one", "▁two", "▁three", "▁four"]

    def decode(ids: list[int]) -> str:
        return "".join(words[i] for i in ids).replace("▁", " ").removeprefix(" ")

    assert pieces([0, 1, 2, 3], decode) == ["one", " two", " three", " four", ""]


class Stream:
    """What a reader of a stream with stop strings sees, as `Answer` does it: shown while it grows, and at the end."""

    def __init__(self, stops: list[str]):
        self.stops, self.raw, self.stopped = stops, "", False
        self.shown: list[str] = []

    def write(self, parts: list[str]) -> str:
        for part in parts:
            before = len(self.raw)
            self.raw += part
            cut = find_stop(self.raw, self.stops, before)
            if cut is not None:
                self.raw, self.stopped = self.raw[:cut], True
                break
            self.shown.append(self.raw[: safe_length(self.raw, self.stops)])
        return self.raw


# A stop string seldom is one token: its beginning is held back, and the answer ends before it.
@pytest.mark.parametrize(
    ("parts", "stops", "text"),
    [
        (["Hello ", "EN", "D", " more"], ["END"], "Hello "),
        (["aENDb"], ["END"], "a"),
        (["END"], ["END"], ""),
        (["a\n", "\nb"], ["\n\n"], "a"),
        (["xab", "ab", "c"], ["ababc"], "x"),
        (["xaba", "bab", "c!"], ["ababc"], "xab"),
        (["one two", " three"], ["three", "two t"], "one "),
        (["one two", " three"], ["two t", "three"], "one "),
        (["你好", "。", "再见"], ["。再"], "你好"),
        (["aaa", "a"], ["aaaa"], ""),
        (["abcab", "cd"], ["abcd"], "abc"),
    ],
)
def test_stop_strings_over_several_tokens(parts: list[str], stops: list[str], text: str) -> None:
    stream = Stream(stops)
    assert stream.write(parts) == text
    assert stream.stopped
    assert all(text.startswith(shown) for shown in stream.shown)


# What looked like a stop string and was not one is shown after all.
def test_a_false_beginning_is_shown_in_the_end() -> None:
    stream = Stream(["END"])
    assert stream.write(["a EN", "ORMOUS E", "N"]) == "a ENORMOUS EN"
    assert stream.shown == ["a ", "a ENORMOUS ", "a ENORMOUS "]
    assert not stream.stopped


# However text and stops fall, the answer ends before the first stop string that is complete, and shows nothing of it.
@given(
    st.lists(st.text("ab", max_size=4), max_size=12),
    st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
)
@settings(deadline=None, max_examples=300)
def test_stops_in_any_split(parts: list[str], stops: list[str]) -> None:
    stream = Stream(stops)
    text = stream.write(parts)
    whole = "".join(parts)
    assert whole.startswith(text)
    assert stream.stopped == any(stop in whole for stop in stops)
    assert not any(stop in text for stop in stops)
    for before, after in zip(["", *stream.shown], [*stream.shown, text], strict=True):
        assert after.startswith(before)  # nothing that was shown is taken back
    if stream.stopped:
        assert any(whole.startswith(stop, len(text)) for stop in stops)
    elif stream.shown:
        # no more is held back than has to be
        held = whole[len(stream.shown[-1]) :]
        assert held == "" or any(stop.startswith(held) for stop in stops)


# Without stop strings nothing is held back.
def test_no_stops() -> None:
    assert find_stop("anything", [], 0) is None
    assert safe_length("anything", []) == 8


# People write line ends and tabs as escapes; anything else with a backslash stays as it was typed.
@pytest.mark.parametrize(
    ("typed", "stops"),
    [
        ("", []),
        ("END", ["END"]),
        ("a\nb", ["a", "b"]),
        ("a\r\nb\r\n", ["a", "b"]),
        (r"\n\n", ["\n\n"]),
        (r"a\tb", ["a\tb"]),
        (r"\\n", ["\\n"]),
        (r"\\\n", ["\\\n"]),
        (r"\d", [r"\d"]),
        ("end\\", ["end\\"]),
        ("\n\n", []),
        (" ", [" "]),
        ("。", ["。"]),
    ],
)
def test_parse_stops(typed: str, stops: list[str]) -> None:
    assert parse_stops(typed) == stops
