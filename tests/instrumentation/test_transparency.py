"""What a program sees of the openai client with llmtrace on is what it sees with it off."""

from __future__ import annotations

import gc
import pickle
import warnings
from typing import Any

import openai
import openai_responses_scenarios
import openai_scenarios
import pytest
from openai_server import ASK, MODEL, Server, error

from llmtrace.testing import Captured

_UNRECORDED = ("anever_awaited", "awrong_arguments")


@pytest.mark.parametrize(
    ("table", "name"), [(table, name) for table in (openai_scenarios, openai_responses_scenarios) for name in table.SCENARIOS]
)
def test_the_program_sees_the_same(table: Any, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Values, types, attributes, exceptions and their causes, streams, requests, warnings and log records."""
    assert bool(table.SCENARIOS.check(name, caplog).spans) == (name not in _UNRECORDED), "and it was recorded"


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
    messages = [str(warning.message) for warning in warned if "never awaited" in str(warning.message)]
    assert messages == ["coroutine 'AsyncCompletions.create' was never awaited"]


def test_classes_are_pickled_by_name(captured: Captured) -> None:
    """A patched class is still found where pickle looks for it; so are answers."""
    completions: Any = openai.resources.chat.completions
    for kind in (completions.Completions, completions.AsyncCompletions, openai.Stream, openai.AsyncStream):
        assert pickle.loads(pickle.dumps(kind)) is kind
