"""A loopback stand-in for the Hugging Face hub: the few endpoints that a download uses, and their failures.

    with Hub({"owner/name": folder}) as hub:
        ...  # HF_ENDPOINT = hub.url

It serves files over HTTP/1.1 with HEAD, ETag, X-Repo-Commit, Content-Length and byte ranges, as the hub does.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PIECE = 16 * 1024


class Hub:
    """Serves folders as repositories, each with one commit.

    tears: file name -> how many more of its downloads break off in the middle.
    pause: seconds between pieces of 16 KiB, to have time for a cancel. refusal: (status, X-Error-Code) for everything.
    wrong: names of files whose last byte is changed on the way. extra: names listed beside the real ones.
    requests: (method, path, Range header) of everything asked so far.
    """

    def __init__(self, repos: dict[str, Path]):
        self.repos = repos
        self.tears: dict[str, int] = {}
        self.pause = 0.0
        self.refusal: tuple[int, str] | None = None
        self.wrong: set[str] = set()
        self.extra: list[str] = []
        self.requests: list[tuple[str, str, str | None]] = []

    def downloads(self, name: str = "") -> list[tuple[str, str | None]]:
        """(path, Range) of the files fetched so far whose path ends with `name`."""
        return [(p, r) for m, p, r in self.requests if m == "GET" and "/resolve/" in p and p.endswith(name)]

    def __enter__(self) -> Hub:
        hub = self

        class Handler(_Handler):
            owner = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    owner: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.owner.requests.append((self.command, path, self.headers.get("Range")))
        if self.owner.refusal:
            return self._refuse(*self.owner.refusal)
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            folder = self.owner.repos.get("/".join(parts[2:4]))
            return self._listing(folder) if folder else self._refuse(404, "RepoNotFound")
        folder = self.owner.repos.get("/".join(parts[:2]))
        file = folder.joinpath(*parts[4:]) if folder else None
        if file is None or not file.is_file():
            return self._refuse(404, "EntryNotFound")
        return self._file(file, "/".join(parts[4:]), body)

    def _listing(self, folder: Path) -> None:
        files: list[dict[str, Any]] = [{"rfilename": name, "size": 1, "blobId": "0" * 40} for name in self.owner.extra]
        for file in sorted(f for f in folder.rglob("*") if f.is_file()):
            data = file.read_bytes()
            entry = {"rfilename": file.relative_to(folder).as_posix(), "size": len(data), "blobId": "0" * 40}
            if file.suffix == ".safetensors":  # as on the hub, where only large files have a SHA-256
                entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            files.append(entry)
        text = json.dumps({"id": "owner/name", "sha": COMMIT, "siblings": files, "tags": [], "private": False})
        self._send(200, {"Content-Type": "application/json"}, text.encode())

    def _file(self, file: Path, name: str, body: bool) -> None:
        data = file.read_bytes()
        headers = {
            "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        if name in self.owner.wrong:
            data = data[:-1] + bytes([data[-1] ^ 1])
        status, start, size = 200, 0, len(data)
        if wanted := self.headers.get("Range"):
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            status, headers["Content-Range"] = 206, f"bytes {start}-{size - 1}/{size}"
        if not body:
            self._send(status, {**headers, "Content-Length": str(size)}, b"")
        elif self.owner.tears.get(name, 0) > 0:
            self.owner.tears[name] -= 1
            self._send(status, headers, data[start:], stop_after=(size - start) // 2)
        else:
            self._send(status, headers, data[start:])

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, {"X-Error-Code": code, "X-Error-Message": code}, b"")

    def _send(self, status: int, headers: dict[str, str], data: bytes, stop_after: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        sent = data if stop_after is None else data[:stop_after]
        try:
            for start in range(0, len(sent), PIECE):
                self.wfile.write(sent[start : start + PIECE])
                if self.owner.pause:
                    time.sleep(self.owner.pause)
        except OSError:  # the other side has gone
            self.close_connection = True
        if stop_after is not None:
            self.close_connection = True
