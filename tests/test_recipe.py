"""A recipe goes out as JSON and comes back from strangers: it is read whole, or refused in words, and runs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aigc_demo import __version__, recipe
from aigc_demo.device import Device
from aigc_demo.errors import Invalid
from aigc_demo.generators.text import TextParams
from aigc_demo.words import Words

CPU = Device("cpu", "a CPU", "float32", Words("for tests", "用于测试"))
ROOT = Path(__file__).parent.parent


def stamped(**values: Any) -> dict[str, Any]:
    request = TextParams(**{"prompt": "Hello", "seed": 7, **values})
    figures = {"prompt_tokens": 3, "tokens_per_second": None, "finish": "end"}
    return recipe.stamp("text", request, {"id": "tiny", "name": "Tiny"}, CPU, {"total": 0.123456}, figures)


def written(**changes: Any) -> bytes:
    """A recipe's file with some of its entries changed; None takes one away."""
    made = {name: value for name, value in (stamped() | changes).items() if value is not None}
    return json.dumps(made).encode()


def refusal(data: bytes) -> str:
    with pytest.raises(Invalid) as caught:
        recipe.read(data)
    assert caught.value.words.zh.endswith("。")
    return caught.value.words.en


# Yesterday's file restores the whole request: history, awkward characters and all.
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"prompt": '你好 😀 "quoted" \\ <b>&amp;</b>\n\ttab', "stop": "\\n\n###", "mode": "complete"},
        {"history": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "answer_prefix": [1, 2]},
        {"temperature": 0.1 + 0.2, "top_p": 0.01, "seed": 2**31 - 1, "token_details": True},
    ],
)
def test_what_was_written_is_read(values: dict[str, Any]):
    made = stamped(**values)
    found = recipe.read(recipe.write(made).encode())
    assert found.family == "text"
    assert TextParams.of(found.settings) == TextParams(**{"prompt": "Hello", "seed": 7, **values})
    assert json.loads(recipe.write(made)) == made


# People read the file too: text stands in it as text, and it says which versions and which device made the result.
def test_a_recipe_is_readable_and_complete():
    text = recipe.write(stamped(prompt="你好"))
    assert "你好" in text
    made = json.loads(text)
    assert made["app"] == __version__
    assert made["device"] == {"kind": "cpu", "name": "a CPU", "dtype": "float32"}
    assert made["timings"] == {"total": 0.1235}
    assert {"python", "torch", "transformers", "gradio"} <= made["versions"].keys()


# Windows editors put a byte order mark before the text; the recipe is none the worse for it.
def test_a_byte_order_mark_is_no_damage():
    assert recipe.read(b"\xef\xbb\xbf" + written()).settings["prompt"] == "Hello"


# Each kind of damage has its own sentence, so that a person knows whether they took the wrong file or a broken one.
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "does not hold JSON"),
        (b"hello", "does not hold JSON"),
        (written()[:-20], "does not hold JSON"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "does not hold JSON"),
        (b"\xff\xfe{\x00}\x00", "does not hold JSON"),
        (b"[" * 100_000, "does not hold JSON"),
        (b'{"a":' * 100_000, "does not hold JSON"),
        (b'{"format": ' + b"9" * 10_000 + b"}", "does not hold JSON"),
        (b"null", "not a recipe"),
        (b"[1, 2]", "not a recipe"),
        (b'{"nodes": []}', "not a recipe"),
        (written(format="another app's recipe"), "not a recipe"),
        (written(format=["aigc-demo recipe"]), "not a recipe"),
        (written(settings=None), "settings are missing"),
        (written(settings=[1]), "settings are missing"),
        (written(settings="prompt"), "settings are missing"),
        (written(family=None), "settings are missing"),
        (written(family=7), "settings are missing"),
        (written(padding="x" * 10_000_000), "too large for a recipe: 10.0 MB"),
        (b" " * 10_000_000, "too large for a recipe: 10.0 MB"),
    ],
)
def test_damaged_files(data: bytes, said: str):
    assert said in refusal(data)


# `read` checks the file and the Params check the values: together they refuse what another version or a stranger wrote.
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"prompt": "a", "colour": "red"}, "colour"),
        ({"prompt": "a", "temperature": float("nan")}, "(temperature)"),
        ({"prompt": "a", "temperature": float("inf")}, "(temperature)"),
        ({"prompt": "a", "history": [[[[]]]]}, "(history)"),
        ({"prompt": ["a"]}, "(prompt)"),
        ({"model": "tiny"}, "prompt"),
        ({}, "prompt"),
    ],
)
def test_settings_that_are_not_ours(values: dict[str, Any], said: str):
    found = recipe.read(written(settings=values))
    with pytest.raises(Invalid) as caught:
        TextParams.of(found.settings)
    assert said in caught.value.words.en


# Lone surrogates are legal in JSON and break whatever encodes them; they arrive as the replacement character.
def test_lone_surrogates_are_replaced():
    data = written(settings={"prompt": "a\ud800b", "seed": 1})
    assert b"\\ud800" in data
    request = TextParams.of(recipe.read(data).settings)
    assert request.prompt == "a\ufffdb"
    assert recipe.write(stamped(prompt=request.prompt)).encode()


NAMES = st.sampled_from(["format", "family", "settings", "prompt", "model"]) | st.text(max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(recipe.FORMAT),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=10,
)
NEARLY = st.fixed_dictionaries({"format": st.just(recipe.FORMAT)}, optional={"family": JSON, "settings": JSON})
FILES = st.binary(max_size=200) | (JSON | NEARLY).map(lambda value: json.dumps(value).encode())


# Whatever is dropped on the page, a recipe comes of it or words; never an exception that nobody expected.
@given(FILES)
@example(written())
@settings(deadline=None, max_examples=300)
def test_any_bytes_make_a_recipe_or_words(data: bytes):
    found = words = None
    try:
        found = recipe.read(data)
    except Invalid as error:
        words = error.words
    if found is None:
        assert words
        assert words.en
        assert words.zh
    else:
        assert isinstance(found.family, str)
        assert isinstance(found.settings, dict)


SEALED = """
import encodings.utf_8_sig  # found by name at the first use
import sys
from aigc_demo import recipe

def audit(event, arguments):
    if event == "open" or event.startswith(("socket.", "subprocess.", "os.", "import", "shutil.", "urllib.")):
        raise AssertionError(f"{event} {arguments}")

data = sys.stdin.buffer.read()
sys.addaudithook(audit)
found = recipe.read(data)
print(found.settings["model"], sorted({"torch", "transformers", "gradio"} & set(sys.modules)))
"""


# A restored recipe never fetches a model or opens a path unasked: while one is read, nothing is touched at all.
def test_reading_touches_nothing():
    data = written(settings={"prompt": "a", "model": "../../etc/passwd"})
    ran = subprocess.run([sys.executable, "-c", SEALED], input=data, cwd=ROOT, capture_output=True, timeout=120)
    assert ran.returncode == 0, ran.stderr.decode()
    assert ran.stdout.decode().split() == ["../../etc/passwd", "[]"]
