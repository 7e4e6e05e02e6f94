"""Every sentence that a person may read exists in both languages, and both say the same."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from aigc_demo.words import LANGUAGES, Words

PACKAGE = Path(__file__).parent.parent / "aigc_demo"
CHINESE = "\u4e00-\u9fff"
CJK = re.compile(f"[{CHINESE}\u3000-\u303f\uff00-\uffef]")  # with full-width punctuation
LATIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

# Latin words that may stand in a Chinese sentence, by the reason for it.
NAMES = {
    "names of things": """
        Apple BMP BPE CPU Face FlashAttention GGUF GIF GPU Hugging JPEG JSON Llama Muon PNG PyPI Python TIFF WebP bfloat16 diffusers float32 pip
        safetensors transformers""",
    "names of samplers": "DDIM DPM Euler Karras LCM M UniPC a",
    "terms that Chinese texts on the subject leave in English": "A B C Min NaN PSNR RMSE SSIM Top X Y k lerp logits min p slerp softmax t SNE top w z",
    "units": "GiB KiB MB MiB",
    "what a person types, or reads as it stands, somewhere else": """
        assistant device dtype false models n name owner true user""",
    "keys of the keyboard": "Enter Shift",
    "makers and their licences, as credits give them": "Apache BY CC CLDR Fluent Emoji Google MIT Microsoft Twitter Unicode XL",
    "names that training gives": "AdamW CLIP Diffusion Noto Stable Transformer Twemoji aigc_demo clip data diffusion emoji m map python training",
}
ALLOWED = {word for words in NAMES.values() for word in words.split()}
ENVIRONMENT = re.compile("[A-Z]+(_[A-Z]+)+")  # variables, as a person sets them
# Placeholders that only one language shows, with the reason.
ONE_SIDED = {
    "name": "API names of fields: callers of the API read English; on the page a Chinese label stands there",
    "a": "the English article, in captions: Chinese has none",
}


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every `Words(...)` under aigc_demo, with its place."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and "Words" in (
                getattr(node.func, "id", ""),
                getattr(node.func, "attr", ""),
            ):
                yield f"{path.relative_to(PACKAGE.parent)}:{node.lineno}", node


def literals() -> list[tuple[str, ...]]:
    """(place, en, zh) of every `Words` that is made of two plain strings."""
    found: list[tuple[str, ...]] = []
    for place, call in calls():
        arguments = dict(zip(("en", "zh"), call.args, strict=False))
        arguments |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
        texts = [getattr(arguments.get(language), "value", None) for language in ("en", "zh")]
        if all(isinstance(text, str) for text in texts):
            found.append((place, *map(str, texts)))
    return found


LITERALS = literals()


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def latin_words(zh: str) -> list[str]:
    """The Latin words of a Chinese sentence, without its placeholders and the names of environment variables."""
    words = LATIN.findall(re.sub(r"\{\w*(:[^{}]*)?\}", "", zh))
    return [word for word in words if not ENVIRONMENT.fullmatch(word)]


# A message nests another one: in the Chinese sentence the inner part has to be Chinese too.
def test_format_puts_nested_words_in_their_language() -> None:
    outer = Words("{label} ({name}) {problem}.", "“{label}”{problem}。")
    inner = Words("is above {limit:,}", "超过 {limit:,}").format(limit=1000)
    made = outer.format(label=Words("Seed", "种子"), name="seed", problem=inner)
    assert made == Words("Seed (seed) is above 1,000.", "“种子”超过 1,000。")


# What a person typed may contain braces; it must come out as it went in and not be formatted again.
def test_format_leaves_braces_in_values_alone() -> None:
    typed = "{0} {en} {{"
    once = Words("no model “{model}”", "没有模型“{model}”").format(model=typed)
    assert once == Words(f"no model “{typed}”", f"没有模型“{typed}”")
    assert Words("{a}!", "{a}！").format(a=once) == Words(f"{once.en}!", f"{once.zh}！")


# Browsers report tags of many shapes; every Chinese one reads Chinese, every other one English.
@pytest.mark.parametrize(
    ("tag", "expected"),
    [("zh", "中"), ("zh-CN", "中"), ("ZH-hant-TW", "中"), ("en", "E"), ("en-GB", "E"), ("de", "E"), ("", "E")],
)
def test_language_tags(tag: str, expected: str) -> None:
    assert Words("E", "中").to(tag) == expected


# `str` is what logs and API callers see: English, and the language switch offers what Words has.
def test_str_is_english_and_the_switch_offers_every_language() -> None:
    assert str(Words("E", "中")) == "E"
    assert set(LANGUAGES) == set(Words.__dataclass_fields__)


# The checks below would pass on an empty list: they have to see the package's sentences.
def test_the_sentences_are_found() -> None:
    places = {place.partition(":")[0] for place, _, _ in LITERALS}
    assert {"aigc_demo/params.py", "aigc_demo/models.py", "aigc_demo/generators/text.py"} <= places
    assert len(LITERALS) > 50


# A literal beside a computed text, or a missing one, would escape the checks below.
def test_no_sentence_is_half_literal() -> None:
    half = []
    for place, call in calls():
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        kinds = {isinstance(value, ast.Constant) and isinstance(value.value, str) for value in given}
        if kinds == {True, False} or (kinds == {True} and len(given) != 2):
            half.append(place)
    assert not half


# An empty translation is a hole in the page.
def test_both_languages_say_something() -> None:
    assert [place for place, en, zh in LITERALS if not (en.strip() and zh.strip())] == []


# A placeholder that one language lacks hides a number from its readers; a misspelt one raises while reporting an error.
def test_both_languages_have_the_same_placeholders() -> None:
    different = {place: placeholders(en) ^ placeholders(zh) for place, en, zh in LITERALS}
    assert {place: names for place, names in different.items() if names - set(ONE_SIDED)} == {}


# English that was never translated must not reach a Chinese page; only names such as Top-k are the same in both.
def test_chinese_is_chinese() -> None:
    assert [place for place, en, zh in LITERALS if not CJK.search(zh) and zh.strip() != en.strip()] == []
    latin = {place: set(latin_words(zh)) - ALLOWED for place, _, zh in LITERALS}
    assert {place: words for place, words in latin.items() if words} == {}


# The English page has no Chinese in it.
def test_english_has_no_chinese() -> None:
    assert [place for place, en, _ in LITERALS if re.search(f"[{CHINESE}]", en)] == []


# The allow-list above must not hide an untranslated sentence: it lets names through and prose not.
def test_the_allow_list_catches_prose() -> None:
    assert not set(latin_words("没有找到 the model {name:,}")) <= ALLOWED
    assert set(latin_words("Top-k 在 GPU 上，{unknown_name} GiB")) <= ALLOWED
