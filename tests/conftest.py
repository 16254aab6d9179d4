"""What all tests share: no LLMTRACE_* variable of the developer's, and no store of the user's, is ever touched; every span
that a recorder emits in any test is held against the conventions; and nothing of llmtrace fails unseen.
"""

from __future__ import annotations

import functools
import gc
import itertools
import logging
import os
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from opentelemetry import trace

from llmtrace import log_once
from llmtrace.recorder import activate, guard, otel
from llmtrace.testing import Captured, capture
from tests.conformance import FOLDER, Conventions

settings.register_profile("busy", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")  # no test fails because the machine has other things to do


os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
"""Importing LiteLLM asks the network for a table of prices, and its thread writes a warning to whichever test runs then."""

ssl.create_default_context = functools.cache(ssl.create_default_context)
"""A client reads the list of authorities, 10 ms each time, though no test's client speaks TLS: once is enough."""


@pytest.fixture(autouse=True, scope="module")
def _garbage_is_small() -> None:
    """What the libraries have made by now is there to stay: no collection of garbage need look at it again, 0.3 s each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folders that do not exist yet. ``mktemp`` would look through all folders of all tests before, each time."""
    folder = tmp_path_factory.mktemp("homes")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, _homes: Iterator[Path]) -> Iterator[None]:
    for variable in list(os.environ):
        if variable.startswith(("LLMTRACE_", "OTEL_")) and variable != "LLMTRACE_BENCH_DATA":
            monkeypatch.delenv(variable)
    monkeypatch.setenv("XDG_DATA_HOME", str(next(_homes)))
    before = activate(None)
    yield
    activate(before)


@functools.cache
def _conventions() -> Conventions | None:
    return Conventions() if FOLDER.is_dir() else None


@pytest.fixture(autouse=True)
def _conforms(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every span is as the GenAI conventions say (`tests.conformance`), where these are at hand. Not in soak tests."""
    conventions = _conventions()
    if conventions is None or request.node.get_closest_marker("long"):
        yield
        return
    finish, faults = otel.finish, dict[str, None]()

    @functools.wraps(finish)
    def checked(made: Any, clean: Any, *rest: Any) -> None:
        finish(made, clean, *rest)
        try:
            faults.update(dict.fromkeys(conventions.faults(clean) if clean is not None else ()))
        except Exception as error:  # the recorder's guard would swallow it
            faults[repr(error)] = None

    otel.finish = checked
    yield
    otel.finish = finish
    assert list(faults) == []


_GUARDED = re.compile(r"llmtrace: .+ failed with \w")
"""A line about a fault of llmtrace, or of a signal or monitor, that a guard kept from the program."""


@pytest.fixture(autouse=True)
def _no_guard_logs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Nothing of llmtrace fails behind a guard, which would hide it from the test as well as from a program.

    Tests that provoke such a fault are marked ``guard_may_log``. Other processes that a test starts are not watched.
    """
    guard._reported.clear()  # a fault is logged once in a process, and counts in each test
    for line in [line for line in log_once._logged if " failed with " in line]:
        log_once._logged.pop(line, None)
    faults: list[str] = []

    def watch(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if _GUARDED.match(message):
            faults.append(message)
        return True

    guard.logger.addFilter(watch)
    yield
    guard.logger.removeFilter(watch)
    if request.node.get_closest_marker("guard_may_log") is None:
        assert faults == []


@pytest.fixture
def captured() -> Iterator[Captured]:
    """All that the test records."""
    with capture() as captured:
        yield captured


@pytest.fixture
def data() -> Path:
    """The recorded runs to measure against; the test is skipped where they are absent."""
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    folder = Path(os.environ.get("LLMTRACE_BENCH_DATA", beside))
    if not folder.is_dir():
        pytest.skip("recorded runs are absent: set LLMTRACE_BENCH_DATA to their folder")
    return folder


@pytest.fixture
def app_provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A TracerProvider of the program, set globally for one test, with an exporter that keeps spans in memory."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    provider = TracerProvider()
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    provider.exported = exporter  # type: ignore[attr-defined]
    yield provider
    provider.shutdown()
