"""Keeps the HTTP answers of model calls as they arrive, and gives them again in a replay.

A provider whose library sends requests with ``httpx`` adds `PATCHES` to its own. Within a call, every request of the client is
kept with its answer, in the chunks in which the program reads it. In a replay, the recorded answer goes through the library's
own code, so that the program gets the library's own objects, streams and errors.

Laws: the program gets the very response that the client returned; we keep a copy of the bytes that pass by. A replayed call
sends nothing.
"""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import cache
from itertools import filterfalse
from typing import Any

import wrapt

from llmtrace.errors import ReplayDiverged
from llmtrace.instrumentation._failures import CONNECTION_REFUSED, causes_of
from llmtrace.instrumentation._patches import Patch
from llmtrace.instrumentation._provider import Call, current_call
from llmtrace.model import Exchange
from llmtrace.recorder.failures import message_of
from llmtrace.recorder.guard import guard
from llmtrace.recorder.player import Player, player

_MODULES = ("httpx", "httpx2")
_NOT_KEPT = frozenset({"set-cookie", "content-encoding", "content-length"})
"""Headers that are secret, or that describe the encoded body and are wrong for the decoded copy."""
_RETRIED = frozenset({408, 409, 425, 429})
_FIRST_SERVER_ERROR = 500
_OF_SYSTEM = re.compile(r"\[Errno (-?\d+)\] (.*)", re.DOTALL)
_DO_NOT_RETRY = {"x-should-retry": "false"}
"""Header that stops the clients of OpenAI and Anthropic from retrying a recorded error, which would only return again."""


class OpenExchange:
    """An exchange in progress, or a ``recorded`` one that was given again."""

    __slots__ = ("body", "cause", "decode", "error", "headers", "message", "recorded", "status")

    def __init__(self, recorded: Exchange | None = None) -> None:
        self.recorded = recorded
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.decode: Callable[[bytes], bytes] | None = None
        """Undoes the compression of the body."""
        self.error = ""
        self.message = ""
        self.cause = ""

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status
        self.headers = {str(name): text for name, text in headers.items() if name.lower() not in _NOT_KEPT}

    def failed(self, error: BaseException) -> None:
        self.error, self.message = type(error).__name__, guard(message_of, error) or ""
        causes = [
            cause for cause in causes_of(error) if cause is not error and isinstance(cause, OSError) and cause.errno is not None
        ]
        self.cause = message_of(causes[-1]) if causes else ""

    def broke(self, error: BaseException | None) -> None:
        """Note that the call ended with an error: record the transport's error, if reading the body raised one."""
        while error is not None and not self.error:
            module = sys.modules.get(type(error).__module__.partition(".")[0])
            if module is not None and module.__name__ in _MODULES and isinstance(error, module.RequestError):
                self.failed(error)
            error = error.__cause__ or error.__context__

    def value(self) -> Exchange:
        if self.recorded is not None:
            return self.recorded
        body = b"".join(self.body)
        if self.decode is not None:
            return Exchange(self.status, self.headers, self.decode(body), (), self.error, self.message, self.cause)
        sizes = tuple(map(len, self.body)) if len(self.body) > 1 else ()
        return Exchange(self.status, self.headers, body, sizes, self.error, self.message, self.cause)


class _Body(wrapt.ObjectProxy):  # type: ignore[type-arg]  # not generic at run time before wrapt 2
    """Proxy of the body of a response, which keeps the chunks that the program reads."""

    def __init__(self, stream: Any, exchange: OpenExchange) -> None:
        super().__init__(stream)
        self._self_keep = exchange.body.append

    def __iter__(self) -> Iterator[bytes]:
        return filterfalse(self._self_keep, self.__wrapped__)  # `append` returns None, so every chunk passes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self.__wrapped__:
            self._self_keep(chunk)
            yield chunk


