"""OpenAI's Responses API: ``client.responses`` (create, parse, stream), and fetching a response by its id.

An answer is one message, made of all its items in their order; a request's input is one message an item.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmtrace import semconv
from llmtrace.content import to_json
from llmtrace.instrumentation import _stainless
from llmtrace.instrumentation._failures import failure_reported
from llmtrace.instrumentation._memo import all_known, known_tools
from llmtrace.instrumentation._openai_endpoint import Generation
from llmtrace.instrumentation._openai_events import EventReader
from llmtrace.instrumentation._openai_items import RAN_BY_PROGRAM, content_parts, item_parts, read_item
from llmtrace.instrumentation._openai_messages import read_beside, read_usage
from llmtrace.instrumentation._openai_parameters import NOT_OF_THE_REQUEST, read_parameters
from llmtrace.instrumentation._openai_vendors import provider_of
from llmtrace.instrumentation._provider import Call, Fields
from llmtrace.instrumentation._stainless import is_given, members, server_of
from llmtrace.model import FetchResponse, Message, Part, ToolDefinition, Usage
from llmtrace.validation.tool_definitions import read_definition

_NAMES = {"max_output_tokens": "max_tokens"}
_LEFT_OUT = NOT_OF_THE_REQUEST | {"input", "instructions", "previous_response_id", "text_format", "parse_as"}

_CUT = {"max_output_tokens": "length"}
"""Why an answer is incomplete: OpenAI's word to the conventions' word, where they differ."""
_WAITING = frozenset({"queued", "in_progress"})
_LOADING = frozenset({"additional_tools", "tool_search_output"})
"""Kinds of items that put more tools on offer."""


class Responses(Generation):
    """The endpoint that makes a response, or a compaction of what was said."""

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        asked, tools, earlier = kwargs.get("input"), kwargs.get("tools"), kwargs.get("previous_response_id")
        fields: Fields = {
            "parameters": _parameters(kwargs),
            "system": tuple(_system(kwargs.get("instructions"))),
            "previous_response_id": earlier if isinstance(earlier, str) else None,
            "attributes": _conversation(kwargs.get("conversation")),
        }
        one_shot = isinstance(kwargs.get("text_format"), type)
        if isinstance(asked, str):
            fields["input"] = all_known(({"role": "user", "content": asked},), read_item)
        elif isinstance(asked, (list, tuple)):
            fields["input"] = all_known(asked, read_item)
        elif asked is not None and is_given(asked):  # an iterator, which is the SDK's to consume
            one_shot = True
        if tools is None or not is_given(tools):
            tools = ()
        if isinstance(tools, (list, tuple)):
            offered = [*tools, *_loaded(asked)]
            fields["tools"] = known_tools(offered, _read_tools) if offered else ()
        else:
            one_shot = True
        return fields, one_shot

    def answer(self, result: Any) -> Fields:
        return read_response(members(result))

    def settle(self, call: Call, result: Any) -> Any:
        return _stainless.settle(self, call, result, lambda: EventReader(read_response))


class FetchedResponses(Responses):
    """The endpoint that fetches a response which was made before, whole or as a stream."""

    makes = FetchResponse

    def outline(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        host, port = server_of(client)
        asked = kwargs.get("response_id")
        response_id = asked if isinstance(asked, str) else None
        return {"provider": provider_of(client, host), "response_id": response_id, "server_address": host, "server_port": port}

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        after = kwargs.get("starting_after")
        return {"attributes": {semconv.REQUEST_STREAM_CURSOR: str(after)} if isinstance(after, int) else None}, False


def read_response(said: Mapping[str, Any]) -> Fields:
    """The fields of an answer, as far as it has come."""
    items = said.get("output") or ()
    status = said.get("status")
    reason = _finish_reason(said, status, items)
    fields: Fields = {
        "response_id": said.get("id"),
        "response_model": said.get("model"),
        "status": status,
        "usage": read_response_usage(said.get("usage")),
        "output": _output(items, reason),
        "finish_reasons": () if reason is None else (reason,),
    }
    if said.get("error"):
        fields["failure"] = failure_reported(members(said["error"]))
    beside = read_beside(said)
    attributes = {**beside.pop("attributes", {}), **(_conversation(said.get("conversation")) or {})}
    return {**fields, **beside, "attributes": attributes} if attributes else {**fields, **beside}


def _output(items: Any, reason: str | None) -> tuple[Message, ...]:
    """One message, without what a compaction keeps of the user. None where nothing came and nothing is known to have ended."""
    said = [item for item in items if members(item).get("role") != "user"]
    parts: tuple[Part, ...] = tuple([part for item in said for part in item_parts(item)])
    if not parts and reason in (None, "error"):
        return ()
    return (Message("assistant", parts, finish_reason=reason),)


def _finish_reason(said: Mapping[str, Any], status: Any, items: Any) -> str | None:
    """In the conventions' words; None while the answer is not finished."""
    if status in _WAITING:
        return None
    if status == "incomplete":
        cut = members(said.get("incomplete_details")).get("reason")
        return _CUT.get(cut, cut) if isinstance(cut, str) else "length"
    if status in ("failed", "cancelled"):
        return "error"
    return "tool_call" if any(members(item).get("type") in RAN_BY_PROGRAM for item in items) else "stop"


def read_response_usage(raw: Any) -> Usage | None:
    """Token counts as billed: input includes cached, output includes reasoning."""
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


def _conversation(given: Any) -> dict[str, Any] | None:
    """A conversation is an id, or an object with one; the SDK's mark for nothing given is neither."""
    found = given if isinstance(given, str) else members(given).get("id")
    return {semconv.CONVERSATION_ID: found} if isinstance(found, str) else None


def _system(instructions: Any) -> Iterator[Part]:
    if isinstance(instructions, str):
        yield from content_parts(instructions)
    elif isinstance(instructions, (list, tuple)):
        for item in instructions:
            yield from item_parts(item)


def _parameters(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    found = read_parameters(kwargs, _NAMES, _LEFT_OUT)
    reasoning = found.get("reasoning")
    if isinstance(reasoning, dict) and isinstance(reasoning.get("effort"), str):
        found["reasoning.level"] = reasoning.pop("effort")
        if not reasoning:
            del found["reasoning"]
    return found


# -- tools


def _loaded(asked: Any) -> Iterator[Any]:
    """Definitions that stand in the input: found by a tool search, or added on the way."""
    for item in asked if isinstance(asked, (list, tuple)) else ():
        said = members(item)
        if said.get("type") in _LOADING:
            yield from said.get("tools") or ()


def _read_tools(raw: Any) -> tuple[ToolDefinition, ...]:
    """All that may be called by name, each once; a namespace is the tools in it."""
    found: dict[str, ToolDefinition] = {}
    for tool in raw:
        said = members(tool)
        inner = said.get("tools") if said.get("type") == "namespace" else None
        for one in _read_tools(inner) if inner else (read_definition(tool if isinstance(tool, dict) else to_json(tool)),):
            found.setdefault(one.name, one)
    return tuple(found.values())
