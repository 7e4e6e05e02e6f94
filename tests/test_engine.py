"""One request from its model id to its result: stages, recipe, and every way in which a model can fail to be there."""

from __future__ import annotations

import json
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from aigc_demo import engine as engine_module
from aigc_demo import recipe
from aigc_demo.device import Device
from aigc_demo.engine import Engine, Family
from aigc_demo.errors import ModelUnavailable, OutOfMemory, Stopped, UserError
from aigc_demo.generators.diffusion_rows import IMAGES
from aigc_demo.generators.text import TextParams
from aigc_demo.generators.text_rows import TEXT, TextSpec
from aigc_demo.models import GIB
from aigc_demo.results import Done, Step, finish
from aigc_demo.settings import Settings
from aigc_demo.weights import Found, Source
from aigc_demo.words import Words

REQUEST = {"prompt": "The quick brown fox", "model": "./tiny", "max_new_tokens": 12, "seed": 7}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def engine(tmp_path: Path, tiny_llama: Path) -> Engine:
    """An engine of its own for each test, with the tiny model under models/ and no network."""
    shutil.copytree(tiny_llama, tmp_path / "models" / "tiny")
    return Engine(
        Settings(
            models_dir=tmp_path / "models", cache_dir=tmp_path / "cache", offline=True, device="cpu", dtype="float32"
        )
    )


def text_of(engine: Engine, **values: Any) -> str:
    return finish(engine.run(TEXT, TextParams.of(REQUEST | values))).value.text


def refusal(engine: Engine, kind: type[UserError], family: Family = TEXT, **values: Any) -> UserError:
    """What a request that must fail says; in both languages, and the next request works."""
    with pytest.raises(kind) as caught:
        finish(engine.run(family, TextParams.of(REQUEST | values)))
    words = caught.value.words
    assert words.en.endswith(".")
    assert words.zh.endswith("。")
    assert text_of(engine)
    return caught.value


def stages(items: list[Any]) -> list[str]:
    """The stages of a run, each once, in the order in which they began."""
    return list(dict.fromkeys(item.stage for item in items if isinstance(item, Step)))


# The page says what is being done by these names; a model that is resident is not "loaded" again.
def test_stages_come_in_order(engine: Engine):
    first = list(engine.run(TEXT, TextParams.of(REQUEST)))
    assert stages(first) == ["load", "prefill", "decode"]
    assert isinstance(first[-1], Done)
    assert sum(isinstance(item, Done) for item in first) == 1
    assert stages(list(engine.run(TEXT, TextParams.of(REQUEST)))) == ["prefill", "decode"]


# The promise of the recipe: as it comes out of its file, it gives the same text, random seed included.
@pytest.mark.parametrize("mode", ["chat", "complete"])
def test_the_recipe_makes_the_same_text_again(engine: Engine, mode: str):
    first = finish(engine.run(TEXT, TextParams.of(REQUEST | {"mode": mode, "temperature": 1.5, "seed": -1})))
    assert first.recipe["settings"]["seed"] >= 0
    found = recipe.read(recipe.write(first.recipe).encode())
    again = finish(engine.run(TEXT, TextParams.of(found.settings)))
    assert again.value == first.value
    assert again.recipe["settings"] == first.recipe["settings"]


# A recipe that names the wrong model, device or finish misleads whoever repeats the run.
def test_the_recipe_says_what_ran(engine: Engine):
    done = finish(engine.run(TEXT, TextParams.of(REQUEST | {"seed": 3})))
    made = done.recipe
    assert made["family"] == "text"
    assert made["settings"] == TextParams.of(REQUEST | {"seed": 3}).values()
    assert made["model"] == {"id": "./tiny", "name": "tiny", "licence": "", "origin": "folder", "revision": ""}
    assert made["device"] == {"kind": "cpu", "name": engine.device.name, "dtype": "float32"}
    assert made["figures"]["generated_tokens"] == len(done.value.tokens)
    assert made["timings"].keys() == done.timings.keys()
    assert {"python", "torch", "transformers", "gradio"} <= made["versions"].keys()


