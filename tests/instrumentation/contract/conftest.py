"""Every test that takes ``way`` runs for each kit in ``kits/``, by its sync and by its async client."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from way import NAMES, Way, load


@pytest.fixture(params=[f"{name}-{how}" for name in NAMES for how in ("sync", "async")])
def way(request: pytest.FixtureRequest) -> Way:
    """One way to call one library."""
    name, _, how = request.param.rpartition("-")
    kit = load(name)
    if how == "async" and not kit.has_async:
        pytest.skip(f"{name} has no async client")
    return Way(kit, how == "async")


@pytest.fixture(params=NAMES)
def async_way(request: pytest.FixtureRequest) -> Way:
    """The async client of each library."""
    kit = load(request.param)
    if not kit.has_async:
        pytest.skip(f"{request.param} has no async client")
    return Way(kit, True)


@pytest.fixture(autouse=True)
def _silence(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Neither llmtrace nor OpenTelemetry logs a warning, nor asyncio because of us. Overrides the fixture of the folder above.

    asyncio's shutdown closes the generators of a stream that was left in no order, and logs what that leads to inside httpx
    (with llmtrace off, too): such a record counts only where one of our generators is in it.
    """
    yield
    loud = []
    for record in (*caplog.get_records("setup"), *caplog.get_records("call")):
        text = logging.Formatter().format(record)
        ours = record.name.startswith(("llmtrace", "opentelemetry"))
        if record.levelno >= logging.WARNING and (ours or (record.name == "asyncio" and not _is_theirs(text))):
            loud.append(text)
    assert loud == []


def _is_theirs(text: str) -> bool:
    is_known_noise = text.startswith("an error occurred during closing of asynchronous generator")
    is_known_noise = is_known_noise or "RuntimeError('aclose(): asynchronous generator is already running')" in text
    return is_known_noise and "llmtrace/instrumentation" not in text and "apump" not in text
