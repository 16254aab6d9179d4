"""litellm: completion, text_completion, embedding, responses, sync and async, whole and streamed, and the same of its Router.

One call is one span, whatever goes on within it: the SDK that litellm makes its requests by, its retries and its fallbacks to
other models (`Endpoint.suppress_nested`). litellm's own callbacks are left alone. Answers have the form of OpenAI's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import AsyncGeneratorType, GeneratorType
from typing import Any, ClassVar

import wrapt
from opentelemetry.context import Context, get_current
from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from llmtrace.instrumentation import _exchanges
from llmtrace.instrumentation._generators import watch_generator
from llmtrace.instrumentation._litellm_answers import (
    PARAMETERS,
    UNKNOWN,
    StreamReader,
    answered_by,
    keep_chunks,
    provider_and_model,
    provider_name,
    read_usage,
)
from llmtrace.instrumentation._openai_chat import Chat, Completions, Embeddings
from llmtrace.instrumentation._openai_responses import Responses
from llmtrace.instrumentation._patches import Patch, Wrapper, after, changing
from llmtrace.instrumentation._provider import Call, Endpoint, Fields, Headers, call_of, count_attempt, traced, traced_async
from llmtrace.instrumentation._requests import ServerEndpoint, with_trace
from llmtrace.instrumentation._stainless import members, with_traced_options
from llmtrace.instrumentation._streams import Reader, Watch, aclosing, closing, watch_of, watch_stream, watched
from llmtrace.recorder.guard import guard
from llmtrace.recorder.stepping import stepwise
from llmtrace.validation.tool_definitions import output_schema

LIBRARY, DISTRIBUTION = "litellm", "litellm"
SUPPORTED = ">=1.80,<2"


# -- streams that are iterators of litellm's own classes, which are patched
#
# The program keeps the very object, which is what is `watched`. Each step is taken within the call, since litellm makes its
# request, or another one after the first failed, when the program asks for a chunk.


def _is_patched(stream: Any, method: str) -> bool:
    """Return True if ``method`` of a stream's class is wrapped; a subclass may have overridden it."""
    return isinstance(inspect.getattr_static(type(stream), method, None), wrapt.FunctionWrapper)


