"""What a program sees of the anthropic client with llmtrace on is what it sees with it off."""

from __future__ import annotations

import pickle
from functools import partial
from typing import Any

import anthropic
import pytest
from anthropic_scenarios import NAMES, observe
from anthropic_server import GIVEN, Server, refused
from transparency import same_on_and_off

from llmtrace.testing import capture

_UNRECORDED = ("anever_awaited", "ahelper_never_entered", "awrong_arguments", "wrong_arguments_of_the_helper", "count_tokens")


@pytest.mark.parametrize("name", NAMES)
def test_the_program_sees_the_same(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Values, types, attributes, exceptions and their causes, streams, requests, warnings and log records."""
    captured = same_on_and_off("anthropic", partial(observe, name), caplog)
    assert bool(captured.spans) == (name not in _UNRECORDED), "and it was recorded"


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
