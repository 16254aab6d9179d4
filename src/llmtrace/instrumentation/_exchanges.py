"""The HTTP answers of a model's calls: kept as they come, and given again in a replay.

A provider whose library sends its requests with ``httpx`` adds `PATCHES` to its own. Within a call, every request that the
client sends is kept with its answer, in the chunks in which the program reads it. In a replay the answer comes from the
recorded span: it goes through the library's own code, so that the program gets the library's own objects, streams and errors.

Laws: the program gets the very response that the client returned; what is kept is a copy of what passes by. A replayed call
sends nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import cache
from itertools import filterfalse
from typing import Any

from llmtrace.errors import ReplayDiverged
from llmtrace.instrumentation._patches import Patch
from llmtrace.instrumentation._provider import Call, current_call
from llmtrace.model import Exchange
from llmtrace.recorder.failures import message_of
from llmtrace.recorder.guard import guard
from llmtrace.recorder.player import Player, player

_MODULES = ("httpx", "httpx2")
NOT_KEPT = frozenset({"set-cookie", "content-encoding", "content-length"})
"""Headers that are a secret, or say of the body what is not true of the kept one."""
_RETRIED = frozenset({408, 409, 425, 429})
_FIRST_SERVER_ERROR = 500
_DO_NOT_RETRY = {"x-should-retry": "false"}
"""Told to the clients of OpenAI and Anthropic with a recorded error, since asking again would give the same."""


class OpenExchange:
    """An exchange under way."""

    __slots__ = ("body", "decode", "error", "headers", "message", "status")

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.decode: Callable[[bytes], bytes] | None = None
        """Undoes the compression of the body."""
        self.error = ""
        self.message = ""

    def answered(self, response: Any) -> None:
        """Take the status and headers of an ``httpx`` response, and its body if that is read already."""
        self.status = response.status_code
        self.headers = {name: text for name, text in response.headers.items() if name.lower() not in NOT_KEPT}
        if response.is_stream_consumed:
            self.body.append(response.content)
        else:
            self.decode = guard(_decoder, response)
            is_async = not hasattr(response.stream, "__iter__")
            response.stream = _tee(_module_of(response), is_async=is_async)(response.stream, self)

    def failed(self, error: BaseException) -> None:
        self.error, self.message = type(error).__name__, guard(message_of, error) or ""

    def broke(self, error: BaseException | None) -> None:
        """The call ended with an error: keep that of the transport, if reading the body raised it."""
        while error is not None and not self.error:
            module = sys.modules.get(type(error).__module__.partition(".")[0])
            if module is not None and module.__name__ in _MODULES and isinstance(error, module.RequestError):
                self.failed(error)
            error = error.__cause__ or error.__context__

    def value(self) -> Exchange:
        body = b"".join(self.body)
        if self.decode is not None:
            return Exchange(self.status, self.headers, self.decode(body), (), self.error, self.message)
        sizes = tuple(map(len, self.body)) if len(self.body) > 1 else ()
        return Exchange(self.status, self.headers, body, sizes, self.error, self.message)


def _module_of(instance: Any) -> Any:
    """The package of an object of ``httpx``, or of another package of the same form."""
    for kind in type(instance).__mro__:
        module = sys.modules.get(kind.__module__.partition(".")[0])
        if module is not None and hasattr(module, "AsyncByteStream"):
            return module
    raise TypeError(f"{type(instance).__qualname__} is no object of httpx")


@cache
def _tee(module: Any, *, is_async: bool) -> type[Any]:
    """A class of bodies that keep what the program reads of them, decoded. As the body itself, it is read in one way only."""
    return _async_tee(module) if is_async else _sync_tee(module)


def _sync_tee(module: Any) -> type[Any]:
    class Tee(module.SyncByteStream):  # type: ignore[misc]
        def __init__(self, stream: Any, exchange: OpenExchange) -> None:
            self._stream, self._keep = stream, exchange.body.append

        def __iter__(self) -> Iterator[bytes]:
            return filterfalse(self._keep, self._stream)  # `append` returns None, so every chunk passes

        def close(self) -> None:
            self._stream.close()

    return Tee


def _async_tee(module: Any) -> type[Any]:
    class AsyncTee(module.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, stream: Any, exchange: OpenExchange) -> None:
            self._stream, self._keep = stream, exchange.body.append

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for chunk in self._stream:
                self._keep(chunk)
                yield chunk

        async def aclose(self) -> None:
            await self._stream.aclose()

    return AsyncTee


def _decoder(response: Any) -> Callable[[bytes], bytes] | None:
    """The function that undoes the compression of a whole body; None where there is none."""
    if not response.headers.get("content-encoding"):
        return None
    kind, status, headers = type(response), response.status_code, response.headers
    return lambda body: bytes(kind(status, headers=headers, content=body).content)


# -- the hooks


def _send(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``httpx.Client.send``."""
    call = guard(current_call)
    if call is None or not call.open:
        return wrapped(*args, **kwargs)
    played = player()
    if played is not None:
        request = _request_in_replay(call, played, _request_of(args, kwargs))
        if call.answered_by is not None:
            response = _recorded_response(call, instance, request)
            if not kwargs.get("stream"):
                response.read()
            return response
        args, kwargs = (request, *args[1:]), {name: value for name, value in kwargs.items() if name != "request"}
    exchange = guard(_opened, call, args, kwargs)
    try:
        response = wrapped(*args, **kwargs)
    except BaseException as error:
        if exchange is not None:
            guard(exchange.failed, error)
        raise
    if exchange is not None:
        guard(exchange.answered, response)
    return response


