"""The HTTP answers of a model's calls: kept as they come, and given again in a replay.

A provider whose library sends its requests with ``httpx`` adds `PATCHES` to its own. Within a call, every request that the
client sends is kept with its answer, in the chunks in which the program reads it. In a replay the answer comes from the
recorded span: it goes through the library's own code, so that the program gets the library's own objects, streams and errors.

Laws: the program gets the very response that the client returned; what is kept is a copy of what passes by. A replayed call
sends nothing.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from functools import cache
from typing import Any

from llmtrace.errors import ReplayDiverged
from llmtrace.instrumentation._patches import Patch
from llmtrace.instrumentation._provider import Call, current_call
from llmtrace.model import Exchange
from llmtrace.recorder.failures import message_of
from llmtrace.recorder.guard import guard
from llmtrace.recorder.player import player

MOST_BYTES = 1 << 24
"""Of the bodies of one call; beyond, the call cannot be replayed."""
_NOT_KEPT = frozenset({"set-cookie", "content-encoding", "content-length"})
"""Headers that are a secret, or say of the body what is not true of the kept one."""
_RETRIED = frozenset({408, 409, 425, 429})
_FIRST_SERVER_ERROR = 500
_DO_NOT_RETRY = {"x-should-retry": "false"}
"""Told to the clients of OpenAI and Anthropic with a recorded error, since asking again would give the same."""


class OpenExchange:
    """An exchange under way."""

    __slots__ = ("body", "error", "headers", "message", "size", "status")

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.size = 0
        self.error = ""
        self.message = ""

    def answered(self, response: Any) -> None:
        """Take the status and headers of an ``httpx`` response, and its body if that is read already."""
        self.status = response.status_code
        self.headers = {name: text for name, text in response.headers.items() if name.lower() not in _NOT_KEPT}
        if response.is_stream_consumed:
            self.add(response.content)
        else:
            response.stream = _tee(_module_of(response))(response.stream, self, response)

    def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.size <= MOST_BYTES:
            self.body.append(chunk)

    def failed(self, error: BaseException) -> None:
        self.error, self.message = type(error).__name__, guard(message_of, error) or ""

    def __enter__(self) -> OpenExchange:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Around the loop that reads the body."""
        if isinstance(error, Exception):
            self.failed(error)

    def value(self) -> Exchange:
        body: tuple[str, ...]
        try:
            body, is_base64 = tuple([chunk.decode() for chunk in self.body]), False
        except UnicodeDecodeError:  # bytes, or a character that stands in two chunks
            body, is_base64 = tuple([base64.b64encode(chunk).decode() for chunk in self.body]), True
        return Exchange(self.status, self.headers, body, is_base64, self.error, self.message)


def _module_of(instance: Any) -> Any:
    """The package of an object of ``httpx``, or of another package of the same form."""
    for kind in type(instance).__mro__:
        module = sys.modules.get(kind.__module__.partition(".")[0])
        if module is not None and hasattr(module, "AsyncByteStream"):
            return module
    raise TypeError(f"{type(instance).__qualname__} is no object of httpx")


@cache
def _tee(module: Any) -> type[Any]:
    class Tee(module.SyncByteStream, module.AsyncByteStream):  # type: ignore[misc]
        """The body of a response; what the program reads of it is kept, decoded."""

        def __init__(self, stream: Any, exchange: OpenExchange, response: Any) -> None:
            self._stream, self._exchange = stream, exchange
            self._decode = guard(_decoder, response)

        def __iter__(self) -> Iterator[bytes]:
            with self._exchange:
                for chunk in self._stream:
                    guard(self._keep, chunk)
                    yield chunk

        async def __aiter__(self) -> AsyncIterator[bytes]:
            with self._exchange:
                async for chunk in self._stream:
                    guard(self._keep, chunk)
                    yield chunk

        def _keep(self, chunk: bytes) -> None:
            self._exchange.add(chunk if self._decode is None else self._decode(chunk))

        def close(self) -> None:
            self._stream.close()

        async def aclose(self) -> None:
            await self._stream.aclose()

    return Tee


