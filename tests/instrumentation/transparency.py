"""One comparison for every client: what a program sees with llmtrace on is what it sees with it off."""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from llmtrace.recorder import collected
from llmtrace.testing import Captured, capture


def same_on_and_off(library: str, observe: Callable[[], Any], caplog: pytest.LogCaptureFixture) -> Captured:
    """Runs ``observe`` without and with llmtrace around ``library``; what was recorded.

    Values, types, attributes, exceptions and their causes, streams, requests, warnings and log records are equal.
    """
    caplog.set_level(logging.INFO)
    gc.collect()  # what other tests left behind warns for itself
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        off = observe()
        gc.collect()
        off_beside = _texts(warned), _logged(caplog)
        warned.clear()
        with capture(instrument=(library,)) as captured:
            on = observe()
            gc.collect()
            collected.settle()
        on_beside = _texts(warned), _logged(caplog)
    assert on[0] == off[0]
    assert on[1] == off[1]
    assert on_beside == off_beside
    return captured


def _texts(warned: list[warnings.WarningMessage]) -> list[str]:
    return [str(warning.message) for warning in warned]


def _logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    records = [(record.name, record.getMessage()) for record in caplog.records if record.levelno >= logging.INFO]
    caplog.clear()
    return [(name, text.split(" in ")[0]) for name, text in records]  # the SDK tells for how long it waits before a retry
