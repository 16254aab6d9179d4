"""Google: ``models.generate_content`` and its stream, sync and async, by the Gemini API and by Vertex AI; chats; embeddings;
interactions (`_google_interactions`).

The function that makes one request is patched: automatic function calling and chats call it once for each answer of the model.
Messages, tools and schemas are read from the body that is sent, in which Python functions and pydantic models have become JSON.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any

import wrapt
from pydantic_core import from_json

from llmtrace import semconv
from llmtrace.content import to_json
from llmtrace.instrumentation import _exchanges, _google_interactions
from llmtrace.instrumentation._cache import read_messages_cached, read_tools_cached
from llmtrace.instrumentation._exchanges import OpenExchange, open_exchange
from llmtrace.instrumentation._generators import traced_generator
from llmtrace.instrumentation._google_content import (
    AnswerReader,
    python_members,
    read_content,
    read_parameters,
    read_parts,
    read_tools,
    read_usage,
)
from llmtrace.instrumentation._patches import Patch, before
from llmtrace.instrumentation._provider import Call, Fields, call_of, current_call, traced_async
from llmtrace.instrumentation._requests import note_request
from llmtrace.instrumentation._stainless import SdkEndpoint, both
from llmtrace.instrumentation._traced_functions import TracedFunction, patches
from llmtrace.model import Embedding, Operation, ToolExecution, Usage, Workflow
from llmtrace.recorder import current
from llmtrace.recorder.guard import guard
from llmtrace.recorder.player import player

LIBRARY, DISTRIBUTION = "google.genai", "google-genai"
SUPPORTED = ">=1.30,<4"


class _Endpoint(SdkEndpoint):
    """Shared by all calls of the SDK. Headers are added, and the request is read, when it is sent."""

    def client(self, instance: Any) -> Any:
        return instance._api_client

    def url(self, client: Any, kwargs: Mapping[str, Any]) -> Any:  # noqa: ARG002
        return client._http_options.base_url

    def provider_of(self, client: Any, host: str | None) -> str:  # noqa: ARG002
        return "gcp.vertex_ai" if client.vertexai else "gcp.gemini"

    def read_body(self, body: Mapping[str, Any]) -> Fields:  # noqa: ARG002
        return {}


class Content(_Endpoint):
    operation = semconv.GENERATE_CONTENT

    def read_body(self, body: Mapping[str, Any]) -> Fields:
        body = python_members(body)
        contents, tools = body.get("contents"), body.get("tools")
        fields: Fields = {
            "system": tuple(read_parts(python_members(body.get("system_instruction")).get("parts"))),
            "input": read_messages_cached(contents or (), read_content),
            "parameters": read_parameters(body),
        }
        if tools:
            fields["tools"] = read_tools_cached(tools, read_tools)
        if body.get("cached_content"):
            fields["previous_response_id"] = body["cached_content"]
        return fields

    def reader(self, call: Call) -> AnswerReader:
        return AnswerReader(call.choice_count)

    def answer(self, result: Any) -> Fields:
        reader = AnswerReader()
        reader.feed(_whole(result))
        fields = reader.fields()
        fields.pop("partial", None)
        return fields


def _whole(result: Any) -> Any:
    """Return the answer, read from its body if the program requested only the HTTP response."""
    response = python_members(result)
    body = python_members(response.get("sdk_http_response")).get("body")
    return from_json(body) if body and not response.get("candidates") else result


class Embeddings(_Endpoint):
    operation_type = Embedding

    def answer(self, result: Any) -> Fields:
        response = python_members(result)
        embeddings = [python_members(embedding) for embedding in response.get("embeddings") or ()]
        usage = read_usage(response.get("usage_metadata"))
        counts = [python_members(embedding.get("statistics")).get("token_count") for embedding in embeddings]
        if usage is None and any(counts):
            usage = Usage(int(sum(count or 0 for count in counts)))
        return {"usage": usage, "dimensions": len(embeddings[0].get("values") or ()) or None if embeddings else None}


def _prepare(client: Any, args: Any, kwargs: Mapping[str, Any]) -> None:
    """Count an HTTP request, add headers and read it before it is sent. Retries inside the client are counted too."""
    call, request = call_of(client), args[0] if args else kwargs.get("http_request")
    if call is None or request is None:
        return
    request.headers = dict(request.headers or {})  # a new dict: it may be the client's own
    note_request(call, request.headers)
    if call.attempts == 1 and isinstance(call.endpoint, _Endpoint) and isinstance(request.data, Mapping):
        call.fields.update(call.endpoint.read_body(request.data))


# -- automatic function calling: the functions that the SDK runs for the model, and the loop around calls and functions
#
# What a function raises becomes the answer to the model inside the SDK; here it is the span's failure.

LOOP = "automatic_function_calling"
"""Name of the workflow of a loop."""


class FunctionRun(TracedFunction):
    """The function that runs a function for the model: (args, function_to_invoke)."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:  # noqa: ARG002
        function = arguments["function_to_invoke"]
        if hasattr(function, "_self_spec"):
            return None  # decorated with `llmtrace.tool`, it makes its span itself
        return ToolExecution(function.__name__, to_json(arguments["args"]))


