"""Writes messages, system instructions and tool definitions as JSON text and reads them back.

Law: reading gives equal values, from the JSON text as from the structured value (a list of dicts). A message or definition with
a ``cache`` keeps its text there: a conversation that is sent again with each turn is serialised once. Messages and tool
definitions of other writers may have the shape of any provider's or framework's API.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from llmtrace.codec import json_members, json_text, message_cache, parts
from llmtrace.model import (
    Generic,
    JsonValue,
    Message,
    Part,
    Reasoning,
    Text,
    ToolDefinition,
    ToolResult,
    changes_by_hints,
    trusted_by_hints,
)

_CACHE_KEY: Final = "codec.messages"
"""Key of the JSON text in the cache of a message or tool definition."""


def write_parts(system: Iterable[Part]) -> str:
    """Write system instructions as a JSON array."""
    return f"[{','.join([parts.write(part) for part in system])}]"


def _cached(value: Any, write: Callable[[Any], str]) -> str:
    cache = value.cache
    text: str | None = None if cache is None else cache.get(_CACHE_KEY)
    if text is None:
        text = write(value)
        if cache is not None:
            cache[_CACHE_KEY] = text
    return text


def write_message(message: Message) -> str:
    """Write one message as a JSON object."""
    return _cached(message, _write_message)


def write_definition(tool: ToolDefinition) -> str:
    """Write one tool definition as a JSON object."""
    return _cached(tool, _write_definition)


def write_messages(items: Iterable[Message]) -> str:
    """Write messages as a JSON array."""
    return f"[{','.join([write_message(message) for message in items])}]"


def write_definitions(tools: Iterable[ToolDefinition]) -> str:
    """Write tool definitions as a JSON array."""
    return f"[{','.join([write_definition(tool) for tool in tools])}]"


_TEXT_MESSAGES: Final = {
    role: f'{{"role":"{role}","parts":[{{"type":"text","content":'
    for role in ("system", "developer", "user", "assistant", "tool")
}
"""The beginning of a message with one text part, by role."""


def _write_message(message: Message) -> str:
    message_parts = message.parts
    if len(message_parts) == 1 and type(message_parts[0]) is Text and message.name is None and message.finish_reason is None:
        head = _TEXT_MESSAGES.get(message.role)
        if head is not None:  # most messages are like this, and the longest ones are
            return f"{head}{json_text.write(message_parts[0].content)}}}]}}"
    item: dict[str, JsonValue] = {"role": message.role, "parts": [parts.item(part) for part in message_parts]}
    if message.name is not None:
        item["name"] = message.name
    if message.finish_reason is not None:
        item["finish_reason"] = message.finish_reason
    return json_text.write_plain(item) or _write_odd(item, message_parts)


def _write_odd(item: dict[str, JsonValue], message_parts: tuple[Part, ...]) -> str:
    """Write each part by itself, so that one that is not JSON does not affect the others."""
    members = [f"{json_text.write(name)}:{json_text.write(member)}" for name, member in item.items() if name != "parts"]
    members.insert(1, f'"parts":{write_parts(message_parts)}')
    return f"{{{','.join(members)}}}"


def _write_definition(tool: ToolDefinition) -> str:
    """Write a tool definition. The conventions allow members beside theirs: `strict`, `output`, `changes`, `polls` and
    `trusted`."""
    item: dict[str, JsonValue] = {
        "type": tool.type,
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict or None,
        "output": tool.output,
        "changes": tool.changes,
        "polls": tool.polls or None,
        "trusted": tool.trusted,
    }
    return json_text.write({name: member for name, member in item.items() if member is not None})


def read_list(value: JsonValue) -> list[JsonValue] | None:
    """Return the list in an attribute: structured, or JSON text. An object becomes a list with one item. Else None."""
    if isinstance(value, str):
        try:
            value = json_text.read(value)
        except ValueError:
            return None
    if type(value) is list:
        return value
    if isinstance(value, Mapping):
        return [value]
    return list(value) if isinstance(value, tuple) else None


def read_messages(value: JsonValue, role: str) -> tuple[Message, ...] | None:
    """Read the messages in an attribute. ``role``: for messages without one. Returns None if the value is not a list."""
    return message_cache.read_list(value, role, _read_messages)


def read_output(value: JsonValue) -> tuple[Message, ...] | None:
    """Read output messages, without the cache: later requests rarely repeat them unchanged."""
    return _read_messages(value, "assistant")


def _read_messages(value: JsonValue, role: str) -> tuple[Message, ...] | None:
    items = read_list(value)
    return None if items is None else tuple([read_message(item, role) for item in items])


def read_parts(value: JsonValue) -> tuple[Part, ...] | None:
    """Read the system instructions in an attribute. Returns None if the value is not a list."""
    return message_cache.read_once(value, _read_parts)


def _read_parts(value: JsonValue) -> tuple[Part, ...] | None:
    items = read_list(value)
    return None if items is None else tuple([parts.read(item) for item in items])


def read_definitions(value: JsonValue) -> tuple[ToolDefinition, ...] | None:
    """Read the tool definitions in an attribute. Returns None if the value is not a list of objects."""
    return message_cache.read_once(value, _read_definitions)


def _read_definitions(value: JsonValue) -> tuple[ToolDefinition, ...] | None:
    items = read_list(value)
    if items is None or not all(isinstance(item, Mapping) for item in items):
        return None
    return tuple([_read_definition(item) for item in items])


def read_message(item: JsonValue, role: str) -> Message:
    """Read a message in the shape of any API. ``role``: for a message without one."""
    if type(item) is not dict and not isinstance(item, Mapping):
        return Message(item[0], (Text(item[1]),)) if _is_pair(item) else Message(role, (parts.read(item),))
    if "role" not in item:
        inner, kind = item.get("message"), item.get("type")
        langchain = _langchain_message(item)
        if langchain is not None:
            return langchain
        if isinstance(inner, Mapping):  # one of the choices in an answer of OpenAI's API
            item = {"finish_reason": item.get("finish_reason"), **inner}
        elif isinstance(kind, str) and kind in _ITEM_ROLES:
            return Message(_ITEM_ROLES[kind], tuple(_item_parts(item)))
    item_role, item_parts = json_members.text(item, "role"), item.get("parts")
    read = map(parts.read, item_parts) if isinstance(item_parts, (list, tuple)) else _content_parts(item)
    return Message(
        role if item_role is None else item_role,
        tuple(read),
        json_members.text(item, "name"),
        json_members.text(item, "finish_reason"),
    )


def _content_parts(item: Mapping[str, JsonValue]) -> Iterable[Part]:
    """Read the parts of a message that has ``content`` and ``tool_calls`` instead."""
    content, call_id = item.get("content"), json_members.text(item, "tool_call_id")
    if call_id is not None:
        yield ToolResult(content, call_id)
    elif isinstance(content, (list, tuple)):
        yield from map(parts.read, content)
    elif content is not None:
        yield Text(content) if isinstance(content, str) else Generic("", {"content": content})
    for call in json_members.items(item, "tool_calls", "toolCalls"):
        is_call = isinstance(call, Mapping) and json_members.first(call, "function", "name", "toolName") is not None
        yield parts.call(call) if is_call else parts.read(call)
    former, refusal = item.get("function_call"), item.get("refusal")
    if isinstance(former, Mapping):  # OpenAI's API before it had parallel calls
        yield parts.call(former)
    if isinstance(refusal, str):
        yield Generic("refusal", {"refusal": refusal})


_ITEM_ROLES: Final = {
    **dict.fromkeys(("function_call", "custom_tool_call", "reasoning"), "assistant"),
    **dict.fromkeys(("function_call_output", "function_call_result", "custom_tool_call_output"), "tool"),
}
"""Items of OpenAI's Responses API other than messages, and who wrote them."""


