"""Between a click or a call and the engine: whose job is stopped, how fast the page is told, and in which language."""

from __future__ import annotations

import inspect
import itertools
import logging
import threading
import typing
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigc_demo.errors import Invalid, ModelDamaged, UserError
from aigc_demo.generators.text import TextParams
from aigc_demo.generators.text_rows import TEXT
from aigc_demo.results import Done, Step
from aigc_demo.ui import run as run_module
from aigc_demo.ui.run import APOLOGY, JOBS, Jobs, endpoint, language_of, listener, message, paced, run, told_in
from aigc_demo.words import Words

BAD = Words("The value is bad.", "该值无效。")


# Stop is everybody's own: not another visitor's run, nor the same visitor's in another tab of the app.
def test_everyone_stops_only_their_own():
    jobs = Jobs()
    with (
        jobs.running("ann", "text") as anns,
        jobs.running("bob", "text") as bobs,
        jobs.running("ann", "images") as pictures,
    ):
        assert jobs.count() == 3
        jobs.stop("ann", "text")
        assert (anns(), bobs(), pictures()) == (True, False, False)
    assert jobs.count() == 0


# Two runs of one visitor stop together; a run that begins after the Stop is not stopped by it.
def test_a_stop_holds_for_what_runs_and_not_for_what_comes():
    jobs = Jobs()
    with jobs.running("ann", "text") as first, jobs.running("ann", "text") as second:
        jobs.stop("ann", "text")
        assert first()
        assert second()
    with jobs.running("ann", "text") as later:
        assert not later()


# "After this picture" leaves what is in hand alone, and says so only where nothing is half done; Stop says so everywhere.
def test_a_stop_between_is_heard_between():
    jobs = Jobs()
    with jobs.running("ann", "images") as stop:
        jobs.stop("ann", "images", between=True)
        assert (stop(), stop.between()) == (False, True)
        jobs.stop("ann", "images")
        assert (stop(), stop.between()) == (True, True)


# A job that the full server refused does not count as waiting for ever: the queue would never go on.
def test_a_refused_job_is_forgotten():
    jobs = Jobs()
    assert jobs.expect("ann", "images")
    assert (jobs.is_busy("ann", "images"), jobs.is_busy("bob", "images")) == (True, False)
    jobs.forget("ann", "images")
    jobs.forget("bob", "images")
    assert not jobs.is_busy("ann", "images")
    with jobs.running("ann", "images"):
        assert jobs.is_busy("ann", "images")


# A Stop that comes late, or from nowhere, is no error; and a run that failed is not counted as running for ever.
def test_jobs_end_with_their_run():
    jobs = Jobs()
    jobs.stop("nobody", "text")
    with pytest.raises(KeyError), jobs.running("ann", "text"):
        raise KeyError
    assert jobs.count() == 0
    jobs.stop("ann", "text")


class Endless:
    """In the engine's place: steps until it is stopped, then Done."""

    def __init__(self) -> None:
        self.closed_on: list[str] = []

    def run(self, family: Any, request: Any, stopped: Any) -> Iterator[Any]:
        n = 0
        try:
            while not stopped():
                n += 1
                yield Step("decode", n, None)
            yield Done("as far as it came", {"total": 0.0})
        finally:
            self.closed_on.append(threading.current_thread().name)


VALUES = {"prompt": "hello", "model": "./tiny"}


# The way that Stop takes: the button names the session, and that session's run ends with what it has.
def test_a_stop_reaches_the_run():
    engine: Any = Endless()
    anns, bobs = run(engine, TEXT, VALUES, "ann"), run(engine, TEXT, VALUES, "bob")
    assert [next(anns).index, next(bobs).index] == [1, 1]
    JOBS.stop("ann", "text")
    assert isinstance(list(anns)[-1], Done)
    assert next(bobs).index == 2
    bobs.close()  # type: ignore[attr-defined]
    assert engine.closed_on == ["text", "text"]
    assert JOBS.count() == 0
    assert "text" not in {thread.name for thread in threading.enumerate()}