def _decoder(response: Any) -> Any:
    """The function that undoes the compression of a body; None where there is none."""
    if not response.headers.get("content-encoding"):
        return None
    copy = type(response)(response.status_code, headers=response.headers)
    return copy._get_content_decoder().decode


# -- the hooks


def _send(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``httpx.Client.send``."""
    call = current_call()
    if call is None or not call.open:
        return wrapped(*args, **kwargs)
    played = player()
    if played is not None and call.find_answer(played) is not None:
        response = _recorded_response(call, instance, _request_of(args, kwargs))
        if not kwargs.get("stream"):
            response.read()
        return response
    exchange = _opened(call, _request_of(args, kwargs))
    try:
        response = wrapped(*args, **kwargs)
    except BaseException as error:
        if exchange is not None:
            exchange.failed(error)
        raise
    if exchange is not None:
        guard(exchange.answered, response)
    return response


def _asend(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``httpx.AsyncClient.send``."""
    call = current_call()
    if call is None or not call.open:
        return wrapped(*args, **kwargs)
    played = player()
    if played is not None and call.find_answer(played) is not None:
        return _arecorded(call, instance, _request_of(args, kwargs), is_stream=bool(kwargs.get("stream")))
    exchange = _opened(call, _request_of(args, kwargs))
    sent = wrapped(*args, **kwargs)
    return sent if exchange is None else _akept(sent, exchange)


async def _akept(sent: Any, exchange: OpenExchange) -> Any:
    try:
        response = await sent
    except BaseException as error:
        exchange.failed(error)
        raise
    guard(exchange.answered, response)
    return response


async def _arecorded(call: Call, client: Any, request: Any, *, is_stream: bool) -> Any:
    response = _recorded_response(call, client, request)
    if not is_stream:
        await response.aread()
    return response


def _opened(call: Call, request: object) -> OpenExchange | None:
    """A new exchange of a call; None if nothing is to be kept, or another hook keeps this request."""
    if call.recording.replay_key is None or call.last_sent is request:
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
        for module in ("httpx", "httpx2")
        for path, wrapper in (("Client.send", _send), ("AsyncClient.send", _asend))
    ]
)


# -- replay


def _recorded_response(call: Call, client: Any, request: Any) -> Any:
    """The recorded answer as a response of ``httpx``. Raises the transport's exception where the recording ends with one."""
    module = _module_of(client)
    exchange = _next_exchange(call)
    call.exchanges.append(_Given(exchange))
    if exchange.status is None:
        raise _transport_error(module, exchange, request)
    headers = dict(exchange.headers)
    if _was_retried(exchange) and hasattr(call.client, "max_retries"):
        headers.update(_DO_NOT_RETRY)
    stream = _body(module)(_chunks(exchange), _transport_error(module, exchange, request) if exchange.error else None)
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


def _next_exchange(call: Call) -> Exchange:
    recorded = None if call.answered_by is None else call.answered_by.recorded
    exchanges = () if recorded is None else recorded.exchanges
    if not exchanges:
        raise ReplayDiverged(f"the recording holds no answer of {call.recording.name} as it came", kind="incomparable")
    last = len(exchanges) - 1
    lasting = [exchange for place, exchange in enumerate(exchanges) if place == last or not _was_retried(exchange)]
    return lasting[min(len(call.exchanges), len(lasting) - 1)]


def _was_retried(exchange: Exchange) -> bool:
    return exchange.status is None or exchange.status in _RETRIED or exchange.status >= _FIRST_SERVER_ERROR


def _chunks(exchange: Exchange) -> list[bytes]:
    return [base64.b64decode(chunk) if exchange.is_base64 else chunk.encode() for chunk in exchange.body]


def _transport_error(module: Any, exchange: Exchange, request: Any) -> Exception:
    """The exception of ``httpx`` of that name; where there is none, its most general one."""
    kind = getattr(module, exchange.error, None)
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
