"""Each way in which a model folder can be damaged or dangerous is found, in words, before anything is loaded."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import make_tiny_llama

from aigc_demo.errors import ModelDamaged
from aigc_demo.weights import check_folder

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tiny_llama: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_llama, tmp_path / "tiny")


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return make_tiny_llama(tmp_path / "shards", max_shard_size="20KB")


@pytest.fixture
def pipeline(tiny_llama: Path, tmp_path: Path) -> Path:
    """A diffusers pipeline in outline: a model, a scheduler, and a part that is not there and need not be."""
    top = tmp_path / "pipeline"
    shutil.copytree(tiny_llama, top / "unet")
    (top / "scheduler").mkdir()
    (top / "scheduler" / "scheduler_config.json").write_text("{}")
    index = {
        "_class_name": "DDIMPipeline",
        "_diffusers_version": "0.35.0",
        "unet": ["diffusers", "UNet2DModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "safety_checker": [None, None],
        "requires_safety_checker": False,
    }
    (top / "model_index.json").write_text(json.dumps(index))
    return top


def edit(file: Path, **values: object) -> None:
    """Set keys of a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | values), "utf-8")


def refusal(folder: Path) -> str:
    with pytest.raises(ModelDamaged) as caught:
        check_folder(folder)
    assert folder.name in caught.value.words.zh
    return caught.value.words.en


# The checks must let whole models through: in one file, in shards, and as a pipeline with an absent optional part.
def test_whole_models_pass(folder: Path, shards: Path, pipeline: Path):
    for whole in (folder, shards, pipeline):
        check_folder(whole)


# What is missing is named, so that a person knows what to copy again.
@pytest.mark.parametrize(
    ("name", "says"),
    [("config.json", "config.json is missing"), ("tokenizer.json", "tokenizer"), (WEIGHTS, "weights are missing")],
)
def test_missing_file(folder: Path, name: str, says: str):
    (folder / name).unlink()
    assert says in refusal(folder)


# A folder that is not there, or is a file, is no model.
def test_no_folder(folder: Path):
    assert "does not exist" in refusal(folder / "config.json")
    assert "does not exist" in refusal(folder / "nowhere")


# A model passed once is looked at again when a file of it changes.
def test_later_damage_is_seen(folder: Path):
    check_folder(folder)
    os.truncate(folder / WEIGHTS, 100)
    assert "cut off" in refusal(folder)


# A copy that broke off anywhere, in the header or in the numbers, must not reach the loader, nor must a longer one.
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_truncated_weights(folder: Path, tiny_llama: Path, data: st.DataObject):
    whole = (tiny_llama / WEIGHTS).read_bytes()
    size = data.draw(st.integers(0, len(whole) - 1))
    (folder / WEIGHTS).write_bytes(whole[:size])
    assert "cut off" in refusal(folder)
    (folder / WEIGHTS).write_bytes(whole + b"\0" * (size + 1))
    assert "cut off" in refusal(folder)


# Any bytes at all in place of a header are refused; none raises something else.
@given(head=st.binary(max_size=64))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_weights(folder: Path, tiny_llama: Path, head: bytes):
    whole = (tiny_llama / WEIGHTS).read_bytes()
    if whole.startswith(head):
        head = b"\xff" * 16
    (folder / WEIGHTS).write_bytes(head + whole[len(head) :])
    try:
        check_folder(folder)
    except ModelDamaged:
        return
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS, framework="np") as still:  # bytes that happened to be as good
        assert list(still.keys())


# Invalid JSON of any kind, also nested so deeply that the parser gives up, is named by its file.
@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000])
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "generation_config.json"])
def test_invalid_json(folder: Path, name: str, text: bytes):
    (folder / name).write_bytes(text)
    assert f"{name} is not valid JSON" in refusal(folder)


# A config of many megabytes would fill the memory before anyone saw what it is.
def test_huge_json(folder: Path):
    (folder / "config.json").write_text('{"a": "' + "x" * (5 * 2**20) + '"}')
    assert "larger than" in refusal(folder)


# Other people's files beside the model are nobody's business.
def test_strange_files_are_ignored(folder: Path):
    (folder / "trainer_state.json").write_text("[1")
    (folder / "modeling_custom.py").write_text("raise SystemExit")
    (folder / "checkpoint-5").mkdir()
    (folder / "checkpoint-5" / "config.json").write_text("{")
    check_folder(folder)


