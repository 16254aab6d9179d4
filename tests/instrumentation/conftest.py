"""What the tests of instrumentors share. The fake server is in `openai_server`."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from llmtrace.testing import Captured, capture


@pytest.fixture
def captured() -> Iterator[Captured]:
    """Recording is on for the test, into memory."""
    with capture(instrument=("openai",), redact=False) as recording:
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
