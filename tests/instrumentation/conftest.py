"""What the tests of instrumentors share. How to drive a library is in `contract`, fake servers in ``*_server``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmtrace.testing import Captured, capture

sys.path.insert(0, str(Path(__file__).parent / "contract"))


@pytest.fixture
def captured(request: pytest.FixtureRequest) -> Iterator[Captured]:
    """Recording is on for the test, into memory, for the libraries in the module's ``INSTRUMENT``."""
    with capture(instrument=getattr(request.module, "INSTRUMENT", ("openai",)), redact=False) as recording:
        yield recording


@pytest.fixture(autouse=True)
def _silence(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No test of an instrumentor may make llmtrace, OpenTelemetry or asyncio log a warning."""
    yield
    ours = ("llmtrace", "opentelemetry", "asyncio")
    loud = [
        record.getMessage()
        for when in ("setup", "call")
        for record in caplog.get_records(when)  # type: ignore[arg-type]
        if record.levelno >= logging.WARNING and record.name.startswith(ours)
    ]
    assert loud == []