# A refused request starts no thread and takes no place among the jobs.
def test_values_are_checked_before_anything_starts():
    with pytest.raises(Invalid, match="temperature"):
        next(run(SimpleNamespace(), TEXT, VALUES | {"temperature": 9}, "ann"))  # type: ignore[arg-type]
    assert JOBS.count() == 0


def shown(monkeypatch: pytest.MonkeyPatch, states: list[tuple[float, str, bool]], per_second: float) -> list[str]:
    """What `paced` lets through of (time, state, final)."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(run_module, "time", SimpleNamespace(monotonic=lambda: clock.now))

    def arriving() -> Iterator[tuple[str, bool]]:
        for at, state, final in states:
            clock.now = at
            yield state, final

    return list(paced(arriving(), per_second))


# A page that is told a thousand times a second freezes; the first state comes at once, and the last one always.
def test_pace(monkeypatch: pytest.MonkeyPatch):
    states = [(n / 1000, str(n), False) for n in range(1000)] + [(1.0, "end", True)]
    seen = shown(monkeypatch, states, per_second=10)
    assert seen[0] == "0"
    assert seen[-1] == "end"
    assert len(seen) == 11
    # slower than the pace: nothing is left out
    assert len(shown(monkeypatch, [(n / 5, str(n), False) for n in range(20)], per_second=10)) == 20


# Whatever the rhythm: never faster than the pace but for final states, of which none is lost, and never out of order.
@given(
    st.lists(st.tuples(st.floats(0, 0.3), st.booleans()), max_size=60),
    st.sampled_from([1, 10, 30]),
)
@settings(deadline=None)
def test_pace_of_any_rhythm(rhythm: list[tuple[float, bool]], per_second: int):
    now, states = 0.0, []
    for n, (pause, final) in enumerate(rhythm):
        now += pause
        states.append((now, str(n), final))
    with pytest.MonkeyPatch.context() as monkeypatch:
        seen = [int(state) for state in shown(monkeypatch, states, per_second)]
    assert seen == sorted(set(seen))
    assert {n for n, (_, _, final) in enumerate(states) if final} <= set(seen)
    for before, after in itertools.pairwise(seen):
        assert states[after][2] or states[after][0] - states[before][0] >= 1 / per_second


# What a person can change is said in their language, stays until it is closed, and fills no log.
@pytest.mark.parametrize(("language", "said"), [("en", BAD.en), ("zh-CN", BAD.zh), ("fr", BAD.en)])
@pytest.mark.parametrize("kind", [UserError, Invalid, ModelDamaged])
def test_a_user_error_is_told(kind: type[UserError], language: str, said: str, caplog: pytest.LogCaptureFixture):
    with pytest.raises(gr.Error) as caught, told_in(language):
        raise kind(BAD)
    assert caught.value.message == said
    assert caught.value.duration is None
    assert not caught.value.print_exception
    assert not caplog.records


# A fault of ours shows nothing of its inside to a visitor, and all of it to whoever reads the log.
@pytest.mark.parametrize("language", ["en", "zh"])
def test_any_other_exception_becomes_an_apology(language: str, caplog: pytest.LogCaptureFixture):
    def breaks() -> None:
        raise KeyError("/home/ann/secret")

    with caplog.at_level(logging.ERROR), pytest.raises(gr.Error) as caught, told_in(language):
        breaks()
    assert caught.value.message == APOLOGY.to(language)
    assert "secret" not in str(caught.value)
    assert "in breaks" in caplog.text
    assert "/home/ann/secret" in caplog.text


# A message that is already one is not wrapped again; a visitor who leaves is no error.
def test_what_passes_unchanged(caplog: pytest.LogCaptureFixture):
    ready = message(BAD, "zh")
    with pytest.raises(gr.Error) as caught, told_in("en"):
        raise ready
    assert caught.value is ready
    with pytest.raises(GeneratorExit), told_in("en"):
        raise GeneratorExit
    assert not caplog.records


# An API caller says its language the way every HTTP client does; without one it gets English.
@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", BAD.zh),
        ("zh", BAD.zh),
        ("ZH-tw", BAD.zh),
        ("en-US,en;q=0.9,zh;q=0.1", BAD.en),
        ("fr", BAD.en),
        ("*", BAD.en),
        ("", BAD.en),
        (None, BAD.en),
    ],
)
def test_language_of(header: str | None, said: str):
    request: Any = SimpleNamespace(headers={} if header is None else {"accept-language": header})
    assert BAD.to(language_of(request)) == said
    assert BAD.to(language_of(None)) == BAD.en


def made() -> Any:
    """The endpoint of the text family, which hands back what it was given."""
    return endpoint(TEXT, "Summary.", tuple[str, dict], lambda values, request: iter([(values, request)]))


# API and MCP show what the signature says: the Params' own names, types and defaults, in their order.
def test_an_endpoints_signature_is_the_params():
    signature = inspect.signature(made())
    *parameters, request = signature.parameters.values()
    assert [p.name for p in parameters] == list(TextParams.markers())
    assert {p.name: p.annotation for p in parameters} == {n: kind for n, (kind, _) in TextParams.markers().items()}
    assert {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty} == TextParams.defaults()
    assert request.annotation is gr.Request
    assert signature.return_annotation == tuple[str, dict]
    # gradio looks at both, and fills the request in only where both say so
    assert typing.get_type_hints(made()) == {p.name: p.annotation for p in signature.parameters.values()} | {
        "return": tuple[str, dict]
    }
    for name, (_, marker) in TextParams.markers().items():
        assert f"{name}: {marker.help.en}" in made().__doc__
    assert made().__name__ == "generate_text"


# Two endpoints of one family are two MCP tools, which gradio names after the functions; one may leave fields out.
def test_an_endpoint_may_have_a_name_files_and_fewer_fields():
    first = next(iter(TextParams.defaults()))
    call = endpoint(TEXT, "Summary.", str, lambda *_: iter([]), name="other", files=[first], without=["seed"])
    found = inspect.signature(call).parameters
    assert call.__name__ == "other"
    assert next(iter(found)) == first
    assert found[first].default is inspect.Parameter.empty
    assert set(TextParams.markers()) - set(found) == {"seed"}


# gradio passes values by position and the request last; they arrive by their names.
def test_an_endpoint_hands_values_over_by_name():
    request: Any = SimpleNamespace(headers={})
    values = list(range(len(TextParams.markers())))
    [(by_name, got)] = made()(*values, request)
    assert by_name == dict(zip(TextParams.markers(), values, strict=True))
    assert got is request


# Errors of an endpoint speak the caller's language.
def test_an_endpoint_tells_errors_in_the_callers_language():
    def refuses(values: dict[str, Any], request: Any) -> Iterator[Any]:
        raise Invalid(BAD)
        yield

    call = endpoint(replace(TEXT), "Summary.", str, refuses)
    request: Any = SimpleNamespace(headers={"accept-language": "zh-CN"})
    with pytest.raises(gr.Error) as caught:
        list(call(*TextParams("hello").values().values(), request))
    assert caught.value.message == BAD.zh


# A listener takes as many inputs as the form has fields; gradio fills in the request and the event by their types.
def test_a_listener_gets_values_request_and_event():
    call: Any = listener(lambda values, request, event: iter([(values, request, event)]), ["a", "b", "c"])
    hints = typing.get_type_hints(call)
    assert list(inspect.signature(call).parameters) == ["value0", "value1", "value2", "request", "event"]
    assert (hints["request"], hints["event"]) == (gr.Request, gr.EventData)
    event = gr.EventData(None, {"index": 3})
    assert list(call(1, 2, 3, "request", event)) == [([1, 2, 3], "request", {"index": 3})]
    assert list(call(1, 2, 3, "request", gr.EventData(None, None))) == [([1, 2, 3], "request", {})]


# The page shows a message as HTML, so what it quotes is escaped there; a caller of the API reads plain text.
def test_quoted_markup_is_escaped_for_the_page_alone() -> None:
    bad = Words("no <img src=x>", "没有 <img src=x>")
    assert "&lt;img" in message(bad, "en").message
    assert message(bad, "en", html=False).message == "no <img src=x>"
