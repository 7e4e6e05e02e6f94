"""ModelSpec: a model is a row of data. Residents: the models in memory, within a budget.

Knows no family: a family brings its rows and its `load`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aigc_demo.device import Device
from aigc_demo.errors import OutOfMemory
from aigc_demo.weights import Source
from aigc_demo.words import Words

GIB = 2**30
Way = tuple[int, Callable[[], Any]]
"""A way to load a model: the bytes of the device that it takes, and how."""
HEADROOM = 0.9
"""The share of the device's memory that models may fill; activations and everybody else need some too."""


@dataclass(frozen=True)
class ModelSpec:
    """One model, before anything is loaded.

    id: what a request names it by. source: where its weights come from.
    parameters: how many numbers it has; download_bytes: what fetching it costs. None where unknown
    until it has been fetched (a hub id typed by hand). largest: the numbers of its largest part, where its parts can
    take turns on a GPU.
    note: what a person should know before choosing it.
    defaults: settings that suit it better than the family's.
    """

    id: str
    name: str
    source: Source
    licence: str = ""
    parameters: int | None = None
    download_bytes: int | None = None
    note: Words | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    largest: int | None = None

    def memory_need(self, device: Device) -> int | None:
        """Bytes for the weights alone on this device."""
        return None if self.parameters is None else self.parameters * device.bytes_per_number

    def least_memory(self, device: Device) -> int | None:
        """Bytes of weights that must be on this device at once."""
        if self.largest is None or device.kind != "cuda":
            return self.memory_need(device)
        return self.largest * device.bytes_per_number

    def shortfall(self, device: Device) -> int:
        """By how many bytes this device is too small for it; 0 where it fits or nobody knows."""
        return max(0, (self.least_memory(device) or 0) - int(device.total_memory() * HEADROOM))


@dataclass
class _Resident:
    model: Any = None
    size: int = 0
    users: int = 0


class Residents:
    """Models kept in memory between requests; the least recently used idle ones make room for new ones.

    Many requests may use one model at the same time. Two that ask for a model that is not there load it once.
    Models load one after the other, so that each finds the memory that the one before has really left.
    """

    def __init__(self, device: Device):
        self.device = device
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._there: OrderedDict[str, _Resident] = OrderedDict()

    @contextmanager
    def use(self, key: str, *ways: Way, room: int = 0) -> Iterator[Any]:
        """The model under `key`, loaded if it is not resident; not evicted while in use.

        ways: how to load it, the best first; the first that fits is taken. room: bytes that it works in, beside those
        that it takes. Raises `OutOfMemory` where none fits beside the models in use.
        """
        with self._lock:
            resident = self._there.setdefault(key, _Resident())
            self._there.move_to_end(key)
            resident.users += 1
        try:
            if resident.model is None:
                with self._loading:
                    if resident.model is None:
                        resident.size, load = self._make_room(ways, room)
                        resident.model = load()
            yield resident.model
        finally:
            with self._lock:
                resident.users -= 1
                if resident.model is None and not resident.users:
                    self._there.pop(key, None)

    def is_resident(self, key: str) -> bool:
        """Whether a request for it would start at once."""
        with self._lock:
            return key in self._there and self._there[key].model is not None

    def _make_room(self, ways: Sequence[Way], room: int) -> Way:
        with self._lock:
            idle = [key for key, r in self._there.items() if r.model is not None and not r.users]
            free = self.device.free_memory()
            held = sum(self._there[key].size for key in idle)
            fitting = next((way for way in ways if way[0] + room <= free + held), None)
            if fitting is None:
                raise OutOfMemory(
                    Words(
                        "The model needs {need:.1f} GiB and {free:.1f} GiB are free. "
                        "Choose a smaller one, or wait until the other models have finished.",
                        "该模型需要 {need:.1f} GiB 内存，而可用的只有 {free:.1f} GiB。"
                        "请选择更小的模型，或等其他模型运行结束。",
                    ).format(need=(ways[-1][0] + room) / GIB, free=(free + held) / GIB)
                )
            evicted = []
            for key in idle:
                if fitting[0] + room <= free:
                    break
                free += self._there[key].size
                evicted.append(self._there.pop(key))
        if evicted:
            evicted.clear()
            self.device.release_cached_memory()
        return fitting
