"""The shipped default for real: SmolLM2-135M-Instruct, fetched once into the user's cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from aigc_demo.device import choose
from aigc_demo.engine import Engine
from aigc_demo.generators.text import TextParams, generate
from aigc_demo.generators.text_model import TextModel, encode_prompt, load
from aigc_demo.generators.text_rows import MODELS, TEXT
from aigc_demo.results import Step, finish
from aigc_demo.settings import Settings

QUESTION = "What is the capital of France?"


@pytest.fixture(scope="module")
def model(smollm2: Path) -> TextModel:
    return load(smollm2, choose(device="cpu"))


# The promise of the first minute: a question gets a sensible answer, which the model ends by itself.
def test_it_answers(model: TextModel) -> None:
    done = finish(generate(TextParams(prompt=QUESTION, temperature=0, max_new_tokens=40), model))
    assert "Paris" in done.value.text
    assert done.value.finish == "end"
    assert done.figures["perplexity"] < 3


# Our loop is the visible one, not another one: greedy, it writes what transformers writes.
def test_greedy_text_is_that_of_transformers(model: TextModel) -> None:
    import torch

    request = TextParams(prompt="Name three colours.", temperature=0, repetition_penalty=1, max_new_tokens=24)
    ids = encode_prompt("chat", "", [], request.prompt, model)
    theirs = model.model.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), do_sample=False, max_new_tokens=24
    )[0, len(ids) :].tolist()
    ours = [token.id for token in finish(generate(request, model)).value.tokens]
    assert ours == theirs


# The row says what the weights say; the page shows the row before anything is fetched.
def test_the_row_is_true(model: TextModel) -> None:
    row = MODELS["smollm2-135m"]
    assert sum(p.numel() for p in model.model.parameters()) == row.parameters
    assert model.context == row.context
    config = model.model.config
    assert row.kv_bytes == 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * 2


# It was trained with every digit a token of its own; other tokens would quietly make it worse at numbers.
def test_digits_are_single_tokens(model: TextModel) -> None:
    pieces = [model.piece(i) for i in model.tokenizer("a 1234")["input_ids"]]
    assert pieces[-4:] == ["1", "2", "3", "4"]


# Characters of several tokens are never shown in halves, not even for a moment.
def test_characters_are_whole_while_streaming(model: TextModel) -> None:
    beginning = model.tokenizer("你好，世界 🎉", add_special_tokens=False)["input_ids"]
    request = TextParams(prompt="Say hello.", answer_prefix=beginning, max_new_tokens=4, temperature=0)
    shown = [item.value.text for item in generate(request, model) if isinstance(item, Step) and item.value]
    assert shown[0].startswith("你好，世界 🎉"[: len(shown[0])])
    assert not any("\ufffd" in text for text in shown)


# A recipe is only worth something if it makes the same thing again.
def test_a_recipe_makes_it_again(smollm2: Path) -> None:
    engine = Engine(Settings(device="cpu", offline=True))
    first = finish(engine.run(TEXT, TextParams(prompt="Write one line about rain.", temperature=1, max_new_tokens=24)))
    assert first.recipe["settings"]["seed"] >= 0
    second = finish(engine.run(TEXT, TextParams.of(first.recipe["settings"])))
    assert second.value.text == first.value.text
    assert first.recipe["model"]["origin"] in ("wheel", "hub")
