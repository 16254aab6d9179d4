"""Anthropic: ``client.messages`` and ``client.beta.messages`` (create, stream, parse), sync and async, raw or not, and the
tools that the beta tool runner runs.

Works with anthropic 0.60 and later, and with the SDK's clients of Bedrock and Vertex. The engine is
`_provider`, what it shares with its sister SDKs `_stainless`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

from llmtrace import semconv
from llmtrace.codec.finish_reasons import finish_reason
from llmtrace.content import to_json
from llmtrace.instrumentation import _stainless
from llmtrace.instrumentation._anthropic_messages import EventReader, read_content, read_message, read_usage
from llmtrace.instrumentation._cache import read_messages_cached, read_tools_cached
from llmtrace.instrumentation._instrumentors import is_left_out, selected
from llmtrace.instrumentation._openai_endpoint import NOT_OF_THE_REQUEST, by_class, read_parameters
from llmtrace.instrumentation._patches import Patch, Wrapper, changing
from llmtrace.instrumentation._provider import Call, Endpoint, Fields, call_of, current_call, note_answer, traced, traced_async
from llmtrace.instrumentation._stainless import SdkEndpoint, both, is_given, members, with_traced_options
from llmtrace.instrumentation._streams import Reader
from llmtrace.instrumentation._traced_functions import TracedFunction, patches
from llmtrace.model import TOOL_ERROR, Failure, Operation, ToolExecution
from llmtrace.recorder import active
from llmtrace.recorder.guard import guard
from llmtrace.validation.tool_definitions import read_definition

LIBRARY, DISTRIBUTION = "anthropic", "anthropic"
SUPPORTED = ">=0.60,<3"
CLIENTS = {
    f"anthropic.{start}Anthropic{cloud}": "" for start in ("", "Async") for cloud in ("", "Bedrock", "BedrockMantle", "Vertex")
}

_NAMES = {"output_format": "response_format"}
_OUTPUT_NAMES = {"format": "response_format", "effort": "reasoning.level"}
_LEFT_OUT = NOT_OF_THE_REQUEST | {"messages", "system", "output_config", "anthropic_version", "anthropic_beta"}


class Messages(SdkEndpoint):
    """The endpoint of messages. `_sending` adds headers."""

    operation = semconv.CHAT

    def provider_of(self, client: Any, host: str | None) -> str:  # noqa: ARG002
        kind: Any = type(client)
        return by_class(kind) or "anthropic"

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        fields: Fields = {"parameters": _parameters(kwargs)}
        thread = kwargs.get("thread")
        if isinstance(thread, Mapping):
            fields["previous_response_id"] = thread.get("previous_message_id")
        one_shot = False
        for name, field, read in _CONTENT:
            value = kwargs.get(name)
            if isinstance(value, (str, list, tuple)):
                fields[field] = read(value)
            elif value is not None and is_given(value):  # an iterator, which is the SDK's to consume
                one_shot = True
        return fields, one_shot or isinstance(kwargs.get("output_format"), type)

    def answer(self, result: Any) -> Fields:
        message = members(result)
        stop = message.get("stop_reason")
        return {
            "response_id": message.get("id"),
            "response_model": message.get("model"),
            "usage": read_usage(message.get("usage")),
            "output": (read_message(message, stop),),
            "finish_reasons": (finish_reason(stop) if stop else "error",),
        }

    def reader(self, call: Call) -> Reader:  # noqa: ARG002
        return EventReader()


_MESSAGES, _STREAM = Messages(), Messages(stream=True)


def _parameters(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Read the parameters. Two members of ``output_config`` have their own names in the conventions."""
    parameters = read_parameters(kwargs, _NAMES, _LEFT_OUT)
    config = kwargs.get("output_config")
    for name, value in config.items() if isinstance(config, Mapping) else ():
        if value is not None:
            parameters[_OUTPUT_NAMES.get(name, str(name))] = to_json(value)
    return parameters


def _plain(tool: Any) -> Any:
    """Return a tool as a dict. Tools of the beta tool runner are objects with ``to_dict``."""
    try:
        return tool if isinstance(tool, dict) else tool.to_dict()
    except Exception:
        return tool


_CONTENT: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("messages", "input", lambda messages: read_messages_cached(messages, read_message)),
    ("system", "system", read_content),
    ("tools", "tools", lambda tools: read_tools_cached(list(map(_plain, tools)))),
)
"""Name of the argument, field of the `Inference`, and the function that reads it."""