# A model that only works by running its own program is refused and not half-loaded, wherever it asks for it.
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize(
    "values",
    [
        {"auto_map": {"AutoModel": "modeling.Evil"}},
        {"text_config": {"auto_map": {"AutoModel": "modeling.Evil"}}},
        {"trust_remote_code": True},
        {"custom_pipelines": {"x": {"impl": "evil.py"}}},
    ],
)
def test_remote_code(folder: Path, name: str, values: dict):
    edit(folder / name, **values)
    assert "program code" in refusal(folder)


# Only pickles: reading them can run code, so the message must not sound like a missing file.
def test_only_pickles(folder: Path):
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")
    assert ".bin" in refusal(folder)


# A shard that was forgotten while copying is named, and so is the index.
def test_missing_shard(shards: Path):
    (shards / "model-00002-of-00006.safetensors").unlink()
    assert "model-00002-of-00006.safetensors is missing" in refusal(shards)


# Shards without their index cannot be put together.
def test_missing_index(shards: Path):
    (shards / "model.safetensors.index.json").unlink()
    assert "index" in refusal(shards)


# An index must not make the loader open a file outside the folder, or something that is not safetensors.
@pytest.mark.parametrize("shard", ["../other.safetensors", "/etc/passwd", "a/b.safetensors", "x.bin", "..", "C:\\x"])
def test_index_cannot_climb_out(shards: Path, shard: str):
    edit(shards / "model.safetensors.index.json", weight_map={"model.norm.weight": shard})
    assert "weight file that is not" in refusal(shards)


# An index with nothing in it, or with something else, is an answer and not a crash.
@pytest.mark.parametrize("weight_map", [None, [], {}, "x", {"a": 1}, {"a": None}])
def test_strange_index(shards: Path, weight_map: object):
    edit(shards / "model.safetensors.index.json", weight_map=weight_map)
    assert "model.safetensors.index.json" in refusal(shards)


def link_out(folder: Path) -> None:
    (folder / "config.json").rename(folder.parent / "secret.json")
    (folder / "config.json").symlink_to(folder.parent / "secret.json")


def link_nowhere(folder: Path) -> None:
    (folder / "vocab.json").symlink_to(folder / "nowhere")


def link_in_a_circle(folder: Path) -> None:
    (folder / "vocab.json").symlink_to(folder / "vocab.json")


def link_folder_out(folder: Path) -> None:
    (folder / "unet").symlink_to(folder.parent, target_is_directory=True)


# A link may not lead out of the folder: an unpacked archive could show any file of this machine.
@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize("damage", [link_out, link_nowhere, link_in_a_circle, link_folder_out])
def test_links(folder: Path, damage: Callable[[Path], None]):
    damage(folder)
    assert "link" in refusal(folder)


# The hub's cache is made of links; they are fine as far as the given root.
@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_within_the_root(folder: Path):
    link_out(folder)
    check_folder(folder, root=folder.parent)


# A template is a program in a small language; a huge one is no chat template.
@pytest.mark.parametrize("where", ["file", "config", "several"])
def test_huge_template(folder: Path, where: str):
    huge = "{{ 1 }}" * 10_000
    if where == "file":
        (folder / "chat_template.jinja").write_text(huge)
    else:
        value = huge if where == "config" else [{"name": "default", "template": huge}]
        edit(folder / "tokenizer_config.json", chat_template=value)
    assert "chat template" in refusal(folder)


# A pipeline may name only classes of diffusers and transformers: anything else would be imported, and so run.
@pytest.mark.parametrize(
    "part", [["os", "system"], ["unet", "Evil"], ["diffusers", "a.b"], ["diffusers"], [["x"], "y"], ["diffusers", {}]]
)
def test_foreign_pipeline_part(pipeline: Path, part: list):
    edit(pipeline / "model_index.json", unet=part)
    assert "outside" in refusal(pipeline)


# A custom pipeline class is a file of code.
def test_custom_pipeline(pipeline: Path):
    edit(pipeline / "model_index.json", _class_name=["pipeline", "Evil"])
    assert "no pipeline" in refusal(pipeline)


# A part that is absent, or lies elsewhere, is named.
@pytest.mark.parametrize("part", ["vae", "../unet", ".."])
def test_missing_part(pipeline: Path, part: str):
    edit(pipeline / "model_index.json", **{part: ["diffusers", "AutoencoderKL"]})
    assert f"“{part}” is missing" in refusal(pipeline)


# Damage inside a part is damage.
def test_damaged_part(pipeline: Path):
    os.truncate(pipeline / "unet" / WEIGHTS, 50)
    assert "cut off" in refusal(pipeline)
