"""Engine: what all requests of one process share, and the way of one request through it.

    fetch the weights -> load the model, or find it resident -> generate -> stamp the recipe

It knows no page. A line of Python runs a request as the page does:

    finish(Engine(Settings()).run(TEXT, TextParams(prompt="Hello")))
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from aigc_demo import recipe
from aigc_demo.device import DTYPES, Device, choose, is_out_of_memory
from aigc_demo.errors import ModelUnavailable, OutOfMemory, Stopped
from aigc_demo.models import GIB, ModelSpec, Residents, Way
from aigc_demo.params import Params
from aigc_demo.results import Done, Step
from aigc_demo.settings import Settings
from aigc_demo.weights import Found, Places, Source, dropped_in, locate, main_index, obtain, valid_hub_id
from aigc_demo.words import Words

FOLDER = "./"
"""A request names a folder under models/ as ./name; anything else with a slash is a hub id."""

LESS = Words("Ask for less, or choose a smaller model.", "请减少所要求的内容，或选择更小的模型。")


@dataclass(frozen=True)
class Family:
    """What the engine needs of a family of models.

    load: (folder, device, spec) -> model. generate: (request, model, stopped) -> steps and Done.
    adopt: makes a spec for a model that is not a row, from its id, its name and its source.
    index: the file that makes a folder under models/ one of this family's, if `holds` says so of what it reads there.
    lighter: what to ask for when memory ran out. kin: the name of all families that run the same models.
    sparing: (folder, device, spec) -> a way to load it that takes less of the device, where there is one.
    room: (device, spec) -> bytes of the device that it works in, beside its weights.
    """

    name: str
    params: type[Params]
    rows: Mapping[str, ModelSpec]
    load: Callable[[Path, Device, Any], Any]
    generate: Callable[[Any, Any, Callable[[], bool]], Iterator[Step[Any] | Done[Any]]]
    adopt: Callable[..., ModelSpec]
    index: str = "config.json"
    holds: Callable[[Mapping[str, Any]], bool] = lambda _index: True
    lighter: Words = LESS
    kin: str = ""
    sparing: Callable[[Path, Device, Any], Way | None] = lambda *_: None
    room: Callable[[Device, Any], int] = lambda *_: 0


class Engine:
    """Device, places and resident models of this process."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.places = Places.at(models=settings.models_dir, cache=settings.cache_dir, offline=settings.offline)
        self.measured: defaultdict[str, dict[str, dict[str, float]]] = defaultdict(dict)
        """Family -> model id -> the numbers of its newest whole run: what the next one may be estimated by."""
        self._lock = threading.Lock()

    @cached_property
    def device(self) -> Device:
        """Chosen on first use, which imports torch."""
        return choose(self.settings.device, self.settings.dtype, self.settings.compile)

    @cached_property
    def residents(self) -> Residents:
        return Residents(self.device)

    def spec(self, family: Family, model: str) -> ModelSpec:
        """The row, folder or hub id that a request names. Raises `ModelUnavailable` for anything else."""
        if model in family.rows:
            return family.rows[model]
        if model.startswith(FOLDER):
            for folder in self.folders(family):
                if self.folder_id(folder) == model:
                    return family.adopt(id=model, name=folder.name, source=Source(repo=None, folder=folder))
            raise ModelUnavailable(
                Words(
                    "There is no model folder “{name}” under “{models}” that holds “{index}”.",
                    "在“{models}”下没有模型文件夹“{name}”，或其中没有“{index}”。",
                ).format(name=model.removeprefix(FOLDER), index=family.index, models=self.places.models)
            )
        if "/" in model:
            repo = valid_hub_id(model)
            return family.adopt(id=repo, name=repo.rpartition("/")[2], source=Source(repo=repo))
        raise ModelUnavailable(
            Words(
                "There is no model “{model}”. Choose one of the list: {rows}; a Hugging Face id looks like owner/name, "
                "a folder of your own like ./name.",
                "没有模型“{model}”。请从列表中选择：{rows}；Hugging Face 编号形如 owner/name，自己的文件夹形如 ./name。",
            ).format(model=model[:80], rows=", ".join(family.rows))
        )

    def folders(self, family: Family) -> list[Path]:
        """The family's model folders that a person put under models/."""
        return [folder for folder in dropped_in(self.places.models) if _is_of(family, folder)]

    def folder_id(self, folder: Path) -> str:
        return FOLDER + folder.relative_to(self.places.models).as_posix()

    def list_models(self, families: Iterable[Family]) -> list[dict[str, Any]]:
        """Every model that a request can name without fetching anything unheard of, as JSON."""
        return [
            {
                "id": spec.id,
                "family": family.kin or family.name,
                "name": spec.name,
                "source": spec.source.repo,
                "licence": spec.licence,
                "parameters": spec.parameters,
                "download_bytes": spec.download_bytes,
                "memory_bytes": spec.memory_need(self.device),
                "fits": not spec.shortfall(self.device),
                "here": locate(spec.source, self.places) is not None,
                "note": spec.note.en if spec.note else "",
            }
            for family in families
            for spec in (*family.rows.values(), *(self.spec(family, self.folder_id(f)) for f in self.folders(family)))
        ]

    def run(
        self, family: Family, request: Params, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Step[Any] | Done[Any]]:
        """A request from its model id to its result: steps of stage "fetch" and "load", then the family's own."""
        request = request.resolved()
        spec = self.spec(family, request.model)  # type: ignore[attr-defined] # every family's Params names its model
        self._refuse_what_cannot_fit(spec, spec.least_memory(self.device) or 0)  # before gigabytes are fetched
        found = yield from self._obtain(spec, stopped)
        with self._lock:  # cached_property computes twice where two threads come at once
            residents = self.residents
        size = spec.memory_need(self.device) or _file_bytes(found.folder)
        sparing = family.sparing(found.folder, self.device, spec)
        self._refuse_what_cannot_fit(spec, sparing[0] if sparing else size)
        ways = [(size, lambda: family.load(found.folder, self.device, spec)), *([sparing] if sparing else [])]
        if not residents.is_resident(spec.id):
            yield Step("load", 1, 1)

        device = self.device

        def load_and_generate() -> Iterator[Step[Any] | Done[Any]]:
            nonlocal device
            with residents.use(spec.id, *ways, room=family.room(self.device, spec)) as model:
                device = _computed_in(self.device, model)
                yield from family.generate(request, model, stopped)

        for item in self._mind_memory(load_and_generate(), family.lighter):
            if isinstance(item, Done):
                item = replace(item, recipe=self._recipe(family, request, spec, found, device, item))
                if item.figures.get("finish") != "stopped":
                    self.measured[family.name][spec.id] = _numbers({**item.figures, **item.timings})
            yield item

    def _obtain(self, spec: ModelSpec, stopped: Callable[[], bool]) -> Generator[Step[Any], None, Found]:
        for item in obtain(spec.source, self.places):
            if isinstance(item, Done):
                return item.value
            if stopped():
                raise Stopped(
                    Words(
                        "Stopped before the model was there. What has been downloaded is kept.",
                        "在模型就绪之前已停止。已下载的部分会保留。",
                    )
                )
            yield item
        raise RuntimeError("obtain ended without Done")

    def _refuse_what_cannot_fit(self, spec: ModelSpec, size: int) -> None:
        over = size - self.device.total_memory()
        if over > 0:
            raise OutOfMemory(
                Words(
                    "{name} needs {need:.1f} GiB and this device has {over:.1f} GiB less than that. Choose a smaller model.",
                    "{name} 需要 {need:.1f} GiB 内存，而此设备少了 {over:.1f} GiB。请选择更小的模型。",
                ).format(name=spec.name, need=size / GIB, over=over / GIB)
            )

    def _mind_memory(self, run: Iterator[Step[Any] | Done[Any]], lighter: Words) -> Iterator[Step[Any] | Done[Any]]:
        """Turn the device's out-of-memory into words, once what the run held has been let go."""
        try:
            yield from run
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            run = iter(())
            failed = True
        else:
            failed = False
        if failed:
            self.device.release_cached_memory()
            raise OutOfMemory(
                Words("The device ran out of memory. {lighter}", "设备内存不足。{lighter}").format(lighter=lighter)
            )

    def _recipe(
        self, family: Family, request: Params, spec: ModelSpec, found: Found, device: Device, done: Done[Any]
    ) -> dict[str, Any]:
        model = {"id": spec.id, "name": spec.name, "licence": spec.licence}
        model |= {"origin": found.origin, "revision": found.revision}
        return recipe.stamp(family.name, request, model, device, done.timings, done.figures)


def _is_of(family: Family, folder: Path) -> bool:
    """Whether the folder is one of the family's. A damaged one is everybody's: who chooses it is told what is wrong."""
    if main_index(folder) != family.index:
        return False
    try:
        index = json.loads((folder / family.index).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return True
    return not isinstance(index, dict) or family.holds(index)


def _computed_in(device: Device, model: Any) -> Device:
    """The device as the recipe tells of it: some models keep to a dtype of their own, and say so."""
    own = str(getattr(model, "dtype", "")).removeprefix("torch.")
    return replace(device, dtype=own) if own in DTYPES else device


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Those that are numbers; the others may quote what somebody wrote."""
    return {name: value for name, value in values.items() if isinstance(value, int | float)}


def _file_bytes(folder: Path) -> int:
    """The size of a folder's weights, which is near enough to what they take in memory."""
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
