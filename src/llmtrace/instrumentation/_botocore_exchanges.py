"""Keeps and replays the HTTP answers of boto3's calls, as `_exchanges` does for ``httpx``: botocore sends with ``urllib3``.

Within a call, each request that botocore's session sends is kept with its answer. In a replay, the recorded answer goes through
botocore's own parsers, so that the program gets its dictionaries, streams and errors.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from typing import Any

import wrapt

from llmtrace.instrumentation._exchanges import (
    body_in_replay,
    open_exchange,
    recorded_exchange,
    with_cause,
)
from llmtrace.instrumentation._patches import Patch
from llmtrace.instrumentation._provider import Call, current_call
from llmtrace.model import Exchange
from llmtrace.recorder.guard import guard
from llmtrace.recorder.player import player


def _send(wrapped: Any, _instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    call = guard(current_call)
    if call is None or not call.open:
        return wrapped(*args, **kwargs)
    request = args[0] if args else kwargs["request"]
    played = player()
    if played is not None and call.find_answer(played) is not None:
        return _recorded_response(call, request)
    exchange = guard(open_exchange, call, request)
    try:
        response = wrapped(*args, **kwargs)
    except BaseException as error:
        if exchange is not None:
            guard(exchange.failed, error)
        raise
    if exchange is not None:
        guard(exchange.answered, response.status_code, response.headers)
        if request.stream_output:
            response.raw = BodyProxy(response.raw, lambda data, is_end: exchange.body.append(data), exchange.failed)  # noqa: ARG005
        else:
            exchange.body.append(response.content)
    return response


def _make_request(wrapped: Any, _instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``Endpoint.make_request``, which signs the request: in a replay, an edit of the body must come before."""
    call = guard(current_call)
    played = player()
    if call is None or not call.open or played is None:
        return wrapped(*args, **kwargs)
    operation_model, request = args
    body = request["body"]
    new = body_in_replay(call, played, body) if isinstance(body, bytes) and body else body
    return wrapped(operation_model, {**request, "body": new}, **kwargs)


class BodyProxy(wrapt.ObjectProxy):  # type: ignore[type-arg]  # not generic at run time before wrapt 2
    """Proxy of a body: ``see(data, is_end=…)`` gets what is read of it, and ``fail`` what reading it raises."""

    def __init__(self, raw: Any, see: Callable[..., None], fail: Callable[[BaseException], None]) -> None:
        super().__init__(raw)
        self._self_see, self._self_fail = see, fail

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        try:
            for chunk in self.__wrapped__.stream(*args, **kwargs):
                guard(self._self_see, chunk, is_end=False)
                yield chunk
        except Exception as error:
            guard(self._self_fail, error)
            raise

    def read(self, amt: int | None = None, *args: Any, **kwargs: Any) -> bytes:
        data: bytes = self._self_step(self.__wrapped__.read, amt, *args, **kwargs)
        guard(self._self_see, data, is_end=amt is None or (not data and amt > 0))
        return data

    def readinto(self, buffer: Any) -> int:
        size: int = self._self_step(self.__wrapped__.readinto, buffer)
        guard(self._self_see, bytes(buffer[:size]), is_end=not size and len(buffer) > 0)
        return size

    def readlines(self, *args: Any) -> list[bytes]:
        lines: list[bytes] = self._self_step(self.__wrapped__.readlines, *args)
        guard(self._self_see, b"".join(lines), is_end=True)
        return lines

    def _self_step(self, read: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return read(*args, **kwargs)
        except BaseException as error:
            guard(self._self_fail, error)
            raise


# -- replay


def _recorded_response(call: Call, request: Any) -> Any:
    """Return the recorded answer as a response of botocore. Raises botocore's exception if the recording ends with one."""
    exchange = recorded_exchange(call)
    if exchange.status is None:
        raise _transport_error(call, exchange, request)
    headers = dict(exchange.headers)
    if not any(name.lower() == "transfer-encoding" for name in headers):
        headers["content-length"] = str(len(exchange.body))
    body = _Body(exchange.chunks(), _transport_error(call, exchange, request) if exchange.error else None)
    response = sys.modules["botocore.awsrequest"].AWSResponse(request.url, exchange.status, headers, body)
    if not request.stream_output:
        response.content  # noqa: B018 - reads the body, as the session does
    return response


def _transport_error(call: Call, exchange: Exchange, request: Any) -> Exception:
    """Return the exception of botocore or ``urllib3`` with the recorded name, or else botocore's most general one."""
    exceptions: Any = sys.modules["botocore.exceptions"]
    kind = getattr(exceptions, exchange.error, None) or getattr(sys.modules.get("urllib3.exceptions"), exchange.error, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        kind = exceptions.HTTPClientError
    error: Exception = kind.__new__(kind)
    error.args = (exchange.message,)
    if isinstance(error, exceptions.BotoCoreError):
        error.kwargs = {"endpoint_url": request.url, "error": exchange.message}
    return with_cause(call, exchange, error)


class _Body(io.BufferedReader):
    """A recorded body that looks like the ``urllib3`` response that botocore reads. ``error``: the error at its end."""

    def __init__(self, chunks: list[bytes], error: Exception | None) -> None:
        self._pieces = _Pieces(chunks, error)
        super().__init__(self._pieces)

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield from self._pieces.rest()


class _Pieces(io.RawIOBase):
    def __init__(self, chunks: list[bytes], error: Exception | None) -> None:
        self._chunks, self._error, self._piece = iter(chunks), error, b""

    def readable(self) -> bool:
        return True

    def rest(self) -> Iterator[bytes]:
        yield from self._chunks
        if self._error is not None:
            raise self._error

    def readinto(self, buffer: Any) -> int:
        if not self._piece:
            self._piece = next(self._chunks, b"")
        if not self._piece and self._error is not None:
            raise self._error
        size = min(len(buffer), len(self._piece))
        buffer[:size], self._piece = self._piece[:size], self._piece[size:]
        return size


PATCHES = (
    Patch("botocore.endpoint", "Endpoint.make_request", _make_request),
    Patch("botocore.httpsession", "URLLib3Session.send", _send),
)
