"""Start-up: how much later the page answers than an empty gradio page does.

python -m benchmarks.startup [--rounds 7]
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.compare import Wanted, compare

EMPTY = "import gradio as gr\nwith gr.Blocks(analytics_enabled=False) as page: pass\npage.launch(server_port={port}, ssr_mode=False, quiet=True)"
ROOT = Path(__file__).parent.parent


@contextmanager
def serving(command: list[str], port: int) -> Iterator[float]:
    """A server's process; yields the seconds from its start to its first HTTP 200, and ends it after."""
    environment = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False"}
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not answers(port):
            if time.perf_counter() - started > 120:
                raise TimeoutError(" ".join(command))
            time.sleep(0.02)
        yield time.perf_counter() - started
    finally:
        process.terminate()
        process.wait()


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def app(port: int) -> list[str]:
    return [sys.executable, "app.py", "--port", str(port)]


def empty_page() -> float:
    port = free_port()
    with serving([sys.executable, "-c", EMPTY.format(port=port)], port) as seconds:
        return seconds


def our_page() -> float:
    port = free_port()
    with serving(app(port), port) as seconds:
        return seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    fine = compare(
        "an empty gradio page",
        {"an empty gradio page": empty_page, "our page": our_page},
        [Wanted("our page", 1.5, at_least=False)],
        rounds=parser.parse_args().rounds,
        unit="seconds to HTTP 200",
        faster_is_more=False,
    )
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
