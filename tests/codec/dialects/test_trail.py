"""Recorded agent traces of others come in whole, and their tool calls are judged as python-jsonschema judges them."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from llmtrace.codec import formats
from llmtrace.codec.dialects import decode
from llmtrace.evaluation import evaluate_trace
from llmtrace.model import Trace

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture
def trail(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark, whose plain reading of the files knows nothing of llmtrace."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("trail", BENCHMARKS / "trail.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.pop("report", None)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("part", ["gaia", "swe_bench"])
def test_no_span_and_no_call_is_lost(data: Path, trail: Any, part: str) -> None:
    """Spans, tool calls, those with a schema, and the verdicts: as many as the files have."""
    folder = data / "trail" / part
    if not folder.is_dir():
        pytest.skip("these traces are absent")
    found: Counter[str] = Counter()
    for path in sorted(folder.glob("*.json")):
        found["files"] += 1
        with path.open("rb") as file:
            spans = [decode(item) for item in formats.read(file) if not isinstance(item, formats.Unreadable)]
        if spans:
            found["traces"] += 1
            found += trail.verdicts(evaluate_trace(Trace(spans))[0])
    assert found == trail.expected(folder)
