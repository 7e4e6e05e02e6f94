"""The count under the prompt: what the model's encoders take, told from the tokenizers alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_images import MAKERS

from aigc_demo.device import choose
from aigc_demo.engine import Engine
from aigc_demo.generators import diffusion_model, prompt_tokens
from aigc_demo.generators.diffusion import generate
from aigc_demo.generators.diffusion_params import ImageParams
from aigc_demo.generators.prompt_tokens import Readers
from aigc_demo.results import finish
from aigc_demo.settings import Settings
from aigc_demo.ui import prompt_count

LIMIT = 24
"""Of the tiny CLIP tokenizers, whose tokens are bytes; the start and the end take two."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    place = tmp_path_factory.mktemp("count")
    for name, make in MAKERS.items():
        make(place / "models" / name)
    return Engine(Settings(models_dir=place / "models", cache_dir=place / "cache", offline=True))


def say(engine: Engine, prompt: Any, model: Any = "./sd", style: Any = "none", language: str = "en") -> str:
    return prompt_count.told(engine, Readers(), prompt, style, model, language)


def test_the_count_is_of_the_words_without_marks(engine: Engine) -> None:
    """Marks cost nothing, and a style's words do."""
    assert ">6 / 24 tokens<" in say(engine, "a cat")
    assert say(engine, "(a:1.4) [cat]") == say(engine, "a cat")
    assert "aigc-note" not in say(engine, "a cat")
    assert ">6 / 24 个词元<" in say(engine, "a cat", language="zh")
    assert "not read" in say(engine, "a cat", style="ink")


def test_what_falls_off_is_named_as_it_was_typed(engine: Engine) -> None:
    """The words themselves, capitals and all, so that a person finds them; and they are the run's own `unread`."""
    prompt = "a Very (long) Story of a Cat on the <b>Roof</b>"
    told = say(engine, prompt)
    found = Readers().read(engine.places.models / "sd", prompt.replace("(", "").replace(")", ""))
    assert found is not None
    rest = found[0].rest
    assert prompt.endswith(rest)
    assert found[0].used > found[0].limit == LIMIT
    assert "&lt;b&gt;Roof&lt;/b&gt;" in told
    assert "<b>" not in told
    model = diffusion_model.load(engine.places.models / "sd", choose("cpu", "float32"))
    made = finish(generate(ImageParams(prompt=prompt, num_inference_steps=1, seed=1), model))
    assert made.figures["unread"] == rest
    assert found[0].rest[:1].strip()


def test_chinese_is_counted_and_cut_between_characters(engine: Engine) -> None:
    """A character is several bytes here; half of one is no word to show."""
    prompt = "一只戴皇冠的猫坐在屋顶上"
    told = say(engine, prompt, language="zh")
    found = Readers().read(engine.places.models / "sd", prompt)
    assert found is not None
    assert found[0].used == 2 + len(prompt.encode())
    assert found[0].rest == prompt[7:], "22 bytes hold seven characters and a third of one"
    assert f"“{found[0].rest}”" in told


def test_the_encoder_that_reads_most_counts(engine: Engine) -> None:
    """Stable Diffusion 3's third encoder reads 256 tokens, whatever its tokenizer could take."""
    assert "/ 256 tokens" in say(engine, "a cat", "./sd3")
    long = "a cat " * 100
    found = Readers().read(engine.places.models / "sd3", long)
    assert found is not None
    assert found[0].limit == 256
    assert found[0].rest
    assert "/ 24 tokens" in say(engine, "a cat", "./sdxl")


def test_weights_are_spoken_of_where_they_count(engine: Engine) -> None:
    """A hint where they do, a word where somebody uses them in vain."""
    assert "[word]" in say(engine, "a cat")
    assert "no effect" not in say(engine, "a cat", "./sd3")
    assert "no effect" in say(engine, "a (cat)", "./sd3")
    assert "权重" in say(engine, "a (cat)", "./sd3", language="zh")


@pytest.mark.parametrize("prompt", ["", "  "])
def test_no_words_are_allowed_and_it_says_what_comes_then(engine: Engine, prompt: str) -> None:
    """Nobody should wonder whether an empty field is a mistake; a style has no words to stand around there."""
    assert "paints what it likes" in say(engine, prompt, style="ink")
    assert "想画什么" in say(engine, prompt, language="zh")


@pytest.mark.parametrize(
    ("prompt", "model"),
    [
        ("a cat", "sd-turbo"),
        ("a cat", "nobody/nothing"),
        ("a cat", "./missing"),
        ("a cat", ""),
        ("a cat", None),
        (None, "./sd"),
        ("x" * 20_001, "./sd"),
        (["a"], {"b": 1}),
    ],
)
def test_where_there_is_nothing_to_count_nothing_is_said(
    engine: Engine, prompt: Any, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that is not here is neither fetched nor spoken of, and typing never ends in a message."""
    monkeypatch.setattr("aigc_demo.weights._fetch", lambda *_: pytest.fail("typing fetches nothing"))
    assert say(engine, prompt, model) == ""


def test_no_model_is_loaded_for_it(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gigabytes are not read from the disk because somebody types; and the tokenizers are read once."""
    from diffusers import DiffusionPipeline
    from transformers import PreTrainedModel

    for cls in (DiffusionPipeline, PreTrainedModel):
        monkeypatch.setattr(cls, "from_pretrained", lambda *_, **__: pytest.fail("a model was loaded"))
    loaded: list[Path] = []
    own = prompt_tokens.load
    monkeypatch.setattr(prompt_tokens, "load", lambda folder: loaded.append(folder) or own(folder))
    readers = Readers()
    for prompt in ("a", "a c", "a ca", "a cat"):
        assert prompt_count.told(engine, readers, prompt, "none", "./sd", "en")
    assert len(loaded) == 1


def test_a_folder_whose_tokenizer_is_broken_is_passed_over(engine: Engine, tmp_path: Path) -> None:
    """Making a picture will say what is wrong with it; typing says nothing."""
    folder = tmp_path / "broken"
    shutil.copytree(engine.places.models / "sd", folder)
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    (folder / "model_index.json").write_text(json.dumps(index | {"tokenizer": ["transformers", "NoSuch"]}), "utf-8")
    assert Readers().read(folder, "a cat") is None
