"""Keeps the HTTP answers of Google's async client if ``aiohttp`` is installed, as `_exchanges` does for ``httpx``.

In a replay the client sends with ``httpx``, as it does without ``aiohttp``, so that `_exchanges` gives it the recorded answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from typing import Any

import wrapt

from llmtrace.instrumentation._exchanges import OpenExchange, open_exchange
from llmtrace.instrumentation._patches import Patch
from llmtrace.instrumentation._provider import Call, current_call
from llmtrace.recorder.guard import guard
from llmtrace.recorder.player import player


def _open_call() -> Call | None:
    call = current_call()
    return call if call is not None and call.open and hasattr(call.client, "_use_aiohttp") else None


def _use_aiohttp(wrapped: Any, _instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    if player() is not None and guard(_open_call) is not None:
        return False
    return wrapped(*args, **kwargs)


def _request(wrapped: Any, _instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``aiohttp.ClientSession._request``, which every request of aiohttp uses."""
    call = guard(_open_call)
    exchange = None if call is None else guard(open_exchange, call, object())
    response = wrapped(*args, **kwargs)
    return response if exchange is None else _keep_answer(response, exchange)


async def _keep_answer(wrapped: Coroutine[Any, Any, Any], exchange: OpenExchange) -> Any:
    try:
        response = await wrapped
    except BaseException as error:
        guard(exchange.failed, error)
        raise
    guard(_answered, exchange, response)
    return response


def _answered(exchange: OpenExchange, response: Any) -> None:
    exchange.answered(response.status, response.headers)
    response.content = _Body(response.content, exchange)


class _Body(wrapt.ObjectProxy):  # type: ignore[type-arg]  # not generic at run time before wrapt 2
    """Proxy of the decoded body of a response, which keeps the data that Google's client reads from it."""

    def __init__(self, content: Any, exchange: OpenExchange) -> None:
        super().__init__(content)
        self._self_exchange = exchange

    async def read(self, *args: Any, **kwargs: Any) -> Any:
        return await _read(self.__wrapped__.read(*args, **kwargs), self._self_exchange)

    async def iter_any(self) -> AsyncIterator[bytes]:
        while data := await _read(self.__wrapped__.readany(), self._self_exchange):
            yield data


async def _read(wrapped: Coroutine[Any, Any, bytes], exchange: OpenExchange) -> bytes:
    try:
        data = await wrapped
    except Exception as error:
        guard(exchange.failed, error)
        raise
    exchange.body += [data] if data else []
    return data


PATCHES = (
    Patch("aiohttp.client", "ClientSession._request", _request),
    Patch("google.genai._api_client", "BaseApiClient._use_aiohttp", _use_aiohttp),
)
