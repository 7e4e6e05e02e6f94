"""One thread per job: steps cross in order, nothing is lost, and a consumer that leaves takes its thread along."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from aigc_demo.worker import Cancelled, Emit, iterate_on_worker, on_worker

PATIENCE = 20
"""Seconds until a test gives up on something that should happen at once; nothing is measured by it."""


def running(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def closed(iterator: Any) -> Any:
    """`iterator` as a context: the type says Iterator, and what comes is a generator."""
    return closing(iterator)


# Progress that arrives out of order, or not at all, shows a person the wrong picture last.
@pytest.mark.parametrize("count", [0, 1, 2, 3, 100])
def test_items_come_in_order_and_none_is_lost(count: int) -> None:
    def job(emit: Emit[int]) -> None:
        for i in range(count):
            emit(i)

    assert list(on_worker(job, name="ordered")) == list(range(count))
    assert not running("ordered")


# The last item is the result. A job that ends right after emitting it races with its own end.
def test_the_last_item_is_never_lost() -> None:
    def job(emit: Emit[str]) -> None:
        emit("done")

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(300):
            assert list(on_worker(job)) == ["done"]
    finally:
        sys.setswitchinterval(before)


# A slow page must not let a fast job fill the memory with pictures, nor compute far past a Stop.
def test_the_job_is_at_most_two_steps_ahead() -> None:
    begun: list[int] = []
    arrived = threading.Condition()

    def job(emit: Emit[int]) -> None:
        for i in range(10):
            with arrived:
                begun.append(i)
                arrived.notify()
            emit(i)

    with closed(on_worker(job)) as run:
        for i in range(8):
            assert next(run) == i
            with arrived:  # it does go ahead: two steps, and then it waits
                assert arrived.wait_for(lambda i=i: len(begun) >= i + 3, PATIENCE)  # type: ignore[misc]
            time.sleep(0.005)
            assert len(begun) == i + 3


# An error in the job is the consumer's to hear, after everything that came before it, and with its own traceback.
def test_an_exception_crosses_after_the_items() -> None:
    def job(emit: Emit[int]) -> None:
        emit(1)
        emit(2)
        raise KeyError("broken")

    run = on_worker(job, name="raising")
    assert [next(run), next(run)] == [1, 2]
    with pytest.raises(KeyError, match="broken") as caught:
        next(run)
    assert "job" in [entry.name for entry in caught.traceback]
    assert not running("raising")


# SystemExit and the like would otherwise end the thread unheard, with the page waiting for ever.
def test_even_a_base_exception_crosses() -> None:
    def job(emit: Emit[int]) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        list(on_worker(job))


# A consumer that leaves (a closed page) cancels the job at its next step, `finally` runs, and the thread is gone.
def test_closing_cancels_the_job() -> None:
    events: list[str] = []

    def job(emit: Emit[int]) -> None:
        try:
            for i in range(1000):
                emit(i)
        except Cancelled:
            events.append("cancelled")
            raise
        finally:
            events.append("finally")

    run: Any = on_worker(job, name="cancelled")
    assert next(run) == 0
    assert running("cancelled")
    run.close()
    assert events == ["cancelled", "finally"]
    assert not running("cancelled")
    assert list(run) == []


# Libraries retry on Exception (downloads do); a cancelled job must not be retried.
def test_cancelled_is_not_caught_by_except_exception() -> None:
    tries: list[int] = []

    def job(emit: Emit[int]) -> None:
        for attempt in range(50):
            tries.append(attempt)
            try:
                emit(attempt)
            except Exception:  # noqa: BLE001 - this is what such a library does
                continue

    with closed(on_worker(job)) as run:
        next(run)
    assert len(tries) <= 4


# The job may be waiting for room in the queue at that moment: closing must not wait for it for ever.
def test_closing_while_the_job_waits_in_emit() -> None:
    full = threading.Event()
    reached: list[str] = []

    def job(emit: Emit[int]) -> None:
        emit(0)
        emit(1)
        full.set()
        emit(2)
        reached.append("after")

    with closed(on_worker(job, name="full")) as run:
        next(run)
        assert full.wait(PATIENCE)
        time.sleep(0.01)  # into emit
    assert not running("full")
    assert not reached


# Or it may be computing: closing returns once it has ended, so that nobody's memory is freed under a running kernel.
def test_closing_while_the_job_computes_waits_for_it() -> None:
    release, computing = threading.Event(), threading.Event()
    ended: list[str] = []

    def job(emit: Emit[int]) -> None:
        emit(0)
        computing.set()
        assert release.wait(PATIENCE)
        ended.append("computed")
        emit(1)

    run: Any = on_worker(job, name="computing")
    next(run)
    assert computing.wait(PATIENCE)
    closer = threading.Thread(target=run.close)
    closer.start()
    closer.join(0.05)
    assert closer.is_alive()
    release.set()
    closer.join(PATIENCE)
    assert not closer.is_alive()
    assert ended == ["computed"]
    assert not running("computing")


# A run that nobody began (a refused request) starts no thread.
def test_nothing_runs_before_the_first_step() -> None:
    started: list[int] = []
    run: Any = on_worker(lambda emit: started.append(1), name="unbegun")
    assert not running("unbegun")
    run.close()
    assert not started


# Gradio resumes a generator on another pool thread at each step; the job stays on its own.
def test_the_job_stays_on_one_thread_whoever_asks() -> None:
    def job(emit: Emit[int]) -> None:
        for _ in range(50):
            emit(threading.get_ident())

    run = on_worker(job)
    workers, askers = set(), set()

    def ask() -> None:
        askers.add(threading.get_ident())
        workers.add(next(run))

    with closed(run):
        keep = []  # idents are given again once a thread has ended, so all of them stay until the end
        hold = threading.Event()
        for _ in range(5):
            asked = threading.Event()

            def once(asked: threading.Event = asked) -> None:
                ask()
                asked.set()
                hold.wait(PATIENCE)

            keep.append(threading.Thread(target=once))
            keep[-1].start()
            assert asked.wait(PATIENCE)
        hold.set()
        for thread in keep:
            thread.join(PATIENCE)
    assert len(askers) == 5
    assert len(workers) == 1
    assert not workers & askers


class Traced:
    """A generator's life, by thread."""

    def __init__(self, count: int):
        self.threads: dict[str, int] = {}
        self.count = count

    def make(self) -> Iterator[int]:
        self.threads["made"] = threading.get_ident()
        self.walking = self.walk()  # kept, so that only close() can end it
        return self.walking

    def walk(self) -> Iterator[int]:
        try:
            for i in range(self.count):
                self.threads["advanced"] = threading.get_ident()
                yield i
        finally:
            self.threads["closed"] = threading.get_ident()


