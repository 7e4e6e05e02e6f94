"""Models that many tests read and none changes."""

from __future__ import annotations

import os

# before torch is imported: workers that each took all cores would wait for one another at every sum
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    share = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, share)))

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import chromium
from tiny import make_tiny_llama

from aigc_demo.errors import ModelUnavailable
from aigc_demo.generators.text_rows import MODELS
from aigc_demo.results import finish
from aigc_demo.weights import Places, obtain


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Sums in a fixed order, so that a resumed run gives the very same losses; and models so small gain nothing from two."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A running Chromium; see tests/browser.py."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with a chat template and 256 tokens of context; see tests/tiny.py."""
    return make_tiny_llama(tmp_path_factory.mktemp("tiny_llama"))


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The real SmolLM2-135M-Instruct in the user's own cache, fetched once; without network skipped, except in CI."""
    try:
        return finish(obtain(MODELS["smollm2-135m"].source, Places.at())).value.folder
    except ModelUnavailable as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