# Each refusal names what was asked for and what to do now; nothing is fetched behind the person's back.
@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("no-such-model", ["no-such-model", "smollm2-135m", "qwen3-4b", "owner/name", "./name"]),
        ("./missing", ["missing", "{models}"]),
        ("./", ["{models}"]),
        ("./../models/tiny", ["../models/tiny"]),
        ("nobody/no-such-model", ["no-such-model", "offline", "{models}/no-such-model"]),
        ("../../etc", ["owner/name"]),
        ("https://example.org/model", ["owner/name"]),
        ("/etc", ["owner/name"]),
    ],
)
def test_a_model_that_is_not_there_says_what_to_do(engine: Engine, model: str, said: list[str]):
    words = refusal(engine, ModelUnavailable, model=model).words
    for part in said:
        assert part.format(models=engine.places.models) in words.en
    assert words.zh != words.en


def fetching(found: Path, events: list[str]) -> Callable[..., Iterator[Any]]:
    """A stand-in for `obtain`: a download of two steps."""

    def obtain(source: Source, places: Any) -> Iterator[Any]:
        events.append("begun")
        try:
            yield Step("fetch", 1, 2)
            yield Step("fetch", 2, 2)
            yield Done(Found(found, "hub", "abc"), {"total": 0.0})
        finally:
            events.append("closed")

    return obtain


# A download is part of the run, with its own stage before the others, and the recipe says where it came from.
def test_fetching_comes_first(engine: Engine, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine_module, "obtain", fetching(tiny_llama, []))
    items = list(engine.run(TEXT, TextParams.of(REQUEST | {"model": "owner/tiny"})))
    assert stages(items) == ["fetch", "load", "prefill", "decode"]
    assert items[-1].recipe["model"]["origin"] == "hub"
    assert items[-1].recipe["model"]["revision"] == "abc"


# Stop must work during a long download too: it ends there and then, and says so.
def test_a_stop_while_fetching_ends_the_download(engine: Engine, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch):
    events: list[str] = []
    asked: list[bool] = []

    def stopped() -> bool:
        asked.append(True)
        return len(asked) > 1

    with monkeypatch.context() as patch:
        patch.setattr(engine_module, "obtain", fetching(tiny_llama, events))
        run = engine.run(TEXT, TextParams.of(REQUEST | {"model": "owner/tiny"}), stopped)
        assert next(run) == Step("fetch", 1, 2)
        with pytest.raises(Stopped) as caught:
            next(run)
    assert events == ["begun", "closed"]
    assert "Stopped" in caught.value.words.en
    assert text_of(engine)


# A visitor who leaves while a model is being fetched takes the download along.
def test_closing_the_run_closes_the_download(engine: Engine, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch):
    events: list[str] = []
    monkeypatch.setattr(engine_module, "obtain", fetching(tiny_llama, events))
    run: Any = engine.run(TEXT, TextParams.of(REQUEST | {"model": "owner/tiny"}))
    next(run)
    run.close()
    assert events == ["begun", "closed"]


class Held:
    """Stands for the KV cache of a run."""


FULL = [
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried ..."),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
]


@pytest.mark.parametrize("error", FULL)
# Out of memory is no fault of the program's: it becomes words, what the run held is free, and the next run works.
def test_out_of_memory_while_writing(engine: Engine, error: Exception):
    kept: list[weakref.ref[Held]] = []

    def exhausts(request: Any, model: Any, stopped: Any) -> Iterator[Any]:
        held = Held()
        kept.append(weakref.ref(held))
        yield Step("decode", 1, 2)
        raise error.with_traceback(None)

    words = refusal(engine, OutOfMemory, replace(TEXT, generate=exhausts)).words
    assert "Shorten the prompt" in words.en
    assert "缩短提示词" in words.zh
    error.__traceback__ = None
    assert kept[0]() is None


