"""The Hugging Face hub, or a mirror that HF_ENDPOINT names. Files stay in the hub library's own cache."""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from aigc_demo.errors import ModelDamaged, ModelUnavailable
from aigc_demo.weights.folder import INDEXES, PICKLES
from aigc_demo.weights.transfer import MIB, Report, beside, cannot_keep, is_disk_trouble, no_room, sha256
from aigc_demo.words import Words
from aigc_demo.worker import Cancelled

log = logging.getLogger(__name__)
PATIENCE = 5.0
"""Seconds that the hub has for its first answer; HF_HUB_ETAG_TIMEOUT, the hub library's own setting, prolongs it."""
ATTEMPTS = 3
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}/[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")
_COMMIT = re.compile("[0-9a-f]{40}")
_TRUE = ("1", "ON", "YES", "TRUE")


def valid_hub_id(text: str) -> str:
    """`text` without surrounding space if it is an "owner/name" of the hub's; raises `ModelUnavailable` if not."""
    repo = text.strip()
    if not _HUB_ID.fullmatch(repo) or "--" in repo or ".." in repo or repo.endswith((".git", ".", "-")):
        raise ModelUnavailable(
            Words(
                "“{text}” is not a Hugging Face model id; one looks like owner/name.",
                "“{text}”不是 Hugging Face 模型编号；正确的形式如 owner/name。",
            ).format(text=repo[:80])
        )
    return repo


def cache_root() -> Path:
    """The folder in which the hub library keeps everything (HF_HUB_CACHE, HF_HOME)."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def cached(repo: str, revision: str) -> Path | None:
    """The snapshot folder of an earlier download, whole or not; no network."""
    from huggingface_hub import try_to_load_from_cache

    for index in INDEXES:
        file = try_to_load_from_cache(repo, index, revision=revision)
        if isinstance(file, str):
            return Path(file).parent
    return None


def is_offline() -> bool:
    """Whether the environment forbids asking the hub."""
    return any(os.environ.get(name, "").upper() in _TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def download(repo: str, revision: str, patterns: Sequence[str], ignored: Sequence[str], report: Report) -> Path:
    """The snapshot folder, named by its commit, with every file that the patterns let through.

    Raises `ModelUnavailable` with the reason. Nothing half-done is left that could be taken for whole: the library
    renames finished files into place, and the revision's name is written last.
    """
    if is_offline():
        raise ModelUnavailable(Words("not asked, as HF_HUB_OFFLINE is set", "没有询问，因为设置了 HF_HUB_OFFLINE"))
    try:
        return _Fetch(repo, revision, report).run(patterns, ignored)
    except (TimeoutError, OSError, ValueError, RuntimeError) as error:
        raise _in_words(error, repo) from error
    except Exception as error:
        # the hub library moved from httpx to httpx2, whose errors share no base but Exception
        if not any(base.__module__.startswith("httpx") for base in type(error).__mro__):
            raise
        raise _in_words(error, repo) from error


class _Fetch:
    def __init__(self, repo: str, revision: str, report: Report):
        self.repo, self.revision, self.report = repo, revision, report
        self.endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
        self.patience = max(PATIENCE, float(os.environ.get("HF_HUB_ETAG_TIMEOUT") or 0))
        self.words = Words("Downloading {name} from Hugging Face", "正在从 Hugging Face 下载 {name}").format(
            name=repo.rpartition("/")[2]
        )
        self.done = 0
        self.total: int | None = None
        self.gone = threading.Event()

    def run(self, patterns: Sequence[str], ignored: Sequence[str]) -> Path:
        from huggingface_hub import HfApi, constants

        # Plain HTTP instead of xet and pieces of 1 MiB instead of 10: only so does a cancel take hold at once
        constants.HF_HUB_DISABLE_XET = True
        constants.DOWNLOAD_CHUNK_SIZE = MIB
        self.tick()
        api = HfApi(endpoint=self.endpoint)
        info = beside(
            lambda: api.model_info(self.repo, revision=self.revision, files_metadata=True, timeout=self.patience),
            self.tick,
            deadline=self.patience,
        )
        commit = info.sha or ""
        if not _COMMIT.fullmatch(commit):
            raise ValueError("the answer names no commit")
        files = _chosen(info.siblings or [], patterns, ignored)
        self.total = sum(file.size or 0 for file in files)
        self._refuse_full_disk()
        folder = None
        try:
            for file in sorted(files, key=lambda file: (file.rfilename.endswith(".safetensors"), file.size or 0)):
                path = self._file(file, commit)
                if file.rfilename in INDEXES:
                    folder = path.parent
        finally:
            self.gone.set()
        if folder is None:
            raise ModelUnavailable(Words("it has no {file}", "其中没有 {file}").format(file="config.json"))
        self._name_revision(folder)
        return folder

    def tick(self) -> None:
        self.report(self.words, self.done, self.total)

    def _file(self, file: Any, commit: str) -> Path:
        """One file, fetched unless the cache holds it; its checksum is compared where the hub has one (all weights)."""
        from huggingface_hub import try_to_load_from_cache

        held = try_to_load_from_cache(self.repo, file.rfilename, revision=commit)
        damaged = isinstance(held, str) and file.size is not None and Path(held).stat().st_size != file.size
        digest = file.lfs.sha256 if file.lfs else None
        before = self.done
        for attempt in range(1, ATTEMPTS + 1):
            try:
                path = beside(partial(self._library_download, file.rfilename, commit, damaged), self.tick)
            except Exception as error:
                if attempt == ATTEMPTS or is_disk_trouble(error) or _status(error) in (401, 403, 404):
                    raise
                log.warning("%s of %s, attempt %d: %s", file.rfilename, self.repo, attempt, error)
                self.done = before
                continue
            fresh = self.done > before
            self.done = before + (file.size or 0)
            if not (fresh and digest) or sha256(path, self.tick) == digest:
                return path
            log.warning("%s of %s, attempt %d: another checksum", file.rfilename, self.repo, attempt)
            damaged, self.done = True, before
            path.resolve().unlink()
            path.unlink(missing_ok=True)
        raise ModelDamaged(
            Words("{file} arrived with another checksum", "{file} 的校验和不符").format(file=file.rfilename)
        )

    def _library_download(self, name: str, commit: str, force: bool) -> Path:
        from huggingface_hub import hf_hub_download

        return Path(
            hf_hub_download(
                self.repo,
                name,
                revision=commit,
                endpoint=self.endpoint,
                etag_timeout=self.patience,
                tqdm_class=self._bar(),
                force_download=force,
            )
        )

    def _bar(self) -> type:
        """A progress bar class, which is the only way in which the library says how far it is and can be stopped."""
        from tqdm import tqdm

        fetch = self

        class Bar(tqdm):
            def __init__(self, *args: Any, **options: Any):
                options.pop("name", None)
                super().__init__(*args, **{**options, "disable": True})

            def update(self, n: float | None = 1) -> None:
                if fetch.gone.is_set():
                    raise Cancelled
                fetch.done += int(n or 0)

        return Bar

    def _refuse_full_disk(self) -> None:
        root = cache_root()
        while not root.exists():
            root = root.parent
        if self.total and shutil.disk_usage(root).free < self.total:
            raise no_room(self.total, cache_root())

    def _name_revision(self, folder: Path) -> None:
        """Write "main" -> commit where the library looks for it; last, so that a name stands for a whole snapshot."""
        if _COMMIT.fullmatch(self.revision):
            return
        name = folder.parent.parent / "refs" / self.revision
        name.parent.mkdir(parents=True, exist_ok=True)
        draft = name.with_name(f"{name.name}.{os.getpid()}.{threading.get_ident()}")
        draft.write_text(folder.name)
        os.replace(draft, name)


def _chosen(files: Sequence[Any], patterns: Sequence[str], ignored: Sequence[str]) -> list[Any]:
    from huggingface_hub.utils import filter_repo_objects

    names = {file.rfilename for file in files}
    chosen = list(
        filter_repo_objects(files, allow_patterns=list(patterns), ignore_patterns=list(ignored), key=_path_of)
    )
    if "model_index.json" in names:  # a pipeline's weights are in its parts; beside them lies the same as one big file
        chosen = [file for file in chosen if "/" in file.rfilename or not file.rfilename.endswith(".safetensors")]
    if not any(file.rfilename.endswith(".safetensors") for file in chosen):
        if any(name.endswith(PICKLES) for name in names):
            raise ModelUnavailable(
                Words(
                    "it has weights only in a format that can run program code when it is read, never loaded here",
                    "其权重只有读取时可能运行程序代码的格式，本应用从不加载",
                )
            )
        raise ModelUnavailable(Words("it has no safetensors weights", "其中没有 safetensors 权重"))
    return chosen


def _path_of(file: Any) -> str:
    path = PurePosixPath(file.rfilename)
    if path.is_absolute() or ".." in path.parts or "\\" in file.rfilename or ":" in file.rfilename:
        raise ModelUnavailable(Words("it lists a file outside its own folder", "它列出了自身文件夹之外的文件"))
    return file.rfilename


def _status(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _in_words(error: Exception, repo: str) -> ModelUnavailable:
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    log.info("%s from the hub: %s: %s", repo, type(error).__name__, error)
    host = urlsplit(os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).hostname or "?"
    if is_disk_trouble(error):
        assert isinstance(error, OSError)
        return cannot_keep(error, cache_root())
    if isinstance(error, GatedRepoError):
        return ModelUnavailable(
            Words(
                "its owner wants you to accept a licence on its page first; then set HF_TOKEN to your access token",
                "其所有者要求先在模型页面上接受许可协议；之后请把 HF_TOKEN 设为你的访问令牌",
            )
        )
    if isinstance(error, RevisionNotFoundError):
        return ModelUnavailable(Words("it has no such revision", "没有该修订版本"))
    if isinstance(error, RepositoryNotFoundError) or _status(error) in (401, 404):
        return ModelUnavailable(
            Words(
                "there is no model {repo}, or it is private (then set HF_TOKEN)",
                "没有模型 {repo}，或者它是私有的（请设置 HF_TOKEN）",
            ).format(repo=repo)
        )
    if status := _status(error):
        return ModelUnavailable(
            Words("{host} answered with error {status}", "{host} 返回了错误 {status}").format(host=host, status=status)
        )
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return ModelUnavailable(Words("{host} did not answer", "{host} 没有回应").format(host=host))
    if isinstance(error, ValueError):
        return ModelUnavailable(
            Words("{host} did not answer as a hub does", "{host} 的回应不像模型站点").format(host=host)
        )
    return ModelUnavailable(
        Words("{host} cannot be reached, or the connection broke", "无法连接 {host}，或连接中断").format(host=host)
    )