def _answered(exchange: OpenExchange, response: Any) -> None:
    exchange.answered(response.status_code, response.headers)
    if response.is_stream_consumed:
        exchange.body.append(response.content)
        return
    if response.headers.get("content-encoding"):
        kind, status, headers = type(response), response.status_code, response.headers
        exchange.decode = lambda body: bytes(kind(status, headers=headers, content=body).content)
    response.stream = _Body(response.stream, exchange)


# -- the hooks


def _send(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    call = guard(current_call)
    if call is None or not call.open:
        return wrapped(*args, **kwargs)
    played = player()
    if played is not None:
        response, args, kwargs = _in_replay(call, played, instance, args, kwargs)
        if response is not None:
            if not kwargs.get("stream"):
                response.read()
            return response
    exchange = guard(open_exchange, call, args[0] if args else kwargs.get("request"))
    try:
        response = wrapped(*args, **kwargs)
    except BaseException as error:
        if exchange is not None:
            guard(exchange.failed, error)
        raise
    if exchange is not None:
        guard(_answered, exchange, response)
    return response


def _asend(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    call = guard(current_call)
    return wrapped(*args, **kwargs) if call is None or not call.open else _awaited(wrapped, call, instance, args, kwargs)


async def _awaited(wrapped: Any, call: Call, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    played = player()
    if played is not None:
        response, args, kwargs = _in_replay(call, played, instance, args, kwargs)
        if response is not None:
            if not kwargs.get("stream"):
                await response.aread()
            return response
    exchange = guard(open_exchange, call, args[0] if args else kwargs.get("request"))
    try:
        response = await wrapped(*args, **kwargs)
    except BaseException as error:
        if exchange is not None:
            guard(exchange.failed, error)
        raise
    if exchange is not None:
        guard(_answered, exchange, response)
    return response


def _in_replay(call: Call, played: Player, client: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """The recorded response that is to be given, if there is one; and the arguments to send with, as far as they are edited."""
    request = _request_in_replay(call, played, args[0] if args else kwargs["request"])
    if call.answered_by is not None:
        return _recorded_response(call, client, request), args, kwargs
    return None, (request, *args[1:]), {name: value for name, value in kwargs.items() if name != "request"}


def open_exchange(call: Call, request: object) -> OpenExchange | None:
    """Begin a new exchange of a call. Returns None if nothing must be kept, or another hook keeps this request."""
    if call.recording.recorder.replay_key is None or call.last_sent is request:
        return None
    call.last_sent = request
    exchange = OpenExchange()
    call.exchanges.append(exchange)
    return exchange


PATCHES = tuple(
    [
        Patch(module, path, wrapper)
        for module in _MODULES
        for path, wrapper in (("Client.send", _send), ("AsyncClient.send", _asend))
    ]
)


# -- replay


def _request_in_replay(call: Call, played: Player, request: Any) -> Any:
    """Find the recorded answer of a call, if it has one; else return the request to send, with the edit applied."""
    body = vars(request).get("_content")  # of a stream that httpx has not read: none
    new = body_in_replay(call, played, body)
    if new is None or new is body:
        return request
    headers = [item for item in request.headers.multi_items() if item[0].lower() != "content-length"]
    return type(request)(request.method, request.url, headers=headers, content=new, extensions=request.extensions)


def body_in_replay(call: Call, played: Player, body: bytes | None) -> bytes | None:
    """Find the recorded answer of a call, if it has one. Returns the body of its request, with the edit applied."""
    call.find_answer(played)
    new = None if body is None else played.request_body(call.recording, body)
    if body is not None and new is not None and new is not body:
        guard(lambda: call.read_edited(json.loads(body), json.loads(new)))
    return new


def _recorded_response(call: Call, client: Any, request: Any) -> Any:
    """Return the recorded answer as a response of ``httpx``. Raises the transport's exception if the recording ends with
    one."""
    modules = [sys.modules.get(kind.__module__.partition(".")[0]) for kind in type(client).__mro__]
    module: Any = next(module for module in modules if hasattr(module, "AsyncByteStream"))  # httpx, or one of the same form
    exchange = recorded_exchange(call)
    if exchange.status is None:
        raise _transport_error(call, module, exchange, request)
    headers = dict(exchange.headers)
    if _was_retried(exchange) and hasattr(call.client, "max_retries"):
        headers.update(_DO_NOT_RETRY)
    error = _transport_error(call, module, exchange, request) if exchange.error else None
    stream = _recorded_body(module)(exchange.chunks(), error)
    response = module.Response(exchange.status, headers=headers, stream=stream, request=request)
    response.elapsed = timedelta(0)
    return response


def recorded_exchange(call: Call) -> Exchange:
    """Return the answer for the next request of a call. Raises `ReplayDiverged` if none was kept."""
    recorded = None if call.answered_by is None else call.answered_by.recorded
    exchanges = () if recorded is None else recorded.exchanges
    if not exchanges:
        raise ReplayDiverged(f"the recording holds no answer of {call.recording.name} as it came", kind="incomparable")
    last = len(exchanges) - 1
    lasting = [exchange for place, exchange in enumerate(exchanges) if place == last or not _was_retried(exchange)]
    given = lasting[min(len(call.exchanges), len(lasting) - 1)]
    call.exchanges.append(OpenExchange(given))
    return given


def _was_retried(exchange: Exchange) -> bool:
    return exchange.status is None or exchange.status in _RETRIED or exchange.status >= _FIRST_SERVER_ERROR


def with_cause(call: Call, exchange: Exchange, error: Exception) -> Exception:
    """Return a recorded exception with the operating system's error behind it: programs, the provider's library and
    `failure_in_call` ask for it."""
    failure = None if call.answered_by is None else call.answered_by.failure
    known = _OF_SYSTEM.fullmatch(exchange.cause)
    if known is not None:
        error.__cause__ = OSError(int(known[1]), known[2])  # of the class that its number has
    elif exchange.cause:
        error.__cause__ = OSError(exchange.cause)
    elif failure is not None and failure.type == CONNECTION_REFUSED:  # recorded by a version that kept no cause
        error.__cause__ = ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    return error


def _transport_error(call: Call, module: Any, exchange: Exchange, request: Any) -> Exception:
    """Return the exception of ``httpx`` or ``aiohttp`` with the recorded name, or else the most general one of ``httpx``."""
    kind = getattr(module, exchange.error, None)
    of_aiohttp = getattr(sys.modules.get("aiohttp"), exchange.error, None)
    if isinstance(of_aiohttp, type) and issubclass(of_aiohttp, Exception):
        return with_cause(call, exchange, _restored(of_aiohttp, exchange.message))
    if not (isinstance(kind, type) and issubclass(kind, module.RequestError)):
        kind = module.TransportError
    return with_cause(call, exchange, kind(exchange.message, request=request))


def _restored(kind: type[Exception], message: str) -> Exception:
    """Return an exception by its class and text. One that is made of more than its text gets the text only."""
    with suppress(TypeError):
        return kind(message)
    members = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__str__": lambda _: message}
    like_it: type[Exception] = type(kind.__name__, (kind,), members)
    return like_it.__new__(like_it, message)


@cache
def _recorded_body(module: Any) -> type[Any]:
    class Body(module.SyncByteStream, module.AsyncByteStream):  # type: ignore[misc]
        """A recorded body, chunk by chunk. ``error``: the error at its end."""

        def __init__(self, chunks: list[bytes], error: Exception | None) -> None:
            self._chunks, self._error = iter(chunks), error

        def __iter__(self) -> Iterator[bytes]:
            return self

        def __next__(self) -> bytes:
            for chunk in self._chunks:
                return chunk
            raise self._error or StopIteration

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self

        async def __anext__(self) -> bytes:
            for chunk in self._chunks:
                return chunk
            raise self._error or StopAsyncIteration

    return Body
