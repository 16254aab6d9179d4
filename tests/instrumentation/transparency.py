"""One comparison for every client: what a program sees with llmtrace on is what it sees with it off.

What programs do with a client is a table of `Scenarios`: generators of observations over a client and its fake server.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import logging
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pydantic
import pytest

from llmtrace.recorder import collected
from llmtrace.testing import Captured, capture

Replies = Callable[[], list[Any]]


class Detail:
    """An observation of something that no program should depend on; the chaos test leaves it out."""

    def __init__(self, seen: Any) -> None:
        self.seen = seen


class Scenarios(dict[str, tuple[Any, Replies]]):
    """By their names: what a program does with the clients of ``server``, and what that answers."""

    def __init__(self, library: str, server: Callable[..., Any]) -> None:
        super().__init__()
        self._library = library
        self._server = server

    def add(self, *replies: Callable[[], Any]) -> Callable[[Any], Any]:
        """Decorate a scenario. It yields what the program can see; its client is asynchronous if it is."""

        def register(function: Any) -> Any:
            self[function.__name__] = function, lambda: [reply() for reply in replies]
            return function

        return register

    def observe(self, name: str, *, details: bool = True) -> tuple[list[Any], list[Any]]:
        """Run a scenario. Return what was seen, and the requests, without the headers that name our span."""
        function, replies = self[name]
        server, seen = self._server(*replies()), list[Any]()
        if inspect.isasyncgenfunction(function):
            asyncio.run(_awatch(function, server, seen))
        else:
            with server.client(max_retries=2) as client:
                _watch(function(client), seen)
        descriptions = [
            describe(value.seen) if isinstance(value, Detail) else value
            for value in seen
            if details or not isinstance(value, Detail)
        ]
        return descriptions, [_request(request) for request in server.requests]

    def check(self, name: str, caplog: pytest.LogCaptureFixture) -> Captured:
        """Run a scenario without and with llmtrace; return what was recorded.

        Values, types, attributes, exceptions and their causes, streams, requests, warnings and log records are equal.
        """
        observe = partial(self.observe, name)
        caplog.set_level(logging.INFO)
        gc.collect()  # what other tests left behind warns for itself
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            off = observe()
            gc.collect()
            off_beside = _texts(warned), _logged(caplog)
            warned.clear()
            with capture(instrument=(self._library,)) as captured:
                on = observe()
                gc.collect()
                collected.settle()
            on_beside = _texts(warned), _logged(caplog)
        assert on[0] == off[0]
        assert on[1] == off[1]
        assert on_beside == off_beside
        return captured


def _watch(steps: Any, seen: list[Any]) -> None:
    try:
        for step in steps:
            seen.append(describe(step))  # noqa: PERF401  (what was seen before it raised is kept)
    except Exception as raised:
        seen.append(describe(raised))


async def _awatch(function: Any, server: Any, seen: list[Any]) -> None:
    async with server.aclient(max_retries=2) as client:
        try:
            async for step in function(client):
                seen.append(describe(step))  # noqa: PERF401
        except (Exception, asyncio.CancelledError) as raised:
            seen.append(describe(raised))


def _request(request: Any) -> Any:
    headers = {name: value for name, value in request.headers.items() if name not in ("traceparent", "x-request-id")}
    return request.method, str(request.url), headers, json.loads(request.content or b"null")


def describe(thing: Any) -> Any:
    """A value as far as a program can tell it from another."""
    kind = f"{type(thing).__module__}.{type(thing).__qualname__}"
    if isinstance(thing, BaseException):
        cause = describe(thing.__cause__) if thing.__cause__ is not None else None
        attributes = {
            name: repr(getattr(thing, name, None)) for name in ("message", "code", "status_code", "body", "request_id")
        }
        return kind, str(thing), attributes, cause
    if isinstance(thing, pydantic.BaseModel):
        return kind, thing.model_dump(), sorted(thing.model_fields_set)
    if isinstance(thing, (list, tuple)):
        return [describe(value) for value in thing]
    if thing is None or isinstance(thing, (str, int, bytes, dict, bool, Detail)):
        return thing
    return kind, sorted(name for name in dir(thing) if not name.startswith("__"))


def _texts(warned: list[warnings.WarningMessage]) -> list[str]:
    return [str(warning.message) for warning in warned]


def _logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    records = [(record.name, record.getMessage()) for record in caplog.records if record.levelno >= logging.INFO]
    caplog.clear()
    return [(name, text.split(" in ")[0]) for name, text in records]  # the SDK tells for how long it waits before a retry
