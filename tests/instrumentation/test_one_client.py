"""`llmtrace.instrument(client)`: the calls of that one client are recorded, and of no other."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import anthropic_server
import openai
import openai_server
import pytest

import llmtrace
from llmtrace import instrumentation
from llmtrace.instrumentation import _instrumentors
from llmtrace.testing import Captured, capture

LIBRARIES = ("openai", "anthropic")


@pytest.fixture
def captured() -> Iterator[Captured]:
    """Recording is on, and every library off."""
    with capture(instrument=()) as recorded:
        yield recorded


def client(library: str, *, asynchronous: bool = False) -> Any:
    """A client whose server answers four requests."""
    if library == "openai":
        server: Any = openai_server.Server(*[openai_server.whole(openai_server.completion(openai_server.message()))] * 4)
    else:
        server = anthropic_server.Server(*[anthropic_server.answered()] * 4)
    return server.aclient() if asynchronous else server.client()


def ask(client: Any, **options: Any) -> Any:
    if "openai" in type(client).__module__:
        return client.chat.completions.create(model="m", messages=openai_server.ASK, **options)
    return client.messages.create(**anthropic_server.GIVEN, **options)


@pytest.mark.parametrize("library", LIBRARIES)
def test_only_this_client(library: str, captured: Captured) -> None:
    """Also by its raw and its derived clients; twice is once."""
    watched, ignored = client(library), client(library)
    assert llmtrace.instrument(watched) is watched
    assert llmtrace.instrument(watched) is watched
    ask(watched)
    ask(watched.with_options(timeout=5))
    ask(ignored)
    ask(ignored.with_options(timeout=5))
    assert len(captured.spans) == 2


def test_several_clients(captured: Captured) -> None:
    """One that is forgotten makes no other one recorded."""
    first, second = llmtrace.instrument(client("openai")), llmtrace.instrument(client("openai"))
    ask(first)
    ask(second)
    assert len(captured.spans) == 2
    del first, second
    gc.collect()
    assert _instrumentors.selected["openai"] == {}
    ask(client("openai"))
    assert len(captured.spans) == 2


def test_a_library_that_is_recorded_stays_so() -> None:
    """Before or after one client was named."""
    with capture(instrument=("openai",)) as captured:
        llmtrace.instrument(client("openai"))
        ask(client("openai"))
    assert len(captured.spans) == 1
    with capture(instrument=()) as captured:
        llmtrace.instrument(client("openai"))
        instrumentation.enable(("openai",))
        ask(client("openai"))
    assert len(captured.spans) == 1


def test_off_is_off(captured: Captured) -> None:
    """Taken off, the library is as it was."""
    before = vars(openai.resources.chat.completions.Completions)["create"]
    watched = llmtrace.instrument(client("openai"))
    instrumentation.disable()
    assert vars(openai.resources.chat.completions.Completions)["create"] is before
    ask(watched)
    assert captured.spans == ()


@pytest.mark.parametrize("thing", [None, openai, openai.OpenAI, object()])
def test_what_is_no_client_is_refused(thing: object) -> None:
    with pytest.raises(TypeError, match=r"Use a client object of one of these classes: .*openai\.OpenAI"):
        llmtrace.instrument(thing)


@pytest.mark.parametrize("name", ["openai", "opena"])
def test_the_name_of_a_library_is_not_a_client(name: str) -> None:
    """The message says what is wanted, and where names go."""
    with pytest.raises(TypeError) as error:
        llmtrace.instrument(name)
    assert str(error.value) == (
        f"llmtrace.instrument({name!r}): expected a client object, as in llmtrace.instrument(OpenAI()). "
        f"To choose libraries by name, use llmtrace.configure(instrument=[{name!r}])"
    )
