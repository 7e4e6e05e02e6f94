"""What every way of fetching shares: saying how far it is, being given up at any moment, and a full disk."""

from __future__ import annotations

import errno
import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from aigc_demo.errors import ModelUnavailable
from aigc_demo.words import Words

T = TypeVar("T")
TICK = 0.25
MIB = 2**20
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


@dataclass(frozen=True)
class Progress:
    """How far a fetch is. done, total: bytes; total is None where nobody knows."""

    words: Words
    done: int
    total: int | None


Report = Callable[[Words, int, int | None], None]
"""Takes a Progress apart: (words, done, total). Raises `Cancelled` where nobody wants the model any more."""


class CannotKeep(ModelUnavailable):
    """The disk is full or the cache cannot be written. No other source would help."""


def beside(job: Callable[[], T], tick: Callable[[], None], *, deadline: float | None = None) -> T:
    """`job()`, on a thread of its own, while `tick()` is called on this one a few times a second.

    Neither a look-up of a host name nor a silent connection can be interrupted. Where `tick` raises (the person
    gave up) or `deadline` seconds have passed (`TimeoutError`), the job is left behind to end by itself.
    """
    result: list[T] = []
    problem: list[BaseException] = []
    ended = threading.Event()

    def work() -> None:
        try:
            result.append(job())
        except BaseException as error:  # noqa: BLE001 - raised again below
            problem.append(error)
        finally:
            ended.set()

    threading.Thread(target=work, name="fetch", daemon=True).start()
    started = time.monotonic()
    while not ended.wait(TICK):
        if deadline is not None and time.monotonic() - started > deadline:
            raise TimeoutError
        tick()
    if problem:
        raise problem[0]
    return result[0]


def sha256(file: Path, tick: Callable[[], None]) -> str:
    """The file's digest in hexadecimal; `tick` is called after every few MiB."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(4 * MIB):
            digest.update(block)
            tick()
    return digest.hexdigest()


def cannot_keep(error: OSError, folder: Path) -> CannotKeep:
    """The words for a disk that takes no more, or a folder that may not be written."""
    if error.errno in _FULL:
        return no_room(None, folder)
    return CannotKeep(
        Words(
            "The folder {folder} cannot be written. Set AIGC_CACHE_DIR (and HF_HOME for the Hugging Face hub) "
            "to folders that can.",
            "文件夹 {folder} 无法写入。请把 AIGC_CACHE_DIR（以及 Hugging Face 所用的 HF_HOME）设为可写的文件夹。",
        ).format(folder=folder)
    )


def no_room(need: int | None, folder: Path) -> CannotKeep:
    """The words for a disk with less than `need` bytes free (None: it ran full)."""
    if need is None:
        return CannotKeep(
            Words(
                "The disk that holds {folder} is full. Free some space and try again.",
                "{folder} 所在的磁盘已满。请清理出一些空间后重试。",
            ).format(folder=folder)
        )
    return CannotKeep(
        Words(
            "This model needs {need:.1f} GiB on the disk that holds {folder}, which has less. "
            "Free some space or choose a smaller model.",
            "该模型需要在 {folder} 所在的磁盘上占用 {need:.1f} GiB，而可用空间不足。请清理空间，或选择更小的模型。",
        ).format(need=need / 2**30, folder=folder)
    )


def is_disk_trouble(error: Any) -> bool:
    """Whether an error says that the disk is full or the folder is not writable."""
    return isinstance(error, OSError) and error.errno in (*_FULL, errno.EACCES, errno.EPERM, errno.EROFS)
