"""How many tokens a prompt takes of those that a model reads, and which words it will not read, from its tokenizers alone."""

from __future__ import annotations

import inspect
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aigc_demo.generators.prompt_embeds import WEIGHABLE
from aigc_demo.generators.quiet import hush

TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3")
KEPT = 4


@dataclass(frozen=True)
class Room:
    """A tokenizer, and how many tokens its encoder is given of a prompt, those at its start and end included."""

    tokenizer: Any
    limit: int


@dataclass(frozen=True)
class Reading:
    """used, limit: tokens, of the encoder that reads most of the prompt. rest: what even that one does not read."""

    used: int
    limit: int
    rest: str


@dataclass(frozen=True)
class Reader:
    """What reads the prompts of one model. weighs: whether weights of words count."""

    rooms: tuple[Room, ...]
    weighs: bool


def rooms_of(tokenizers: Sequence[Any], call: Any) -> tuple[Room, ...]:
    """call: the pipeline's `__call__`, whose default decides where a tokenizer would take more than its encoder is given."""
    given = inspect.signature(call).parameters.get("max_sequence_length")
    longest = given.default if given and isinstance(given.default, int) else None
    found = []
    for tokenizer in tokenizers:
        own = getattr(tokenizer, "model_max_length", None)
        limits = [limit for limit in (own, longest) if limit]
        if tokenizer is not None and limits:
            found.append(Room(tokenizer, int(min(limits))))
    return tuple(found)


def read(rooms: Sequence[Room], text: str) -> Reading | None:
    """text: without marks. None where no tokenizer has a limit."""
    readings = [_read(room, text) for room in rooms]
    return min(readings, key=lambda found: (len(found.rest), -found.limit), default=None)


def _read(room: Room, text: str) -> Reading:
    tokenizer, special = room.tokenizer, room.tokenizer.num_special_tokens_to_add()
    most = max(0, room.limit - special)
    if not tokenizer.is_fast:
        ids = tokenizer(text, add_special_tokens=False).input_ids
        return Reading(len(ids) + special, room.limit, tokenizer.decode(ids[most:]).strip())
    spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
    rest = text[spans[most][0] :].strip() if len(spans) > most else ""
    return Reading(len(spans) + special, room.limit, rest)


@dataclass
class Readers:
    """The readers of the latest models that were asked about, each loaded once from a folder that is here. Safe between
    threads: a tokenizer must not be used by two at once."""

    _kept: OrderedDict[Path, Reader | None] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, folder: Path, text: str) -> tuple[Reading, bool] | None:
        """(the reading of a text without marks, whether weights count); None where the folder does not tell."""
        with self._lock:
            if folder not in self._kept:
                self._kept[folder] = load(folder)
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(folder)
            reader = self._kept[folder]
            reading = read(reader.rooms, text) if reader else None
            return (reading, reader.weighs) if reader and reading else None


def load(folder: Path) -> Reader | None:
    """The tokenizers of a pipeline folder that was checked (`weights.locate`), and nothing else of it."""
    hush("transformers", "diffusers")
    import diffusers
    import transformers

    try:
        index = json.loads((folder / "model_index.json").read_text("utf-8"))
        name = index["_class_name"]
        tokenizers = [
            getattr(transformers, index[part][1]).from_pretrained(folder / part, local_files_only=True)
            for part in TOKENIZERS
            if index.get(part) and index[part][1]
        ]
        return Reader(rooms_of(tokenizers, getattr(diffusers, name).__call__), name in WEIGHABLE)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError):
        return None
