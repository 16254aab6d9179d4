"""OpenAI's Responses API: ``client.responses`` (create, parse, stream), and fetching a response by its id.

An answer is one message with all its items in order; a request's input has one message for each item.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from llmtrace import semconv
from llmtrace.content import to_json
from llmtrace.instrumentation._cache import read_messages_cached, read_tools_cached
from llmtrace.instrumentation._failures import failure_reported
from llmtrace.instrumentation._openai_endpoint import NOT_OF_THE_REQUEST, OpenAIEndpoint, read_parameters
from llmtrace.instrumentation._openai_items import RAN_BY_PROGRAM, EventReader, content_parts, item_parts, read_item
from llmtrace.instrumentation._openai_messages import read_beside, read_usage
from llmtrace.instrumentation._provider import Call, Fields
from llmtrace.instrumentation._stainless import is_given, members
from llmtrace.instrumentation._streams import Reader
from llmtrace.model import FetchResponse, Message, Part, ToolDefinition, Usage
from llmtrace.validation.tool_definitions import read_definition

_NAMES = {"max_output_tokens": "max_tokens"}
_LEFT_OUT = NOT_OF_THE_REQUEST | {"input", "instructions", "previous_response_id", "text_format", "parse_as"}

_CUT = {"max_output_tokens": "length"}
"""Reasons for an incomplete answer: OpenAI's word to the conventions' word, if they differ."""
_WAITING = frozenset({"queued", "in_progress"})
_LOADING = frozenset({"additional_tools", "tool_search_output"})
"""Kinds of items that offer more tools."""


class Responses(OpenAIEndpoint):
    operation: ClassVar[str | None] = semconv.CHAT

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        request_input, tools, earlier = kwargs.get("input"), kwargs.get("tools"), kwargs.get("previous_response_id")
        instructions = kwargs.get("instructions")
        system: tuple[Part, ...] = tuple(content_parts(instructions)) if isinstance(instructions, str) else ()
        if isinstance(instructions, (list, tuple)):
            system = tuple([part for item in instructions for part in item_parts(item)])
        fields: Fields = {
            "parameters": _parameters(kwargs),
            "system": system,
            "previous_response_id": earlier if isinstance(earlier, str) else None,
            "attributes": _conversation(kwargs.get("conversation")),
        }
        one_shot = isinstance(kwargs.get("text_format"), type)
        if isinstance(request_input, str):
            fields["input"] = read_messages_cached(({"role": "user", "content": request_input},), read_item)
        elif isinstance(request_input, (list, tuple)):
            fields["input"] = read_messages_cached(request_input, read_item)
        elif request_input is not None and is_given(request_input):  # an iterator, which is the SDK's to consume
            one_shot = True
        if tools is None or not is_given(tools):
            tools = ()
        if isinstance(tools, (list, tuple)):
            offered = [*tools, *_loaded(request_input)]
            fields["tools"] = read_tools_cached(offered, _read_tools) if offered else ()
        else:
            one_shot = True
        return fields, one_shot

    def answer(self, result: Any) -> Fields:
        return read_response(members(result))

    def reader(self, call: Call) -> Reader:  # noqa: ARG002
        return EventReader(read_response)


class FetchedResponses(Responses):
    """The endpoint that fetches an earlier response, whole or as a stream."""

    operation_type = FetchResponse
    operation = None

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        fields, response_id = super().start_attributes(client, kwargs), kwargs.get("response_id")
        del fields["request_model"]
        return {**fields, "response_id": response_id if isinstance(response_id, str) else None}

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        after = kwargs.get("starting_after")
        return {"attributes": {semconv.REQUEST_STREAM_CURSOR: str(after)} if isinstance(after, int) else None}, False


def read_response(response: Mapping[str, Any]) -> Fields:
    items = response.get("output") or ()
    status = response.get("status")
    reason = _finish_reason(response, status, items)
    # one message, without the user's messages that a compaction keeps; none if nothing came yet
    parts = tuple([part for item in items if members(item).get("role") != "user" for part in item_parts(item)])
    is_message = bool(parts) or reason not in (None, "error")
    fields: Fields = {
        "response_id": response.get("id"),
        "response_model": response.get("model"),
        "status": status,
        "usage": read_response_usage(response.get("usage")),
        "output": (Message("assistant", parts, finish_reason=reason),) if is_message else (),
        "finish_reasons": () if reason is None else (reason,),
    }
    if response.get("error"):
        fields["failure"] = failure_reported(members(response["error"]))
    beside = read_beside(response)
    attributes = {**beside.pop("attributes", {}), **(_conversation(response.get("conversation")) or {})}
    return {**fields, **beside, "attributes": attributes} if attributes else {**fields, **beside}


def _finish_reason(response: Mapping[str, Any], status: Any, items: Any) -> str | None:
    """Return the finish reason in the conventions' words; None while the answer is not finished."""
    if status in _WAITING:
        return None
    if status == "incomplete":
        cut = members(response.get("incomplete_details")).get("reason")
        return _CUT.get(cut, cut) if isinstance(cut, str) else "length"
    if status in ("failed", "cancelled"):
        return "error"
    return "tool_call" if any(members(item).get("type") in RAN_BY_PROGRAM for item in items) else "stop"


def read_response_usage(raw: Any) -> Usage | None:
    """Read token counts as billed: input includes cached tokens, output includes reasoning."""
    usage = members(raw)
    if "input_tokens" not in usage:
        return read_usage(raw)  # a server that says it as in chat completions
    read, written = members(usage.get("input_tokens_details")), members(usage.get("output_tokens_details"))
    return Usage(
        usage.get("input_tokens"),
        usage.get("output_tokens"),
        read.get("cached_tokens"),
        read.get("cache_write_tokens"),
        written.get("reasoning_tokens"),
    )


def _conversation(conversation: Any) -> dict[str, Any] | None:
    """Return the conversation's id as an attribute. The argument is a text, or an object with an id."""
    conversation_id = conversation if isinstance(conversation, str) else members(conversation).get("id")
    return {semconv.CONVERSATION_ID: conversation_id} if isinstance(conversation_id, str) else None


def _parameters(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    parameters = read_parameters(kwargs, _NAMES, _LEFT_OUT)
    reasoning = parameters.get("reasoning")
    if isinstance(reasoning, dict) and isinstance(reasoning.get("effort"), str):
        parameters["reasoning.level"] = reasoning.pop("effort")
        if not reasoning:
            del parameters["reasoning"]
    return parameters


def _loaded(request_input: Any) -> Iterator[Any]:
    """Iterate over tool definitions in the input: results of a tool search, or tools added later."""
    for item in request_input if isinstance(request_input, (list, tuple)) else ():
        fields = members(item)
        if fields.get("type") in _LOADING:
            yield from fields.get("tools") or ()


def _read_tools(raw: Any) -> tuple[ToolDefinition, ...]:
    """Read the definitions of all tools that may be called, without duplicates; a namespace counts as its tools."""
    definitions: dict[str, ToolDefinition] = {}
    for tool in raw:
        fields = members(tool)
        inner = fields.get("tools") if fields.get("type") == "namespace" else None
        for definition in (
            _read_tools(inner) if inner else (read_definition(tool if isinstance(tool, dict) else to_json(tool)),)
        ):
            definitions.setdefault(definition.name, definition)
    return tuple(definitions.values())
