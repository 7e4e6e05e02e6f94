"""A click or an API call -> Params -> engine -> steps at a steady pace, and errors in the reader's language."""

from __future__ import annotations

import inspect
import logging
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any, TypeVar

import gradio as gr
from gradio.data_classes import FileData

from aigc_demo.engine import Engine, Family
from aigc_demo.errors import Stopped, UserError
from aigc_demo.params import Params
from aigc_demo.results import Done, Step
from aigc_demo.words import Words
from aigc_demo.worker import Stop, iterate_on_worker

log = logging.getLogger(__name__)

UPDATES_PER_SECOND = 30
MOST_WAITING = 1000
APOLOGY = Words(
    "Something went wrong in this app, through no fault of yours. The details are in the server's log.",
    "应用内部出错了，不是你的问题。详情见服务器日志。",
)

T = TypeVar("T")


class Jobs:
    """The jobs of every visitor, waiting and running, so that each can stop their own and nobody else's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: OrderedDict[tuple[str, str], Stop] = OrderedDict()
        self._running: dict[tuple[str, str], set[Stop]] = defaultdict(set)

    def expect(self, session: str, family: str) -> bool:
        """A visitor has asked for a job, which may have to wait. False where one of theirs is running already."""
        with self._lock:
            if (session, family) in self._running:
                return False
            self._waiting[session, family] = Stop()
            if len(self._waiting) > MOST_WAITING:  # pages that were closed while they waited
                self._waiting.popitem(last=False)
            return True

    @contextmanager
    def running(self, session: str, family: str) -> Iterator[Stop]:
        """For the time of a job; yields the question whether it has been asked to stop."""
        key = (session, family)
        with self._lock:
            stop = self._waiting.pop(key, None) or Stop()
            self._running[key].add(stop)
        try:
            yield stop
        finally:
            with self._lock:
                self._running[key].discard(stop)
                if not self._running[key]:
                    del self._running[key]

    def stop(self, session: str, family: str, between: bool = False) -> None:
        """Ask the jobs of one visitor and family to end with what they have; `between`: when what is in hand is done."""
        with self._lock:
            waiting = self._waiting.get((session, family))
            for stop in (*self._running.get((session, family), ()), *([waiting] if waiting else [])):
                stop.set(between)

    def is_running(self, session: str, family: str) -> bool:
        """Whether one of this visitor's is running."""
        with self._lock:
            return (session, family) in self._running

    def is_busy(self, session: str, family: str) -> bool:
        """Whether one of this visitor's is running, or waits for its turn."""
        with self._lock:
            return (session, family) in self._running or (session, family) in self._waiting

    def forget(self, session: str, family: str) -> None:
        """The job that a visitor asked for will not come."""
        with self._lock:
            self._waiting.pop((session, family), None)

    def count(self) -> int:
        """How many jobs are running."""
        with self._lock:
            return sum(map(len, self._running.values()))


JOBS = Jobs()


def run(engine: Engine, family: Family, values: Mapping[str, Any], session: str) -> Iterator[Step[Any] | Done[Any]]:
    """Check the values, then drive the engine on a worker thread. Closing the iterator ends the job within a step."""
    request: Params = family.params.of(values)
    yield from job(family, session, lambda stop: engine.run(family, request, stop))


def job(family: Family, session: str, make: Callable[[Stop], Iterable[T]]) -> Iterator[T]:
    """Drive what `make` returns on a worker thread, as the one job of this visitor and family."""
    with JOBS.running(session, family.name) as stop:
        if stop():
            raise Stopped(Words("Stopped while it waited for its turn.", "在排队时已停止。"))
        yield from iterate_on_worker(lambda: make(stop), name=family.name)


def paced(states: Iterator[tuple[T, bool]], per_second: float = UPDATES_PER_SECOND) -> Iterator[T]:
    """At most so many states a second; those marked as final always pass, in between the newest wins."""
    last = float("-inf")
    for state, final in states:
        now = time.monotonic()
        if final or now - last >= 1 / per_second:
            last = now
            yield state