def _item_parts(item: Mapping[str, JsonValue]) -> Iterable[Part]:
    if item["type"] != "reasoning":
        return [parts.read(item)]
    pieces = json_members.objects(item, "summary") or json_members.objects(item, "content")
    return [Reasoning(text) for piece in pieces if (text := json_members.text(piece, "text"))]


_PAIR_ROLES: Final = frozenset({"user", "human", "ai", "assistant", "system"})


def _is_pair(item: Any) -> bool:
    """Return True for LangChain's short form of a message, ``["user", "Hi"]``."""
    is_pair = isinstance(item, (list, tuple)) and len(item) == 2 and all(isinstance(text, str) for text in item)
    return is_pair and item[0] in _PAIR_ROLES


_LANGCHAIN_ROLES: Final = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool", "function": "tool"}


def langchain_fields(item: JsonValue) -> Mapping[str, Any] | None:
    """Return the fields of an object of LangChain: serialised (``{"lc": 1, "id": [… class], "kwargs": {…}}``) or a message that
    ``model_dump()`` wrote (``{"type": "human", "content": …, "additional_kwargs": …}``). Returns None for anything else."""
    if not isinstance(item, Mapping):
        return None
    if "lc" in item:
        return item["kwargs"] if isinstance(item.get("kwargs"), Mapping) else None
    is_dump = "additional_kwargs" in item and "content" in item and _langchain_role(item.get("type")) is not None
    return item if is_dump else None


def _langchain_role(class_name: JsonValue) -> str | None:
    return _LANGCHAIN_ROLES.get(class_name.partition("Message")[0].lower()) if isinstance(class_name, str) else None


def _langchain_message(item: Mapping[str, Any]) -> Message | None:
    fields, path = langchain_fields(item), item.get("id")
    if fields is None:
        return None
    calls = [*json_members.items(fields, "tool_calls"), *json_members.items(fields, "invalid_tool_calls")]
    message = {"content": fields.get("content") or None, "tool_call_id": fields.get("tool_call_id"), "tool_calls": calls}
    class_name = path[-1] if isinstance(path, list) and path and isinstance(path[-1], str) else item.get("type")
    return Message(_langchain_role(class_name) or "user", tuple(_content_parts(message)))


def is_message(item: JsonValue) -> bool:
    """Return True for a message in a shape that names its role or its API."""
    if not isinstance(item, Mapping):
        return _is_pair(item)
    kind = item.get("type")
    is_item = isinstance(kind, str) and kind in _ITEM_ROLES
    return "role" in item or "lc" in item or is_item or langchain_fields(item) is not None


def _read_definition(item: Mapping[str, JsonValue]) -> ToolDefinition:
    kind = json_members.text(item, "type")
    item = json_members.object_(item, "function", "toolSpec") or item
    schema = item.get("inputSchema")
    if isinstance(schema, Mapping):  # the AI SDK and Bedrock wrap it
        schema = schema.get("jsonSchema") or schema.get("json") or schema
    parameters = json_members.first(item, "parameters_json_schema", "parameters", "input_schema")
    name, changes, trusted = json_members.text(item, "name"), item.get("changes"), item.get("trusted")
    return ToolDefinition(
        name=name if name is not None else kind or "",  # a provider's built-in tool has only a type
        parameters=schema if parameters is None else parameters,
        description=json_members.text(item, "description"),
        type=kind if kind is not None else "function",
        strict=item.get("strict") is True,
        output=json_members.first(item, "output", "outputSchema"),
        changes=changes if isinstance(changes, bool) else changes_by_hints(item.get("annotations")),
        polls=item.get("polls") is True,
        trusted=trusted if isinstance(trusted, bool) else trusted_by_hints(item.get("annotations")),
    )
