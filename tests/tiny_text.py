"""A tiny random Llama that is asked for text, and what its tests ask it with."""

from __future__ import annotations

import itertools
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import make_tiny_llama, make_tiny_tokenizer

from aigc_demo.device import Device
from aigc_demo.generators.text import TextParams, generate
from aigc_demo.generators.text_model import TextModel, load
from aigc_demo.generators.tokens import TextResult
from aigc_demo.results import Done, Step, finish
from aigc_demo.words import Words

CPU = Device("cpu", "CPU", "float32", Words("for tests", "用于测试"))
OFF = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0}
GREEDY = OFF | {"temperature": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("text") / "tiny")


@pytest.fixture(scope="module")
def ending(folder: Path) -> TextModel:
    return load(folder, CPU)


@pytest.fixture(scope="module")
def tiny(ending: TextModel) -> TextModel:
    """The model, deaf to its end-of-text token, so that answers have the length that a test asks for."""
    return replace(ending, ends=frozenset())


def ask(**values: Any) -> TextParams:
    return TextParams(**{"prompt": "Once upon a time", "model": "tiny", "seed": 3, "max_new_tokens": 24, **values})


def write(loaded: TextModel, **values: Any) -> TextResult:
    return finish(generate(ask(**values), loaded)).value


def stream(loaded: TextModel, **values: Any) -> tuple[list[Any], list[Any], Any]:
    """(prefill steps, decode steps, Done) of a run."""
    *steps, done = generate(ask(**values), loaded)
    assert isinstance(done, Done)
    prefill = list(itertools.takewhile(lambda step: isinstance(step, Step) and step.stage == "prefill", steps))
    decode = steps[len(prefill) :]
    assert all(isinstance(step, Step) and step.stage == "decode" for step in decode)
    return prefill, decode, done


def typed(stop: str) -> str:
    """A stop string as a person types it."""
    return stop.replace("\\", "\\\\").replace("\n", "\\n")


def ids(result: TextResult) -> list[int]:
    return [token.id for token in result.tokens]


def with_template(loaded: TextModel, template: str | None) -> TextModel:
    return replace(loaded, tokenizer=make_tiny_tokenizer(chat_template=template))


@pytest.fixture
def forwards(tiny: TextModel, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A weak reference to the KV cache of every forward pass, in order; `len` counts the passes."""
    seen: list[Any] = []
    forward = tiny.model.forward

    def counted(*positional: Any, **named: Any) -> Any:
        seen.append(weakref.ref(named["cache"]))
        return forward(*positional, **named)

    monkeypatch.setattr(tiny.model, "forward", counted)
    return seen
