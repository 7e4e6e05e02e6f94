"""One thread per running job, handing its steps over a queue of size one.

A web framework may resume a Python generator on another pool thread at every step. Whatever belongs to
a thread (inference_mode, autocast, a CUDA stream, OpenMP's team of workers) must not be held across
such a `yield`, and libraries that report through a callback have no `yield` at all. So model work and
downloads run on one thread from start to end, and only finished steps cross over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, Queue
from typing import Any, TypeVar

T = TypeVar("T")
Emit = Callable[[T], None]


class Cancelled(BaseException):
    """Raised by `emit` inside a job whose consumer has gone.

    Not an Exception: libraries that catch those and try again must not try again on this.
    """


class Stop:
    """How a running job is asked to end. `stop()`, asked after every step: now. `stop.between()`, asked where nothing
    is half done, such as between two pictures: now or there."""

    def __init__(self) -> None:
        self._now, self._between = threading.Event(), threading.Event()

    def set(self, between: bool = False) -> None:
        """Ask. between: let it finish what it has in hand."""
        (self._between if between else self._now).set()

    def __call__(self) -> bool:
        return self._now.is_set()

    def between(self) -> bool:
        return self._now.is_set() or self._between.is_set()


def on_worker(job: Callable[[Emit[T]], None], *, name: str = "worker") -> Iterator[T]:
    """Run `job(emit)` on a thread of its own and yield what it emits, in order.

    At most one emitted item waits in between, so the job is never more than two steps ahead. Closing
    the iterator makes the job's next `emit` raise `Cancelled`, and returns when the thread has ended.
    An exception of the job's is raised here.
    """
    queue: Queue[tuple[str, Any]] = Queue(maxsize=1)
    gone = threading.Event()

    def emit(item: T) -> None:
        if not gone.is_set():
            queue.put(("item", item))
        if gone.is_set():
            raise Cancelled

    def work() -> None:
        try:
            job(emit)
        except Cancelled:
            queue.put(("end", None))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the consumer has to hear of it
            queue.put(("error", error))
        else:
            queue.put(("end", None))

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        while True:
            kind, value = queue.get()
            if kind == "item":
                yield value
            elif kind == "error":
                raise value
            else:
                return
    finally:
        gone.set()
        while thread.is_alive():
            _drain(queue)
            thread.join(timeout=0.02)


def iterate_on_worker(make: Callable[[], Iterable[T]], *, name: str = "worker") -> Iterator[T]:
    """Drive the iterable that `make()` returns on a thread of its own; it is made, advanced and closed there."""

    def job(emit: Emit[T]) -> None:
        iterator = iter(make())
        try:
            for item in iterator:
                emit(item)
        finally:
            close = getattr(iterator, "close", None)
            if close:
                close()

    return on_worker(job, name=name)


def _drain(queue: Queue[Any]) -> None:
    try:
        while True:
            queue.get_nowait()
    except Empty:
        return