class LoopRun(TracedFunction):
    """A function that alternates between calls of the model and functions. It is a run, unless it is inside another span."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:
        # the tools stand in the configuration of the call, or in that of the chat whose method it is
        tools = python_members(arguments.get("config") or getattr(instance, "_config", None)).get("tools")
        may_run = isinstance(tools, (list, tuple)) and any(callable(tool) or hasattr(tool, "call_tool") for tool in tools)
        return Workflow(LOOP) if may_run and current() is None else None

    def answer(self, result: Any) -> Any:  # noqa: ARG002
        """Return None: the model calls below have the answer."""
        return None


# -- HTTP answers of the async client if ``aiohttp`` is installed, kept as `_exchanges` does for ``httpx``
#
# In a replay the client sends with ``httpx``, as it does without ``aiohttp``, so that `_exchanges` gives the recorded answer.


def _open_call() -> Call | None:
    call = current_call()
    return call if call is not None and call.open and hasattr(call.client, "_use_aiohttp") else None


def use_aiohttp(wrapped: Any, _instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    if player() is not None and guard(_open_call) is not None:
        return False
    return wrapped(*args, **kwargs)


def request_by_aiohttp(wrapped: Any, _instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
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


_STREAM = Content(stream=True)
_MODELS, _CHATS = "google.genai.models", "google.genai.chats"
_CLIENT = "google.genai._api_client"

PATCHES = (
    *_exchanges.PATCHES,
    Patch("aiohttp.client", "ClientSession._request", request_by_aiohttp),
    Patch(_CLIENT, "BaseApiClient._use_aiohttp", use_aiohttp),
    *both(_MODELS, "Models._generate_content", Content(stream=False)),
    *both(_MODELS, "Models.embed_content", Embeddings()),
    Patch(_MODELS, "Models._generate_content_stream", traced_generator(_STREAM)),
    Patch(_MODELS, "AsyncModels._generate_content_stream", traced_async(_STREAM)),
    Patch(_CLIENT, "BaseApiClient._request_once", before(_prepare, always=True)),
    Patch(_CLIENT, "BaseApiClient._async_request_once", before(_prepare, always=True)),
    *patches("google.genai._extra_utils", FunctionRun(), *(f"invoke_function_from_dict_args{end}" for end in ("", "_async"))),
    *patches(
        _MODELS, LoopRun(), *(f"{mode}Models.generate_content{kind}" for mode in ("", "Async") for kind in ("", "_stream"))
    ),
    *patches(_CHATS, LoopRun(), *(f"{mode}Chat.send_message{kind}" for mode in ("", "Async") for kind in ("", "_stream"))),
    *_google_interactions.PATCHES,
)
