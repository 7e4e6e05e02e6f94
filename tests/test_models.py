"""Models in memory: loaded once, never two too many, never taken away from under somebody."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from aigc_demo.device import Device
from aigc_demo.errors import OutOfMemory
from aigc_demo.models import GIB, HEADROOM, ModelSpec, Residents
from aigc_demo.weights import Source
from aigc_demo.words import Words

PATIENCE = 20
"""Seconds until a test gives up on something that should happen at once; nothing is measured by it."""


class Memory:
    """A device with so many GiB, of which models that are still referenced hold theirs."""

    def __init__(self, capacity: float):
        self.capacity = int(capacity * GIB)
        self.held = self.most = self.releases = 0

    def free_memory(self) -> int:
        return self.capacity - self.held

    def release_cached_memory(self) -> None:
        self.releases += 1

    def take(self, size: int) -> None:
        self.held += size
        self.most = max(self.most, self.held)


class Model:
    def __init__(self, name: str, size: int, memory: Memory):
        self.name = name
        memory.take(size)
        weakref.finalize(self, memory.take, -size)


@dataclass
class House:
    """Residents over a small memory, and what was loaded, in order."""

    memory: Memory
    residents: Residents
    loads: list[str]

    @classmethod
    def of(cls, capacity: float) -> House:
        memory = Memory(capacity)
        device: Any = memory
        return cls(memory, Residents(device), [])

    def use(self, name: str, size: float = 1, before: Callable[[], Any] = lambda: None) -> Any:
        def load() -> Model:
            self.loads.append(name)
            before()
            return Model(name, int(size * GIB), self.memory)

        return self.residents.use(name, (int(size * GIB), load))

    def visit(self, *names: str, size: float = 1) -> None:
        for name in names:
            with self.use(name, size) as model:
                assert model.name == name

    def resident(self) -> set[str]:
        return {name for name in "abcdefg" if self.residents.is_resident(name)}


def start(work: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def join(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


# Loading takes seconds to minutes; the next request of the same model must not wait for it again.
def test_a_model_stays() -> None:
    house = House.of(10)
    house.visit("a", "b", "a", "b")
    assert house.loads == ["a", "b"]
    assert house.resident() == {"a", "b"}


# Two people who press the button at the same time would otherwise fill the memory with two copies.
def test_many_who_ask_at_once_load_it_once() -> None:
    house = House.of(10)
    together = threading.Barrier(8)
    seen: list[Any] = []

    def ask() -> None:
        together.wait(PATIENCE)
        with house.use("a", before=lambda: threading.Event().wait(0.05)) as model:
            seen.append(model)

    join(*[start(ask) for _ in range(8)])
    assert house.loads == ["a"]
    assert len(seen) == 8
    assert len(set(map(id, seen))) == 1


# "A request would start at once" is false while the model is still being loaded.
def test_is_resident() -> None:
    house = House.of(10)
    during: list[bool] = []
    assert not house.residents.is_resident("a")
    with house.use("a", before=lambda: during.append(house.residents.is_resident("a"))):
        assert house.residents.is_resident("a")
    assert during == [False]
    assert house.residents.is_resident("a")
    assert not house.residents.is_resident("b")


# When memory is short the one that nobody has used for longest goes, and no more than has to.
def test_the_least_recently_used_makes_room() -> None:
    house = House.of(3)
    house.visit("a", "b", "c", "a")
    house.visit("d")
    assert house.resident() == {"a", "c", "d"}
    house.visit("e", size=2)
    assert house.resident() == {"d", "e"}
    assert house.memory.most <= house.memory.capacity
    house.visit("b")
    assert house.loads == ["a", "b", "c", "d", "e", "b"]


# While there is room nobody goes: switching between two models that fit must not reload them.
def test_nobody_goes_while_there_is_room() -> None:
    house = House.of(3)
    house.visit("a", "b", "c", "a", "b", "c")
    assert house.loads == ["a", "b", "c"]
    assert house.memory.releases == 0


# An evicted model is really gone before the next one is loaded, and what torch kept of it is given back.
def test_evicted_models_are_freed_before_the_load() -> None:
    house = House.of(3)
    house.visit("a", size=2)
    held: list[int] = []
    with house.use("b", size=2, before=lambda: held.append(house.memory.held)):
        pass
    assert held == [0]
    assert house.memory.releases == 1


# Weights that vanish in the middle of an answer would crash a stranger's request; the newcomer is told instead.
def test_a_model_in_use_is_never_evicted() -> None:
    house = House.of(3)
    house.visit("b")
    with house.use("a", size=2) as model:
        with pytest.raises(OutOfMemory) as caught, house.use("c", size=1.5):
            pass
        assert house.residents.is_resident("a")
        assert model.name == "a"
    assert "1.5 GiB" in caught.value.words.en
    assert "1.0 GiB" in caught.value.words.en  # b is idle and counts as free
    assert "1.5 GiB" in caught.value.words.zh
    assert "1.0 GiB" in caught.value.words.zh
    # the refused one evicted nobody, left no entry, and fits once the other has finished
    assert house.resident() == {"a", "b"}
    house.visit("c", size=1.5)


# A model used by two is in use until the last of them has finished.
def test_in_use_until_the_last_has_finished() -> None:
    house = House.of(2)
    first, second = house.use("a"), house.use("a")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    with pytest.raises(OutOfMemory), house.use("b", size=2):
        pass
    second.__exit__(None, None, None)
    house.visit("b", size=2)
    assert house.resident() == {"b"}


# An answer that fails lets go of its model like one that succeeds.
def test_an_error_while_using_lets_go() -> None:
    house = House.of(1)
    with pytest.raises(KeyError), house.use("a"):
        raise KeyError
    assert house.resident() == {"a"}
    house.visit("b")
    assert house.resident() == {"b"}


# A torn download or a damaged folder must not be remembered as a model: the next try loads.
def test_a_failing_load_leaves_no_entry() -> None:
    house = House.of(10)

    def fail() -> None:
        raise OSError("torn")

    for _ in range(2):
        with pytest.raises(OSError, match="torn"), house.use("a", before=fail):
            pass
        assert not house.residents.is_resident("a")
    house.visit("a")
    assert house.loads == ["a", "a", "a"]
    house.visit("b", size=9)


# Who waited for a load that failed tries for himself, instead of getting somebody else's error or nothing.
def test_who_waits_for_a_failing_load_tries_again() -> None:
    house = House.of(10)
    attempts = itertools.count()
    loading, fail_now = threading.Event(), threading.Event()
    outcomes: list[str] = []

    def trouble() -> None:
        if next(attempts) == 0:
            loading.set()
            fail_now.wait(PATIENCE)
            raise OSError("torn")

    def ask() -> None:
        try:
            with house.use("a", before=trouble) as model:
                outcomes.append(model.name)
        except OSError:
            outcomes.append("torn")

    first = start(ask)
    assert loading.wait(PATIENCE)
    second = start(ask)
    fail_now.set()
    join(first, second)
    assert sorted(outcomes) == ["a", "torn"]
    assert house.loads == ["a", "a"]


# While a big model loads, the others go on.
def test_a_resident_model_is_to_be_had_while_another_loads() -> None:
    house = House.of(10)
    house.visit("a")
    loading, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        loading.set()
        go_on.wait(PATIENCE)

    def ask() -> None:
        with house.use("b", before=slow):
            pass

    other = start(ask)
    assert loading.wait(PATIENCE)
    join(start(lambda: house.visit("a")))
    assert other.is_alive()
    go_on.set()
    join(other)
    assert house.resident() == {"a", "b"}


# Two that fit alone and not together, asked for at the same moment: the second sees what the first has taken.
def test_two_loads_at_once_do_not_take_the_same_memory() -> None:
    house = House.of(10)
    loading, go_on, finish = threading.Event(), threading.Event(), threading.Event()
    refused: list[Any] = []

    def slow() -> None:
        loading.set()
        go_on.wait(PATIENCE)

    def first() -> None:
        with house.use("a", size=6, before=slow):
            finish.wait(PATIENCE)

    def second() -> None:
        try:
            with house.use("b", size=6):
                pass
        except OutOfMemory as error:
            refused.append(error.words)

    one = start(first)
    assert loading.wait(PATIENCE)
    two = start(second)
    two.join(0.05)
    go_on.set()
    join(two)
    finish.set()
    join(one)
    assert house.memory.most <= house.memory.capacity
    assert len(refused) == 1


# Gradio resumes a generator on changing threads: a model taken on one is given back on another.
def test_taken_on_one_thread_and_given_back_on_another() -> None:
    house = House.of(1)

    def answer() -> Any:
        with house.use("a") as model:
            yield model.name
            yield model.name

    runs = [answer(), answer()]
    seen: list[str] = []
    for _ in range(2):
        for run in runs:
            join(start(lambda run=run: seen.append(next(run))))  # type: ignore[misc]
    with pytest.raises(OutOfMemory), house.use("b"):
        pass
    for run in runs:
        join(start(run.close))
    assert seen == ["a"] * 4
    house.visit("b")
    assert house.resident() == {"b"}


def device_of(total: float, dtype: str, monkeypatch: pytest.MonkeyPatch) -> Device:
    monkeypatch.setattr(Device, "total_memory", lambda self: int(total * GIB))
    return Device("cpu", "CPU", dtype, Words("", ""))


# The list says before anything is fetched whether a model fits, and by how much it does not.
def test_a_row_says_whether_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModelSpec("x", "X", Source(repo="owner/name"), parameters=GIB)
    short, full = device_of(2, "bfloat16", monkeypatch), device_of(2, "float32", monkeypatch)
    assert spec.memory_need(short) == 2 * GIB
    assert spec.memory_need(full) == 4 * GIB
    assert spec.shortfall(short) == 2 * GIB - int(2 * GIB * HEADROOM) > 0
    assert spec.shortfall(device_of(100, "float32", monkeypatch)) == 0


# A hub id typed by hand has no known size; nobody claims that it does not fit.
def test_an_unknown_size_is_not_a_shortfall(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModelSpec("owner/name", "name", Source(repo="owner/name"))
    device = device_of(0.001, "float32", monkeypatch)
    assert spec.memory_need(device) is None
    assert spec.shortfall(device) == 0
