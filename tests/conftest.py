"""Models that many tests read and none changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tiny import make_tiny_llama

from aigc_demo.errors import ModelUnavailable
from aigc_demo.generators.text_rows import MODELS
from aigc_demo.results import finish
from aigc_demo.weights import Places, obtain


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