def helper(trace: Callable[[Endpoint], Wrapper], name: str) -> Wrapper:
    """Return a wrapper for ``.stream()``, which returns a manager that makes the request when it is entered.

    ``name``: the manager's attribute that makes the request, or holds the coroutine that will.
    """

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        manager = wrapped(*args, **kwargs)
        guard(_delay, manager, instance, kwargs)
        return manager

    def _delay(manager: Any, instance: Any, kwargs: dict[str, Any]) -> None:
        request = getattr(manager, name)
        # the request has its arguments already
        call = partial(trace(_STREAM), lambda **_: request() if callable(request) else request, instance, (), kwargs)
        setattr(manager, name, call if callable(request) else call())

    return wrapper


def _sending(client: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    """Add ``traceparent`` to the options from which an HTTP request is built.

    ``extra_headers`` cannot be used, because the helper ``.stream()`` reads them long before the span begins.
    """
    call, own_tracing = call_of(client), getattr(client, "_open_telemetry", None)
    # the program may tell the SDK, which can trace its calls itself, to send no trace context
    is_silent = isinstance(own_tracing, Mapping) and own_tracing.get("propagation") is False
    return None if call is None or is_silent else with_traced_options(call, client, args, kwargs)


# -- the tools that the beta tool runner runs, and the spans that the SDK would make itself
#
# The SDK can trace its own calls (1.x and 2.x, where the program has a TracerProvider). One call has one span: while ours is
# open the SDK's own is left out, unless the program gave the client a TracerProvider of its own.


class ToolRun(TracedFunction):
    """A runner's method that runs a tool: (tool, tool_use). It does not raise the tool's exception."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:
        tool, call = arguments.values()
        # a function decorated with `llmtrace.tool` makes its span itself
        is_decorated = type(getattr(tool, "func", None)).__module__.startswith("llmtrace.")
        if is_decorated or (selected and is_left_out(instance._client)):
            return None
        return ToolExecution(call.name, to_json(call.input), call_id=call.id, definition=read_definition(tool.to_dict()))

    def answer(self, result: Any) -> Any:
        return members(result).get("content")

    def failure(self, result: Any) -> Failure | None:
        content = self.answer(result)
        is_error = members(result).get("is_error")
        return Failure(TOOL_ERROR, content if isinstance(content, str) else "") if is_error else None


def without_own_span(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """Wrapper for the SDK's function that starts its own span of a call: returns None, which means no span."""
    call = current_call()
    if call is None or guard(_has_own_provider, call.client) is not False:
        return wrapped(*args, **kwargs)
    return None


def without_own_tool_span(_instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Replace the client by one without a tracer, so that the SDK makes no span of a tool run; None to keep the SDK's span."""
    client, tool = args
    if active() is None or not hasattr(tool, "call") or _has_own_provider(client) or is_left_out(client):
        return None
    return (SimpleNamespace(_tracer=None), tool), kwargs


def _has_own_provider(client: Any) -> bool:
    options = getattr(client, "_open_telemetry", None)
    return isinstance(options, Mapping) and options.get("tracer_provider") is not None


_MODULE, _BETA_MODULE = "anthropic.resources.messages.messages", "anthropic.resources.beta.messages.messages"
_RUNNER = "anthropic.lib.tools._beta_runner"
_COPIES = ("anthropic.lib.bedrock._beta_messages", "anthropic.lib.vertex._beta_messages")
"""Modules with classes of their own, made of the same functions."""


_MANAGER, _BETA_MANAGER = (f"_{beta}MessageStreamManager__api_request" for beta in ("", "Beta"))
_AMANAGER, _BETA_AMANAGER = (f"_{beta}AsyncMessageStreamManager__api_request" for beta in ("", "Beta"))


def _methods(module: str, streaming: Wrapper, streaming_async: Wrapper) -> tuple[Patch, ...]:
    return (
        *both(module, "Messages.create", _MESSAGES),
        *both(module, "Messages.parse", _MESSAGES),
        Patch(module, "Messages.stream", streaming),
        Patch(module, "AsyncMessages.stream", streaming_async),
    )


_BETA = helper(traced, _BETA_MANAGER), helper(traced_async, _BETA_AMANAGER)

PATCHES = (
    *_methods(_MODULE, helper(traced, _MANAGER), helper(traced_async, _AMANAGER)),
    *(patch for module in (_BETA_MODULE, *_COPIES) for patch in _methods(module, *_BETA)),
    Patch(_MODULE, "parse_response", note_answer),
    Patch(_BETA_MODULE, "parse_beta_response", note_answer),
    Patch("anthropic._base_client", "BaseClient._build_request", changing(_sending)),
    Patch("anthropic._base_client", "start_api_call_span", without_own_span),
    Patch(_RUNNER, "tool_use_span", changing(without_own_tool_span)),
    *patches(_RUNNER, ToolRun(), "BaseSyncToolRunner._run_tool", "BaseAsyncToolRunner._run_tool"),
    *_stainless.patches("anthropic", CLIENTS),
)