def _asend(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``httpx.AsyncClient.send``."""
    call = guard(current_call)
    if call is None or not call.open:
        return wrapped(*args, **kwargs)
    played = player()
    if played is not None:
        request = _request_in_replay(call, played, _request_of(args, kwargs))
        if call.answered_by is not None:
            return _arecorded(call, instance, request, is_stream=bool(kwargs.get("stream")))
        args, kwargs = (request, *args[1:]), {name: value for name, value in kwargs.items() if name != "request"}
    exchange = guard(_opened, call, args, kwargs)
    return wrapped(*args, **kwargs) if exchange is None else _akept(wrapped, args, kwargs, exchange)


async def _akept(wrapped: Any, args: Any, kwargs: dict[str, Any], exchange: OpenExchange) -> Any:
    try:
        response = await wrapped(*args, **kwargs)
    except BaseException as error:
        guard(exchange.failed, error)
        raise
    guard(exchange.answered, response)
    return response


async def _arecorded(call: Call, client: Any, request: Any, *, is_stream: bool) -> Any:
    response = _recorded_response(call, client, request)
    if not is_stream:
        await response.aread()
    return response


def _opened(call: Call, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> OpenExchange | None:
    return open_exchange(call, _request_of(args, kwargs))


def open_exchange(call: Call, request: object) -> OpenExchange | None:
    """A new exchange of a call; None if nothing is to be kept, or another hook keeps this request."""
    if call.recording.recorder.replay_key is None or call.last_sent is request:
        return None
    call.last_sent = request
    exchange = OpenExchange()
    call.exchanges.append(exchange)
    return exchange


def _request_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    return args[0] if args else kwargs["request"]


PATCHES = tuple(
    [
        Patch(module, path, wrapper)
        for module in _MODULES
        for path, wrapper in (("Client.send", _send), ("AsyncClient.send", _asend))
    ]
)


# -- replay


def _request_in_replay(call: Call, played: Player, request: Any) -> Any:
    """Find the recorded answer of a call, if it has one; else return the request to send, with what is edited in it."""
    body = vars(request).get("_content")  # of a stream that httpx has not read: none
    new = body_in_replay(call, played, body)
    if new is None or new is body:
        return request
    headers = [item for item in request.headers.multi_items() if item[0].lower() != "content-length"]
    return type(request)(request.method, request.url, headers=headers, content=new, extensions=request.extensions)


def body_in_replay(call: Call, played: Player, body: bytes | None) -> bytes | None:
    """Find the recorded answer of a call, if it has one; return the body of its request, with what is edited in it."""
    call.find_answer(played)
    new = None if body is None else played.request_body(call.recording, body)
    if body is not None and new is not None and new is not body:
        guard(_read_edited, call, body, new)
    return new


def _read_edited(call: Call, body: bytes, new: bytes) -> None:
    call.read_edited(json.loads(body), json.loads(new))


def _recorded_response(call: Call, client: Any, request: Any) -> Any:
    """The recorded answer as a response of ``httpx``. Raises the transport's exception where the recording ends with one."""
    module = _module_of(client)
    exchange = recorded_exchange(call)
    if exchange.status is None:
        raise _transport_error(module, exchange, request)
    headers = dict(exchange.headers)
    if _was_retried(exchange) and hasattr(call.client, "max_retries"):
        headers.update(_DO_NOT_RETRY)
    stream = _body(module)(exchange.chunks(), _transport_error(module, exchange, request) if exchange.error else None)
    response = module.Response(exchange.status, headers=headers, stream=stream, request=request)
    response.elapsed = timedelta(0)
    return response


class _Given:
    """A recorded exchange that was given again."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def value(self) -> Exchange:
        return self._exchange

    def broke(self, error: BaseException | None) -> None: ...


def recorded_exchange(call: Call) -> Exchange:
    """The answer to give to the next request of a call. Raises `ReplayDiverged` where none was kept."""
    recorded = None if call.answered_by is None else call.answered_by.recorded
    exchanges = () if recorded is None else recorded.exchanges
    if not exchanges:
        raise ReplayDiverged(f"the recording holds no answer of {call.recording.name} as it came", kind="incomparable")
    last = len(exchanges) - 1
    lasting = [exchange for place, exchange in enumerate(exchanges) if place == last or not _was_retried(exchange)]
    given = lasting[min(len(call.exchanges), len(lasting) - 1)]
    call.exchanges.append(_Given(given))
    return given


def _was_retried(exchange: Exchange) -> bool:
    return exchange.status is None or exchange.status in _RETRIED or exchange.status >= _FIRST_SERVER_ERROR


def _transport_error(module: Any, exchange: Exchange, request: Any) -> Exception:
    """The exception of ``httpx`` of that name, or of ``aiohttp``; where there is none, the most general one of ``httpx``."""
    kind = getattr(module, exchange.error, None)
    of_aiohttp = getattr(sys.modules.get("aiohttp"), exchange.error, None)
    if isinstance(of_aiohttp, type) and issubclass(of_aiohttp, Exception):
        with suppress(TypeError):  # it is made of more than its message
            return of_aiohttp(exchange.message)
    if not (isinstance(kind, type) and issubclass(kind, module.RequestError)):
        kind = module.TransportError
    error: Exception = kind(exchange.message, request=request)
    return error


@cache
def _body(module: Any) -> type[Any]:
    class Body(module.SyncByteStream, module.AsyncByteStream):  # type: ignore[misc]
        """A recorded body, chunk by chunk; ``error`` is what ended it."""

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
