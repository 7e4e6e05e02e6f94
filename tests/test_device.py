"""Device and dtype are chosen once, with a reason; randomness is an argument and the same everywhere."""

from __future__ import annotations

import re

import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aigc_demo import device as device_module
from aigc_demo.device import DEVICES, Device, MemoryMeter, choose, uniforms
from aigc_demo.errors import Invalid
from aigc_demo.words import Words

CPU = Device("cpu", "CPU", "float32", Words("", ""))


# The page prints what was chosen and why; it has to be true of this machine, in both languages.
def test_the_choice_for_this_machine() -> None:
    chosen = choose()
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert chosen.kind == best
    assert chosen.torch_dtype in (torch.bfloat16, torch.float16, torch.float32)
    for text in (chosen.reason.en, chosen.reason.zh):
        assert chosen.dtype in text
    assert re.search("[\u4e00-\u9fff]", chosen.reason.zh)
    assert chosen.name
    assert torch.zeros(2, device=chosen.kind, dtype=chosen.torch_dtype).sum() == 0


# oneDNN says of every AVX-512 processor that it does bfloat16; one that lacks the instructions takes three times as long.
@pytest.mark.parametrize(
    ("wide", "native", "wanted"), [(True, False, "float32"), (True, True, "bfloat16"), (False, False, "bfloat16")]
)
def test_bfloat16_is_chosen_only_where_it_is_native(
    wide: bool, native: bool, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: wide)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    assert device_module.fitting_dtype("cpu")[0] == wanted


# What the person asked for is what they get, and the page says that it was they.
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_an_explicit_choice_is_kept(dtype: str) -> None:
    chosen = choose("cpu", dtype)
    assert (chosen.kind, chosen.dtype) == ("cpu", dtype)
    assert chosen.torch_dtype == getattr(torch, dtype)
    assert chosen.bytes_per_number == torch.empty(0, dtype=chosen.torch_dtype).element_size()
    assert "--device" in chosen.reason.en
    assert "--dtype" in chosen.reason.zh


# Asking for a GPU where there is none is refused in words, not with a traceback at the first request.
@pytest.mark.parametrize("missing", ["cuda", "mps", "tpu"])
def test_a_device_that_is_not_there(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(Invalid) as caught:
        choose(missing)
    for text in (caught.value.words.en, caught.value.words.zh):
        assert missing in text
        assert "cpu" in text
    assert re.search("[\u4e00-\u9fff]", caught.value.words.zh)
    assert choose().kind == "cpu"


# Every device that the command line offers is one that can be chosen or refused in words.
@pytest.mark.parametrize("name", DEVICES)
def test_every_offered_device_is_known(name: str) -> None:
    try:
        kind = choose(name).kind
    except Invalid:
        kind = name
    assert kind in DEVICES


# Whether a model fits is decided by these numbers.
def test_memory_figures_make_sense() -> None:
    assert 0 < CPU.free_memory() <= CPU.total_memory() <= psutil.virtual_memory().total
    assert 0 < CPU.memory_in_use() < CPU.total_memory()


# A container is killed at its own limit, however much the machine has.
def test_a_containers_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    in_use = CPU.memory_in_use()
    monkeypatch.setattr(device_module, "_container_limit", lambda: in_use + 50 * 2**20)
    assert CPU.total_memory() == in_use + 50 * 2**20
    # what this process already holds of it cannot be had again
    assert CPU.free_memory() < in_use
    assert CPU.free_memory() >= 0


# The peak that a result reports is the highest of its run and does not sink again.
def test_the_meter_keeps_the_peak() -> None:
    meter = MemoryMeter(CPU)
    start = meter.peak
    ballast = torch.ones(32 * 2**20)  # 128 MiB
    meter.sample()
    high = meter.peak
    del ballast
    meter.sample()
    assert high - start > 100 * 2**20
    assert meter.peak == high


# The same recipe gives the same text on every machine: these numbers are torch's CPU generator's, for good.
def test_uniforms_are_pinned() -> None:
    assert uniforms(0, 3) == pytest.approx([0.9700530018065531, 0.707819864399788, 0.45938294312745087], abs=1e-15)


# A longer answer begins like a shorter one, and a branch goes on like its trunk: number i depends on seed and i alone.
@given(st.integers(0, 2**31 - 1), st.integers(0, 3000), st.integers(0, 3000))
@settings(deadline=None, max_examples=50)
def test_a_longer_list_begins_with_a_shorter_one(seed: int, a: int, b: int) -> None:
    long, short = uniforms(seed, max(a, b)), uniforms(seed, min(a, b))
    assert long[: len(short)] == short
    assert len(long) == max(a, b)
    assert all(0 <= number < 1 for number in long)


# Seeds next to each other give unrelated numbers, and drawing touches nobody else's random state.
def test_uniforms_are_their_own() -> None:
    state = torch.random.get_rng_state()
    assert len({uniforms(seed, 1)[0] for seed in range(100)}) == 100
    assert torch.equal(torch.random.get_rng_state(), state)
    assert abs(sum(uniforms(1, 10_000)) / 10_000 - 0.5) < 0.02
