"""What a program sees of the openai client with llmtrace on is what it sees with it off."""

from __future__ import annotations

import gc
import logging
import pickle
import warnings
from typing import Any

import openai
import pytest
from openai_scenarios import ASYNC, NAMES, observe
from openai_server import ASK, MODEL, Server, error

from llmtrace import instrumentation
from llmtrace.testing import Captured, capture


def _logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    records = [(record.name, record.getMessage()) for record in caplog.records if record.levelno >= logging.INFO]
    caplog.clear()
    return [(name, text.split(" in ")[0]) for name, text in records]  # the SDK tells for how long it waits before a retry


@pytest.mark.parametrize("name", NAMES)
def test_the_program_sees_the_same(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Values, types, attributes, exceptions and their causes, streams, requests, warnings and log records."""
    caplog.set_level(logging.INFO)
    gc.collect()  # what other tests left behind warns for itself
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        off = observe(name), _logged(caplog)
        gc.collect()
        warned_off = [str(one.message) for one in warned]
        warned.clear()
        with capture(instrument=("openai",)) as captured:
            on = observe(name), _logged(caplog)
            gc.collect()
            instrumentation.end_forgotten()
        warned_on = [str(one.message) for one in warned]
    assert on[0][0] == off[0][0]
    assert on[0][1] == off[0][1]
    assert on[1] == off[1]
    assert warned_on == warned_off
    if name not in ("anever_awaited", "awrong_arguments"):
        assert captured.spans, "and it was recorded"


def test_async_scenarios_cover_the_sync_ones() -> None:
    """The table has both kinds."""
    assert len(ASYNC) > 10
    assert len(NAMES) > 35


def test_an_exception_is_the_librarys_own_with_its_traceback(captured: Captured) -> None:
    """The same object goes through; its traceback leads from the program into the SDK, with one frame of ours between."""
    with pytest.raises(openai.BadRequestError) as caught:
        Server(error(400)).client().chat.completions.create(model=MODEL, messages=ASK)
    files = [entry.path for entry in caught.traceback]
    assert [str(file) for file in files if "llmtrace" in str(file) and "instrumentation/_" in str(file)].__len__() == 1
    assert "openai" in str(files[-1])
    assert caught.value.__cause__ is None


def test_a_call_never_awaited_warns_once(captured: Captured) -> None:
    """Python warns of a coroutine that nobody awaits: once, by the name that the program called."""
    client = Server().aclient()
    gc.collect()  # what other tests left behind warns for itself
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        client.chat.completions.create(model=MODEL, messages=ASK)
        gc.collect()
    messages = [str(one.message) for one in warned if "never awaited" in str(one.message)]
    assert messages == ["coroutine 'AsyncCompletions.create' was never awaited"]


def test_classes_are_pickled_by_name(captured: Captured) -> None:
    """A patched class is still found where pickle looks for it; so are answers."""
    completions: Any = openai.resources.chat.completions
    for kind in (completions.Completions, completions.AsyncCompletions, openai.Stream, openai.AsyncStream):
        assert pickle.loads(pickle.dumps(kind)) is kind
