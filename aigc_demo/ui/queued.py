"""What one visitor wants made next: settings put aside while something is being made, and begun one after the other.

The list is the page's own (a gr.State, which is changed in place); each entry runs as a job of its own, so that a
visitor still has one job at a time, takes turns with the others, and one entry's failure stops none of the rest.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from aigc_demo.engine import Family
from aigc_demo.errors import Invalid
from aigc_demo.ui.clicks import PRIVATE, QUICK, Outputs
from aigc_demo.ui.run import JOBS, listener, told_in
from aigc_demo.words import LANGUAGES, Words

STATIC = Path(__file__).parent / "static"
MOST = 8
"""Entries that a visitor may have waiting."""
FULL = Words(
    "The queue is full: at most {most} wait. Remove one, or wait until the next has begun.",
    "队列已满：最多 {most} 项。请移除一项，或等下一项开始。",
).format(most=MOST)
WORDS = {
    "next": Words("Next in the queue", "队列中接下来的图片"),
    "count": Words("{n} of at most {most}", "{n} 项，最多 {most} 项"),
    "untitled": Words("without a prompt", "没有提示词"),
    "remove": Words("Remove", "移除"),
    "remove_this": Words("Remove number {n} from the queue: {text}", "从队列中移除第 {n} 项：{text}"),
    "clear": Words("Remove all", "全部移除"),
    "start": Words("Start the queue", "开始队列"),
    "how": Words(
        "They begin by themselves, one after the other. Stop ends only the one in hand. A reload forgets them.",
        "它们会依次自动开始。“停止”只结束当前这一项。刷新页面后队列会丢失。",
    ),
}
"""What queued.js says; {braces} are filled in there."""


@dataclass(frozen=True)
class Entry:
    """Settings put aside. told: what the list shows of them, a line and what stands under it."""

    id: int
    settings: dict[str, Any]
    canvas: Any
    told: tuple[str, str]


@dataclass
class Queue:
    """One visitor's entries, the next one first."""

    entries: list[Entry] = field(default_factory=list)
    asked: int = 0
    """The id of the entry that the page was last told to begin."""
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    def add(self, settings: dict[str, Any], canvas: Any, told: tuple[str, str]) -> None:
        if len(self.entries) >= MOST:
            raise Invalid(FULL)
        self.entries.append(Entry(next(self._ids), settings, canvas, told))

    def take(self) -> Entry | None:
        """The next entry, which is in the queue no longer."""
        return self.entries.pop(0) if self.entries else None

    def remove(self, id: Any) -> None:
        """Drop one entry; every one for None."""
        self.entries[:] = [entry for entry in self.entries if id is not None and entry.id != id]

    def shown(self, busy: bool, refused: bool = False) -> dict[str, Any]:
        """The payload of the list. busy: something is being made. refused: the entry asked for last did not get its
        turn if it is still there; a person has to ask for it again."""
        first = self.entries[0].id if self.entries else 0
        go = bool(first) and not busy and not (refused and first == self.asked)
        if go:
            self.asked = first
        entries = [{"id": entry.id, "text": entry.told[0], "about": entry.told[1]} for entry in self.entries]
        return {"entries": entries, "most": MOST, "go": first if go else 0, "idle": bool(first) and not busy and not go}


def queue_list(**options: Any) -> gr.HTML:
    """The list; its value is a payload or None:

    {"entries": [{"id", "text", "about"}, ...], "most": int, "go": id of the entry to begin now or 0, "idle": bool}

    Events: "next", to begin the first entry; "remove" {id}, with null for all. options: gr.HTML's own.
    """
    return gr.HTML(
        html_template="<div class='aigc-queue'></div>",
        head=f"<style>{(STATIC / 'queued.css').read_text(encoding='utf-8')}</style>",
        js_on_load=(STATIC / "queued.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        words={language: {key: words.to(language) for key, words in WORDS.items()} for language in LANGUAGES},
        **options,
    )


def bind_queue(
    shown: gr.HTML,
    queue: gr.State,
    add: gr.Button,
    *,
    family: Family,
    language: Component,
    inputs: Sequence[Component],
    put: Callable[[Queue, list[Any]], None],
    begin: Callable[..., Dependency],
    others: Sequence[Dependency],
) -> None:
    """Bind the list.

    put: (queue, the inputs' values) adds an entry, or raises. begin: (trigger) binds what takes the first entry and makes
    it, as a job of the family. others: the family's other jobs, after which the queue goes on.
    """

    def added(values: list[Any], request: gr.Request, event: dict[str, Any]) -> Iterator[Outputs]:
        found, chosen, *rest = values
        with told_in(chosen):
            put(found, rest)
        yield {shown: found.shown(JOBS.is_busy(request.session_hash or "", family.name))}

    def removed(values: list[Any], request: gr.Request, event: dict[str, Any]) -> Iterator[Outputs]:
        values[0].remove(event.get("id"))
        yield {shown: values[0].shown(busy=True)}  # whatever runs: to remove begins nothing

    everything = [queue, language, *inputs]
    # queued: gradio shows no error of an event outside the queue
    add.click(listener(added, everything), everything, [shown], **PRIVATE)
    shown.remove(listener(removed, [queue]), [queue], [shown], **QUICK)
    begun = begin(shown.next)

    def after(refused: bool) -> Callable[[Queue, gr.Request], Outputs]:
        def go_on(queue: Queue, request: gr.Request) -> Outputs:
            return {shown: queue.shown(JOBS.is_running(request.session_hash or "", family.name), refused)}

        return go_on

    for ended, refused in [(other, False) for other in others] + [(begun, True)]:
        for way in (ended.success, ended.failure):  # `then` does not follow a failure
            way(after(refused), [queue], [shown], **QUICK)
