"""Older versions of the official GenAI conventions, and the additional names of frameworks that follow them.

Known by former names (``gen_ai.system``, ``gen_ai.usage.prompt_tokens`` …), by messages in events, and by names of Pydantic AI,
Strands and Google ADK. All are translated to today's names, which `codec.genai` then reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmtrace import semconv as sc
from llmtrace.codec import json_members, json_text, messages
from llmtrace.codec.dialects import _former_names, _shapes
from llmtrace.codec.dialects._dialect import Dialect, SpanReader
from llmtrace.codec.json_text import parsed
from llmtrace.model import AgentInvocation, Custom, Message, Operation, RawSpan

_PYDANTIC: Final = ("model_request_parameters", "pydantic_ai.all_messages", "all_messages_events")
_ADK_REQUEST, _ADK_RESPONSE = "gcp.vertex.agent.llm_request", "gcp.vertex.agent.llm_response"
_ADK_ARGUMENTS, _ADK_RESULT = "gcp.vertex.agent.tool_call_args", "gcp.vertex.agent.tool_response"
_ADK_EVENT = "gcp.vertex.agent.event_id"
_ADK_MERGED = "(merged tools)"
"""ADK's name for the span of the event that merges several tool results. No tool runs in it."""
_MARKS: Final = frozenset(
    {
        *_former_names.FORMER,
        *_former_names.TEXTS,
        *_PYDANTIC,
        _ADK_REQUEST,
        _ADK_RESPONSE,
        _ADK_ARGUMENTS,
        _ADK_RESULT,
        _ADK_EVENT,
        "gen_ai.tool.json_schema",
    }
)
_TOKENS: Final = (sc.USAGE_INPUT_TOKENS, sc.USAGE_OUTPUT_TOKENS)


class OlderGenAI(Dialect):
    name = "older_genai"
    marks = _MARKS | _former_names.EVENTS

    def knows(self, raw: RawSpan) -> bool:
        if not _MARKS.isdisjoint(raw.attributes):
            return sc.SAME_CALL not in raw.attributes
        return any(event.name in _former_names.EVENTS for event in raw.events)

    def read(self, reader: SpanReader) -> Operation | None:
        _former_names.use_current_names(reader)
        _adk(reader)
        if sc.OPERATION_NAME not in reader.rest:
            name = _operation(reader)
            if name is not None:
                reader.rest[sc.OPERATION_NAME] = name
        _add_offered_tools(reader)
        if _ADK_EVENT in reader.rest and reader.rest.get(sc.TOOL_NAME) == _ADK_MERGED:
            return Custom()
        if reader.rest.get(sc.OPERATION_NAME) == sc.INVOKE_AGENT:
            return _agent(reader)
        return None


def _operation(reader: SpanReader) -> str | None:
    """Return the operation's name for a span that does not name it, judged by its other attributes."""
    rest = reader.rest
    if sc.TOOL_NAME in rest and (sc.TOOL_CALL_ID in rest or sc.TOOL_CALL_ARGUMENTS in rest):
        return sc.EXECUTE_TOOL
    if sc.REQUEST_MODEL in rest and (sc.PROVIDER_NAME in rest or any(key in rest for key in _TOKENS)):
        return sc.CHAT
    return None


def _add_offered_tools(reader: SpanReader) -> None:
    """Take the offered tools out of Pydantic AI's request parameters, unless an attribute holds them already."""
    parameters = parsed(reader.rest.get("model_request_parameters"))
    if not isinstance(parameters, Mapping):
        return
    tools = [tool for name in ("function_tools", "output_tools") for tool in json_members.objects(parameters, name)]
    if tools and sc.TOOL_DEFINITIONS not in reader.rest:
        reader.rest[sc.TOOL_DEFINITIONS] = json_text.write(tools)
    del reader.rest["model_request_parameters"]


def _agent(reader: SpanReader) -> Operation | None:
    """Read an agent's input and output from the whole conversation that Pydantic AI records on its span."""
    items = parsed(reader.rest.get("pydantic_ai.all_messages") or reader.rest.get("all_messages_events"))
    if not isinstance(items, list) or sc.INPUT_MESSAGES in reader.rest:
        return None
    conversation = tuple(map(_read_message, items))
    answers = [number for number, message in enumerate(conversation) if message.role == "assistant"]
    first = answers[0] if answers else len(conversation)
    final = reader.rest.pop("final_result", None)
    output = _shapes.of_text("assistant", final) or tuple([conversation[number] for number in answers[-1:]])
    reader.drop("pydantic_ai.all_messages", "all_messages_events")
    reader.drop("logfire.json_schema")
    return AgentInvocation(reader.text(sc.AGENT_NAME, "agent_name") or "", input=conversation[:first], output=output)


def _read_message(item: Any) -> Message:
    """Read a message, or an event that holds one (``event.name``: ``gen_ai.user.message`` …)."""
    if isinstance(item, Mapping) and "event.name" in item:
        return _former_names.message_of(item)
    return messages.read_message(item, "user")


# -- Google ADK, whose requests and responses are those of Gemini


def _adk(reader: SpanReader) -> None:
    rest = reader.rest
    if rest.get("gcp.vertex.agent.session_id"):
        reader.rename({"gcp.vertex.agent.session_id": sc.CONVERSATION_ID})
    arguments, result = parsed(rest.get(_ADK_ARGUMENTS)), parsed(rest.get(_ADK_RESULT))
    if isinstance(arguments, Mapping) and sc.TOOL_NAME in rest and sc.TOOL_CALL_ARGUMENTS not in rest:
        rest[sc.TOOL_CALL_ARGUMENTS] = rest.pop(_ADK_ARGUMENTS)
        if isinstance(result, (Mapping, list)):
            rest[sc.TOOL_CALL_RESULT] = rest.pop(_ADK_RESULT)
    request, response = parsed(rest.get(_ADK_REQUEST)), parsed(rest.get(_ADK_RESPONSE))
    if isinstance(request, Mapping) and request:
        _gemini_request(reader, request)
    if isinstance(response, Mapping) and isinstance(response.get("content"), Mapping) and sc.OUTPUT_MESSAGES not in rest:
        rest[sc.OUTPUT_MESSAGES] = messages.write_messages([messages.read_message(response["content"], "user")])
        del rest[_ADK_RESPONSE]


def _gemini_request(reader: SpanReader, request: Mapping[str, Any]) -> None:
    rest = reader.rest
    config = json_members.object_(request, "config")
    if isinstance(request.get("contents"), list) and sc.INPUT_MESSAGES not in rest:
        input_messages = _shapes.of_items(json_members.objects(request, "contents"), "user")
        rest[sc.INPUT_MESSAGES] = messages.write_messages(input_messages)
    system = config.get("system_instruction")
    if isinstance(system, str) and sc.SYSTEM_INSTRUCTIONS not in rest:
        rest[sc.SYSTEM_INSTRUCTIONS] = json_text.write([{"type": "text", "content": system}])
    groups = json_members.objects(config, "tools")
    functions = [item for group in groups for item in json_members.objects(group, "function_declarations")]
    if functions and sc.TOOL_DEFINITIONS not in rest:
        rest[sc.TOOL_DEFINITIONS] = json_text.write(functions)
    del rest[_ADK_REQUEST]


DIALECT = OlderGenAI()