# Loading is where a GPU runs out of memory most often; an apology for a fault of ours would not help there.
def test_out_of_memory_while_loading(engine: Engine):
    def exhausts(folder: Path, device: Device, spec: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert "smaller model" in refusal(engine, OutOfMemory, replace(TEXT, load=exhausts)).words.en


# A processor's memory is full in another way than a GPU's; any other fault of a library stays one.
def test_a_full_processor_is_out_of_memory_and_other_faults_are_not(engine: Engine):
    def breaks(folder: Path, device: Device, spec: Any) -> Any:
        raise RuntimeError("something else")

    def asks_for_too_much(folder: Path, device: Device, spec: Any) -> Any:
        return torch.empty(2**55)

    with pytest.raises(RuntimeError, match="something else"):
        finish(engine.run(replace(TEXT, load=breaks), TextParams.of(REQUEST)))
    refusal(engine, OutOfMemory, replace(TEXT, load=asks_for_too_much))


# Advice to shorten the answer would puzzle whoever asked for pictures.
def test_out_of_memory_is_told_in_the_familys_words(engine: Engine):
    def exhausts(*_: Any) -> Iterator[Any]:
        raise MemoryError
        yield

    family = replace(TEXT, generate=exhausts, lighter=Words("Paint less.", "少画一点。"))
    words = refusal(engine, OutOfMemory, family).words
    assert words == Words("The device ran out of memory. Paint less.", "设备内存不足。少画一点。")
    for word in ("answer", "prompt"):
        assert word not in IMAGES.lighter.en


# Each list offers what its family can load: a pipeline is no language model, and neither is the other.
def test_every_family_has_its_own_folders(engine: Engine):
    pipeline = engine.places.models / "owner" / "pipeline"
    pipeline.mkdir(parents=True)
    (pipeline / "model_index.json").write_text("{}")
    (pipeline / "config.json").write_text("{}")  # some repositories have both; the pipeline counts
    assert [folder.name for folder in engine.folders(TEXT)] == ["tiny"]
    assert [folder.name for folder in engine.folders(IMAGES)] == ["pipeline"]
    listed = [(m["family"], m["id"]) for m in engine.list_models([TEXT, IMAGES]) if m["id"].startswith("./")]
    assert listed == [("text", "./tiny"), ("images", "./owner/pipeline")]
    assert "model_index.json" in caught_by(engine, IMAGES, "./tiny")
    assert "“config.json”" in caught_by(engine, TEXT, "./owner/pipeline")


def caught_by(engine: Engine, family: Family, model: str) -> str:
    with pytest.raises(ModelUnavailable, match="no model folder") as caught:
        engine.spec(family, model)
    return caught.value.words.zh


def never(*arguments: Any) -> Any:
    pytest.fail("what cannot fit was fetched or loaded")


# Nobody should wait for gigabytes that this device has no room for: refused before fetching, with both numbers.
def test_a_row_that_is_too_large_is_refused_before_it_is_fetched(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    row = TextSpec(id="huge", name="Huge", source=Source(repo="owner/huge"), parameters=10**13)
    with monkeypatch.context() as patch:
        patch.setattr(engine_module, "obtain", never)
        with pytest.raises(OutOfMemory) as caught:
            finish(engine.run(replace(TEXT, rows={"huge": row}, load=never), TextParams("hello", model="huge")))
    need = 4 * 10**13
    for words in (caught.value.words.en, caught.value.words.zh):
        assert "Huge" in words
        assert f"{need / GIB:.1f} GiB" in words
        assert f"{(need - engine.device.total_memory()) / GIB:.1f} GiB" in words
    assert text_of(engine)


# A folder's size is known only from its files; it is refused before it is loaded.
def test_a_folder_that_is_too_large_is_refused_before_it_is_loaded(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        patch.setattr(Device, "total_memory", lambda self: 1000)
        with pytest.raises(OutOfMemory, match="tiny needs"):
            finish(engine.run(replace(TEXT, load=never), TextParams.of(REQUEST)))
    assert text_of(engine)


# The list is what people choose from: every id in it can be asked for, folders included, and it is JSON.
def test_list_models(engine: Engine, tiny_llama: Path):
    shutil.copytree(tiny_llama, engine.places.models / "owner" / "nested")
    models = {model["id"]: model for model in engine.list_models([TEXT])}
    assert list(models) == [*TEXT.rows, "./owner/nested", "./tiny"]
    assert all(engine.spec(TEXT, model).id == model for model in models)
    assert text_of(engine, model="./owner/nested") == text_of(engine)
    assert json.loads(json.dumps(models, allow_nan=False)) == models
    row, folder = models["smollm2-360m"], models["./tiny"]
    assert row["licence"] == "Apache-2.0"
    assert row["memory_bytes"] == 4 * row["parameters"]
    assert (folder["name"], folder["here"], folder["fits"]) == ("tiny", True, True)


# A folder dropped in while the app runs appears without a restart; a damaged one is listed as not usable.
def test_list_models_sees_folders_that_come_and_break(engine: Engine, tiny_llama: Path):
    def listed() -> dict[str, bool]:
        return {model["id"]: model["here"] for model in engine.list_models([TEXT]) if model["id"].startswith("./")}

    assert listed() == {"./tiny": True}
    shutil.copytree(tiny_llama, engine.places.models / "late")
    (engine.places.models / "late" / "model.safetensors").write_bytes(b"")
    assert listed() == {"./late": False, "./tiny": True}


# A row too large for the device is listed as such, so that a person sees it before choosing.
def test_list_models_says_what_does_not_fit(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Device, "total_memory", lambda self: GIB)
    fits = {model["id"]: model["fits"] for model in engine.list_models([TEXT])}
    assert fits["smollm2-135m"]
    assert not fits["qwen3-4b"]


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def truncate(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def config(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return change


def garble(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text("{")


# People drop in half-copied folders and strangers' ones: each says what is wrong with it, and breaks nothing else.
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (without("config.json"), "no model folder"),
        (without("model.safetensors"), "weights are missing"),
        (without("tokenizer.json"), "tokenizer is missing"),
        (truncate, "model.safetensors is damaged or was cut off"),
        (pickle_only, "safetensors only"),
        (config(auto_map={"AutoModelForCausalLM": "evil.Model"}), "auto_map"),
        (config(hidden_size=48), "cannot be loaded"),
        (config(num_hidden_layers=3), "model.layers.2."),
        (config(model_type="no_such_type"), "cannot be loaded"),
        (garble("config.json"), "config.json is not valid JSON"),
        (garble("tokenizer.json"), "tokenizer.json is not valid JSON"),
    ],
)
def test_damaged_folders(engine: Engine, tiny_llama: Path, damage: Callable[[Path], None], said: str):
    broken = shutil.copytree(tiny_llama, engine.places.models / "broken")
    damage(broken)
    words = refusal(engine, ModelUnavailable, model="./broken").words
    assert said in words.en
    assert "broken" in words.en
    assert "broken" in words.zh


# A folder that was repaired works at once; a failed load must not be remembered.
def test_a_repaired_folder_works(engine: Engine, tiny_llama: Path):
    broken = shutil.copytree(tiny_llama, engine.places.models / "broken")
    config(hidden_size=48)(broken)
    refusal(engine, ModelUnavailable, model="./broken")
    config(hidden_size=32)(broken)
    assert text_of(engine, model="./broken", seed=1) == text_of(engine, seed=1)


# Two visitors who come at the same time share one model instead of loading it twice.
def test_two_requests_at_once_load_once(engine: Engine):
    loads: list[int] = []
    both = threading.Barrier(2, timeout=20)
    texts: list[str] = []

    def load(folder: Path, device: Device, spec: Any) -> Any:
        loads.append(1)
        return TEXT.load(folder, device, spec)

    def work() -> None:
        both.wait()
        texts.append(finish(engine.run(replace(TEXT, load=load), TextParams.of(REQUEST | {"seed": 5}))).value.text)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(loads) == 1
    assert len(texts) == 2
    assert texts[0] == texts[1] == text_of(engine, seed=5)