@contextmanager
def told_in(language: str, html: bool = True) -> Iterator[None]:
    """Turn what goes wrong inside into a message: a UserError's words, or an apology and a log entry.

    html: for the page, which shows HTML; callers of the API get the plain text.
    """
    try:
        yield
    except UserError as error:
        raise message(error.words, language, html) from error
    except gr.Error:
        raise
    except Exception as error:
        log.exception("a request failed")
        raise message(APOLOGY, language, html) from error


def message(words: Words, language: str, html: bool = True) -> gr.Error:
    """An error that the page shows until it is closed. It may quote a stranger's file."""
    text = words.to(language)
    return gr.Error(escape(text, quote=False) if html else text, duration=None, print_exception=False)


def language_of(request: gr.Request | None) -> str:
    """The language that an API caller asks for by Accept-Language; English without one."""
    return (request.headers.get("accept-language") or "en") if request else "en"


def endpoint(
    family: Family,
    summary: str,
    returns: Any,
    fn: Callable[[dict[str, Any], gr.Request], Iterator[Any]],
    *,
    name: str = "",
    files: Sequence[str] = (),
    lists: Sequence[str] = (),
    without: Sequence[str] = (),
) -> Callable[..., Any]:
    """A function for `gr.api` whose parameters, defaults and documentation are the Params'.

    fn: takes the values by name and the request. returns: the type that the API documents. name: of the MCP tool, which
    gradio takes from the function; "generate_" and the family's without one. files: parameters that are files; they come
    first, and the first of them has to be given. lists: those that are several files. without: parameters that this
    endpoint does not have.
    """
    markers = {name: family.params.markers()[name] for name in files}
    markers |= {name: found for name, found in family.params.markers().items() if name not in without}
    defaults = {name: value for name, value in family.params.defaults().items() if name not in files[:1]}

    def call(*arguments: Any) -> Iterator[Any]:
        *values, request = arguments
        with told_in(language_of(request), html=False):
            yield from fn(dict(zip(markers, values, strict=True)), request)

    parameters = [
        inspect.Parameter(
            name,
            POSITIONAL,
            default=defaults.get(name, inspect.Parameter.empty),
            annotation=list[FileData] if name in lists else FileData if name in files else kind,
        )
        for name, (kind, _) in markers.items()
    ]
    lines = [f"    {name}: {marker.help.en}" for name, (_, marker) in markers.items()]
    call.__name__ = name or f"generate_{family.name}"
    call.__doc__ = "\n".join([summary, "", "Args:", *lines])
    return signed(call, [*parameters, special("request", gr.Request)], returns)


def listener(
    fn: Callable[[list[Any], gr.Request, dict[str, Any]], Iterator[Any]], inputs: Sequence[Any]
) -> Callable[..., Any]:
    """A handler for any number of inputs, which also gets the request and what the event says of itself."""

    def call(*arguments: Any) -> Iterator[Any]:
        *values, request, event = arguments
        yield from fn(values, request, event._data if isinstance(event._data, dict) else {})

    parameters = [inspect.Parameter(f"value{n}", POSITIONAL) for n in range(len(inputs))]
    return signed(call, [*parameters, special("request", gr.Request), special("event", gr.EventData)])


POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD


def special(name: str, kind: type) -> inspect.Parameter:
    """A parameter that gradio fills in by its type."""
    return inspect.Parameter(name, POSITIONAL, default=None, annotation=kind)


def signed(call: Callable[..., Any], parameters: list[inspect.Parameter], returns: Any = Any) -> Callable[..., Any]:
    """Give a function of `*arguments` the signature that gradio is to see; it looks at both of these."""
    call.__signature__ = inspect.Signature(parameters, return_annotation=returns)
    call.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": returns}
    return call