# inference_mode, autocast and CUDA streams belong to a thread: what is entered there must be left there.
@pytest.mark.parametrize("leave_after", [1, 3, None])
def test_an_inner_generator_lives_and_closes_on_the_worker(leave_after: int | None) -> None:
    traced = Traced(5)
    with closed(iterate_on_worker(traced.make, name="inner")) as run:
        assert list(itertools.islice(run, leave_after)) == list(range(5))[:leave_after]
    assert set(traced.threads) == {"made", "advanced", "closed"}
    assert len(set(traced.threads.values())) == 1
    assert threading.get_ident() not in traced.threads.values()
    assert not running("inner")


# An error in the inner generator's own clean-up is not swallowed by the hand-over.
def test_an_error_while_making_or_closing_crosses() -> None:
    def broken() -> Iterator[int]:
        raise ValueError("cannot be made")

    def ends_badly() -> Iterator[int]:
        try:
            yield 1
        finally:
            raise OSError("cannot be closed")

    with pytest.raises(ValueError, match="made"):
        list(iterate_on_worker(broken))
    with pytest.raises(OSError, match="closed"):
        list(iterate_on_worker(ends_badly))


# Lists and other iterables without close() are iterables too.
def test_any_iterable_will_do() -> None:
    assert list(iterate_on_worker(lambda: [1, 2, 3])) == [1, 2, 3]
