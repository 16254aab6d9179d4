"""A real vLLM with a tiny random model. Run by ``scripts/test --vllm``; without vLLM nothing here is collected."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmtrace.testing import Captured, capture

ROOT = Path(__file__).resolve().parents[2]

collect_ignore_glob = ["test_*.py"] if importlib.util.find_spec("vllm") is None else []

QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_CI_ENV": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
}
"""Of every vLLM here: no network, no warm-up, little memory."""

if not collect_ignore_glob:
    os.environ.update(QUIET, VLLM_ENABLE_V1_MULTIPROCESSING="0")
    sys.path.insert(0, str(ROOT / "scripts"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """vLLM and torch warn of much that is not ours; a first request may compile for a while."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))
            item.add_marker(pytest.mark.timeout(240))


@pytest.fixture(scope="session")
def model() -> str:
    """The folder of the tiny model, which lasts as long as the environment."""
    import tiny_model

    return str(tiny_model.make(Path(sys.prefix) / "tiny-model"))


@pytest.fixture(scope="session")
def options(model: str) -> dict[str, Any]:
    """Of every engine that is made in this process."""
    return {
        "model": model,
        "served_model_name": "tiny",
        "enforce_eager": True,
        "kv_cache_memory_bytes": 64 << 20,
        "max_model_len": 1024,
        "block_size": 32,
        "disable_log_stats": False,
    }


@pytest.fixture(scope="session")
def llm(options: dict[str, Any]) -> Any:
    """The one engine in this process."""
    from vllm import LLM

    return LLM(**options)


@pytest.fixture
def captured() -> Iterator[Captured]:
    with capture(instrument=("vllm",), redact=False) as found:
        yield found
