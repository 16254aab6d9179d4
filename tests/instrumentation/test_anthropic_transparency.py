"""What a program sees of the anthropic client with llmtrace on is what it sees with it off."""

from __future__ import annotations

import gc
import logging
import pickle
import warnings
from typing import Any

import anthropic
import pytest
from anthropic_scenarios import ASYNC, NAMES, observe
from anthropic_server import GIVEN, Server, refused
from test_transparency import _logged

from llmtrace import instrumentation
from llmtrace.testing import capture

_UNRECORDED = ("anever_awaited", "ahelper_never_entered", "awrong_arguments", "wrong_arguments_of_the_helper", "count_tokens")


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
        with capture(instrument=("anthropic",)) as captured:
            on = observe(name), _logged(caplog)
            gc.collect()
            instrumentation.end_forgotten()
        warned_on = [str(one.message) for one in warned]
    assert on[0][0] == off[0][0]
    assert on[0][1] == off[0][1]
    assert on[1] == off[1]
    assert warned_on == warned_off
    assert bool(captured.spans) == (name not in _UNRECORDED), "and it was recorded"


def test_async_scenarios_cover_the_sync_ones() -> None:
    """The table has both kinds."""
    assert len(ASYNC) > 10
    assert len(NAMES) > 45


def test_an_exception_is_the_librarys_own_with_its_traceback() -> None:
    """The same object goes through; its traceback leads from the program into the SDK, with few frames of ours between."""
    with capture(instrument=("anthropic",)), pytest.raises(anthropic.BadRequestError) as caught:
        Server(refused(400)).client().messages.create(**GIVEN)
    files = [str(entry.path) for entry in caught.traceback]
    assert len([file for file in files if "llmtrace" in file and "instrumentation/_" in file]) == 1
    assert "anthropic" in files[-1]
    assert caught.value.__cause__ is None


def test_classes_are_pickled_by_name() -> None:
    """A patched class is still found where pickle looks for it."""
    messages: Any = anthropic.resources.messages
    with capture(instrument=("anthropic",)):
        for kind in (messages.Messages, messages.AsyncMessages, anthropic.Stream, anthropic.MessageStreamManager):
            assert pickle.loads(pickle.dumps(kind)) is kind