def _stepping(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    watch = guard(watch_of, instance)
    call = None if watch is None else watch.call
    if watch is None or call is None:
        return wrapped(*args, **kwargs)
    tokens = guard(call.enter)
    try:
        chunk = wrapped(*args, **kwargs)
    except StopIteration:
        guard(watch.finish)
        raise
    except BaseException as error:
        guard(watch.fail, error)
        raise
    finally:
        if tokens is not None:
            guard(call.leave, tokens)
    guard(watch.see, chunk)
    return chunk


def _astepping(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    step = wrapped(*args, **kwargs)
    watch = guard(watch_of, instance)
    return step if watch is None or watch.call is None else _stepped(watch, watch.call, step)


async def _stepped(watch: Watch, call: Call, step: Any) -> Any:
    try:
        chunk = await stepwise(call, step)
    except StopAsyncIteration:
        guard(watch.finish)
        raise
    except BaseException as error:
        guard(watch.fail, error)
        raise
    guard(watch.see, chunk)
    return chunk


_W3C = TraceContextTextMapPropagator()
_FLAGS = ("acompletion", "aembedding", "aresponses")
"""Flags with which a sync function returns a coroutine; litellm's own async functions set them."""


class _Covering(ServerEndpoint):
    """Shared by the endpoints. There is no client object, because litellm makes clients as it needs them."""

    suppress_nested = True
    provider = UNKNOWN
    arguments: ClassVar[tuple[str, ...]] = ()
    """What is recorded of the request beside `PARAMETERS`."""

    def client(self, instance: Any) -> Any:  # noqa: ARG002
        return self

    def url(self, client: Any, kwargs: Mapping[str, Any]) -> Any:  # noqa: ARG002
        return kwargs.get("api_base") or kwargs.get("base_url")

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        provider, model = provider_and_model(kwargs.get("model"), kwargs.get("custom_llm_provider"))
        return {**super().start_attributes(client, {**kwargs, "model": model}), "provider": provider}

    def on_response(self, call: Call, result: Any) -> Any:
        if isinstance(result, (GeneratorType, AsyncGeneratorType)):
            return watch_generator(call, self.stream_reader(call, result), result)
        steps = [method for method in ("__next__", "__anext__") if hasattr(result, method)]
        if steps and all(_is_patched(result, method) for method in steps):
            watched(call, self.stream_reader(call, result), result)
        elif steps:  # an older Router's, of a class that each call makes anew
            return watch_stream(call, self.stream_reader(call, result), result, result)
        else:
            call.end(self.answer(result))
        return result

    def stream_reader(self, call: Call, stream: Any) -> Reader:  # noqa: ARG002
        return self.reader(call)

    def inject_headers(self, client: Any, kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], Headers | None]:  # noqa: ARG002
        return dict(kwargs), None  # they are put in by `_sending` and `_posting`

    def remote_parent(self, kwargs: Mapping[str, Any]) -> Context | None:
        """Continue the trace of a client of LiteLLM's proxy, unless an instrumentation of its web server does."""
        request = kwargs.get("proxy_server_request")
        headers = request.get("headers") if isinstance(request, Mapping) else None
        if not isinstance(headers, Mapping) or get_current_span().get_span_context().is_valid:
            return None
        lower = {name.lower(): text for name, text in headers.items() if isinstance(name, str) and isinstance(text, str)}
        return _W3C.extract(lower, context=get_current())

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        return super().request({name: kwargs.get(name) for name in (*PARAMETERS, *self.arguments)})

    def answer(self, result: Any) -> Fields:
        fields, usage = {**super().answer(result), **answered_by(result)}, members(result).get("usage")
        counts = members(usage)
        # that of the Responses API is the server's own; some servers send its names beside those of chat
        is_own = "input_tokens" in counts and "prompt_tokens" not in counts
        return fields if is_own else {**fields, "usage": read_usage(usage)}

    def on_error(self, error: BaseException, fields: Fields) -> Fields:
        provider = getattr(error, "llm_provider", None)
        return {"provider": provider_name(provider), **fields} if isinstance(provider, str) and provider else fields


class Completion(_Covering, Chat):
    arguments = ("messages", "tools", "functions")

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        form = kwargs.get("response_format")
        if isinstance(form, type):
            schema = {"type": "json_schema", "json_schema": {"schema": output_schema(form)}}
            kwargs = {**kwargs, "response_format": schema}
        return super().request(kwargs)

    def stream_reader(self, call: Call, stream: Any) -> Reader:
        return StreamReader(stream, call.choice_count)


class TextCompletion(_Covering, Completions):
    arguments = ("prompt", "echo", "best_of", "suffix")


class Respond(_Covering, Responses):
    arguments = ("input", "instructions", "tools", "previous_response_id")


class Embed(_Covering, Embeddings):
    """The endpoint that turns texts into vectors; neither is recorded."""


# -- functions, and methods of the Router

_COMPLETION, _TEXT, _EMBED, _RESPOND = Completion(), TextCompletion(), Embed(), Respond()
_NAMES: dict[Any, tuple[str, ...]] = {
    _COMPLETION: ("model", "messages"),
    _TEXT: ("prompt", "model"),
    _EMBED: ("model", "input"),
    _RESPOND: ("input", "model"),
}
"""Names of the arguments that may be passed by position."""


def function(trace: Callable[[Endpoint], Wrapper], endpoint: Any) -> Wrapper:
    ours, names = trace(endpoint), _NAMES[endpoint]

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if any(kwargs.get(flag) for flag in _FLAGS):
            return wrapped(*args, **kwargs)
        arguments = {**dict(zip(names, args, strict=False)), **kwargs}
        return ours(lambda **_: wrapped(*args, **kwargs), instance, (), arguments)

    return wrapper


def routed(trace: Callable[[Endpoint], Wrapper]) -> Wrapper:
    """Return a wrapper for the function that all functions of a kind call, however the program imported them: (args, kwargs,
    …)."""
    by_route = {"chat_completions": _COMPLETION, "embeddings": _EMBED, "responses": _RESPOND}
    functions = {route: function(trace, endpoint) for route, endpoint in by_route.items()}

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        ours = guard(lambda: functions.get(instance.route.value)) if len(args) == 2 else None
        if ours is None:
            return wrapped(*args, **kwargs)
        return ours(lambda *_, **__: wrapped(*args, **kwargs), instance, *args)

    return wrapper


def falling_back(trace: Callable[[Endpoint], Wrapper]) -> Wrapper:
    """Return a wrapper for the function that all methods of an older Router call: (original_function=…, model=…, …)."""
    by_name = {"completion": _COMPLETION, "embedding": _EMBED}
    functions = {name: function(trace, endpoint) for name, endpoint in by_name.items()}

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        made_for = getattr(kwargs.get("original_function"), "__name__", "")
        ours = functions.get(made_for.removeprefix("_").removeprefix("a"))
        return wrapped(*args, **kwargs) if ours is None else ours(wrapped, instance, args, kwargs)

    return wrapper


def _call_of(client: Any) -> Call | None:
    call = call_of(client)
    return call if call is not None and isinstance(call.endpoint, _Covering) else None


def _sending(client: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    """Add ``traceparent`` to the options from which OpenAI's SDK builds an HTTP request."""
    call = _call_of(client)
    return None if call is None else with_traced_options(call, client, args, kwargs)


def _posting(client: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    """Count a request of litellm's own HTTP clients, and add ``traceparent`` to its headers."""
    call, headers = _call_of(client), kwargs.get("headers") or {}
    if call is None:
        return None
    call.attempt(None)
    traced_headers = with_trace(call, headers) if isinstance(headers, dict) else None
    return None if traced_headers is None else (args, {**kwargs, "headers": traced_headers})


def _functions(module: str, prefix: str = "", **endpoints: Any) -> tuple[Patch, ...]:
    """Return the patches of functions by name, and of their asyncio forms, whose names begin with ``a``."""
    return (
        *(Patch(module, f"{prefix}{name}", function(traced, endpoint)) for name, endpoint in endpoints.items()),
        *(Patch(module, f"{prefix}a{name}", function(traced_async, endpoint)) for name, endpoint in endpoints.items()),
    )


_CLIENT = "openai._base_client"
_HTTP = "litellm.llms.custom_httpx.http_handler"
_STREAM = "litellm.litellm_core_utils.streaming_handler"
_TEXT_STREAMS = ("litellm.text_completions.streaming_iterator", "litellm.utils")
"""The second module is for versions before 1.110."""
_ROUTED_STREAMS = "litellm.router_rust.invoke.streaming"
_RESPONSES = "litellm.responses.streaming_iterator"

PATCHES = (
    *_exchanges.PATCHES,
    *_functions("litellm", completion=_COMPLETION, text_completion=_TEXT, embedding=_EMBED, responses=_RESPOND),
    Patch("litellm.rust_bridge.dispatch", "PublicDispatch.run", routed(traced)),  # 1.110
    Patch("litellm.rust_bridge.dispatch", "PublicDispatch.arun", routed(traced_async)),
    *_functions("litellm.router_rust.core", "RustCore.", completion=_COMPLETION, embedding=_EMBED),
    Patch("litellm.router", "Router.function_with_fallbacks", falling_back(traced)),  # before
    Patch("litellm.router", "Router.async_function_with_fallbacks", falling_back(traced_async)),
    Patch(_STREAM, "CustomStreamWrapper.__next__", _stepping),
    Patch(_STREAM, "CustomStreamWrapper.__anext__", _astepping),
    Patch(_STREAM, "CustomStreamWrapper.close", closing),
    Patch(_STREAM, "CustomStreamWrapper.aclose", aclosing),
    *(Patch(module, "TextCompletionStreamWrapper.__next__", _stepping) for module in _TEXT_STREAMS),
    *(Patch(module, "TextCompletionStreamWrapper.__anext__", _astepping) for module in _TEXT_STREAMS),
    Patch(_ROUTED_STREAMS, "_SyncChatStream.__init__", after(keep_chunks, always=True)),
    Patch(_ROUTED_STREAMS, "_SyncChatStream.__next__", _stepping),
    Patch(_ROUTED_STREAMS, "_AsyncChatStream.__anext__", _astepping),
    Patch(_RESPONSES, "ResponsesAPIStreamingIterator.__anext__", _astepping),
    Patch(_RESPONSES, "ResponsesAPIStreamingIterator.aclose", aclosing),
    Patch(_RESPONSES, "SyncResponsesAPIStreamingIterator.__next__", _stepping),
    Patch(_RESPONSES, "SyncResponsesAPIStreamingIterator.close", closing),
    Patch(_HTTP, "HTTPHandler.post", changing(_posting)),
    Patch(_HTTP, "AsyncHTTPHandler.post", changing(_posting)),
    Patch(_CLIENT, "BaseClient._build_request", count_attempt),
    Patch(_CLIENT, "BaseClient._build_request", changing(_sending)),
)
