"""Messages and their parts in the shapes of APIs and frameworks whose spans are read: OpenAI, Anthropic, Bedrock, Vercel,
LangChain.

`codec.messages` reads the shapes of the conventions, OpenAI and Anthropic; this file adds the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from llmtrace.codec import json_members, messages, parts
from llmtrace.codec.dialects._dialect import parsed
from llmtrace.model import Blob, Generic, JsonValue, Message, Part, Reasoning, Text, ToolCall, ToolResult, Uri

ROLES = {"human": "user", "ai": "assistant", "model": "assistant"}


def of_text(role: str, text: JsonValue) -> tuple[Message, ...]:
    """Return one message with this text or other content; an empty tuple for empty content."""
    if text is None or text == "":
        return ()
    return (Message(role, (Text(text) if isinstance(text, str) else Generic("", {"content": text}),)),)


def of_items(items: Sequence[JsonValue], role: str) -> tuple[Message, ...]:
    return tuple([of_item(item, role) for item in items])


def of_item(item: JsonValue, role: str) -> Message:
    """Read a message. ``role``: for a message that names none."""
    if _is_pair(item):
        item = {"role": item[0], "content": item[1]}
    if not isinstance(item, Mapping) or isinstance(item.get("parts"), list):
        return (messages.read_messages([item], role) or (Message(role, ()),))[0]
    serialised = of_langchain(item)
    if serialised is not None:
        return serialised
    if "role" not in item and _is_response_item(item):
        return _ITEMS[item["type"]](item)
    item = _with_arguments(item)
    item_role = item.get("role")
    role = ROLES.get(item_role, item_role) if isinstance(item_role, str) else role
    content = item.get("content")
    if isinstance(content, (list, tuple)) and role != "tool":
        content = [as_part(part) for part in content]
        base = messages.read_messages([{**item, "role": role, "content": None}], role) or (Message(role, ()),)
        return Message(role, (*content, *base[0].parts), base[0].name, base[0].finish_reason)
    if role == "tool" and isinstance(content, (list, tuple)) and not isinstance(item.get("tool_call_id"), str):
        return Message(role, tuple(as_part(part) for part in content))
    return (messages.read_messages([{**item, "role": role}], role) or (Message(role, ()),))[0]


def _with_arguments(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the message with the tool calls of LangChain or the AI SDK in the conventions' shape."""
    calls = item.get("tool_calls") or item.get("toolCalls")
    if not isinstance(calls, list) or not any(isinstance(call, Mapping) and _ARGUMENTS & set(call) for call in calls):
        return item
    return {**item, "tool_calls": [_plain_call(call) for call in calls]}


_ARGUMENTS = {"args", "toolName"}


def _plain_call(call: JsonValue) -> JsonValue:
    if not isinstance(call, Mapping) or not _ARGUMENTS & set(call):
        return call
    arguments = next((call[name] for name in ("input", "args", "arguments") if name in call), None)
    name, call_id = json_members.text(call, "toolName", "name"), json_members.text(call, "toolCallId", "id")
    return {"type": "tool_call", "id": call_id, "name": name or "", "arguments": arguments}


# -- items of OpenAI's Responses API other than messages


def _called_item(item: Mapping[str, Any]) -> Message:
    arguments = parts.arguments(item.get("arguments", item.get("input")))
    call = ToolCall(json_members.text(item, "name") or "", arguments, json_members.text(item, "call_id", "id"))
    return Message("assistant", (call,))


def _result_item(item: Mapping[str, Any]) -> Message:
    return Message("tool", (ToolResult(unwrap_result(item.get("output")), json_members.text(item, "call_id", "id")),))


def _reasoning_item(item: Mapping[str, Any]) -> Message:
    pieces = json_members.objects(item, "summary") or json_members.objects(item, "content")
    texts = [json_members.text(piece, "text") for piece in pieces]
    return Message("assistant", tuple([Reasoning(text) for text in texts if text]))


_ITEMS = {
    "function_call": _called_item,
    "custom_tool_call": _called_item,
    "function_call_output": _result_item,
    "function_call_result": _result_item,
    "custom_tool_call_output": _result_item,
    "reasoning": _reasoning_item,
}


def of_answer(answer: JsonValue) -> tuple[Message, ...]:
    """Read an answer: a text, a message, a list of messages, or the items of one response, which become one message."""
    if not isinstance(answer, list):
        return (of_item(answer, "assistant"),) if isinstance(answer, Mapping) else of_text("assistant", answer)
    output = of_items(answer, "assistant")
    if all(isinstance(item, Mapping) and isinstance(item.get("type"), str) for item in answer) and output:
        return (Message("assistant", tuple([part for message in output for part in message.parts])),)
    return output


def of_conversation(items: Sequence[JsonValue], role: str) -> tuple[Message, ...]:
    """Read messages. A plain text is a message of ``role``."""
    read = [of_text(role, item) if isinstance(item, (str, type(None))) else (of_item(item, role),) for item in items]
    return tuple([message for messages_of_item in read for message in messages_of_item])


def of_values(value: JsonValue, role: str) -> tuple[Message, ...]:
    """Read the input or output of an agent: a text, a list of messages, or an object that holds one of these."""
    if isinstance(value, Mapping):
        for name in ("messages", "output", "text", "content", "input", "prompt"):
            if (
                isinstance(value.get(name), (str, list))
                and (name == "messages" or value[name])
                and not {"role", "lc"} & set(value)
            ):
                return of_values(value[name], role)
        return (of_item(value, role),) if {"role", "lc"} & set(value) else of_text(role, value)
    if isinstance(value, list) and value and all(is_message(item) for item in value):
        return of_items(value, role)
    return of_text(role, value)


def is_message(item: JsonValue) -> bool:
    """Return True for a message in a shape that `of_item` knows."""
    if not isinstance(item, Mapping):
        return _is_pair(item)
    return "role" in item or "lc" in item or _is_response_item(item) or _is_langchain_dump(item)


def _is_pair(item: JsonValue) -> TypeGuard[Sequence[str]]:
    """Return True for LangChain's short form of a message, ``["user", "Hi"]``."""
    if not isinstance(item, (list, tuple)) or len(item) != 2 or not all(isinstance(part, str) for part in item):
        return False
    return item[0] in _PAIR_ROLES


def _is_response_item(item: Mapping[str, Any]) -> bool:
    kind = item.get("type")
    return isinstance(kind, str) and kind in _ITEMS


def as_part(item: JsonValue) -> Part:
    """Read a part of a message's content."""
    if not isinstance(item, Mapping):
        return parts.read(item)
    kind = item.get("type")
    if kind is None:
        return _bedrock(item) or parts.read(item)
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    part = reader(item) if reader is not None else None
    return part if part is not None else parts.read(item)


def _bedrock(item: Mapping[str, Any]) -> Part | None:
    """Read a part of Bedrock's Converse API. It has no type; the name of its only member is its kind."""
    text, call, result = item.get("text"), item.get("toolUse"), item.get("toolResult")
    if isinstance(text, str):
        return Text(text)
    if isinstance(call, Mapping):
        return _bedrock_call(call)
    if isinstance(result, Mapping):
        return _bedrock_result(result)
    reasoning = json_members.object_(item, "reasoningContent").get("reasoningText")
    return Reasoning(str(reasoning.get("text", ""))) if isinstance(reasoning, Mapping) else None


def _bedrock_call(item: Mapping[str, Any]) -> Part:
    arguments = parts.arguments(item.get("input"))
    return ToolCall(json_members.text(item, "name") or "", arguments, json_members.text(item, "toolUseId"))


def _bedrock_result(item: Mapping[str, Any]) -> Part:
    return ToolResult(unwrap_result(item.get("content")), json_members.text(item, "toolUseId"))


_LANGCHAIN_ROLES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool", "function": "tool"}
_PAIR_ROLES = frozenset({"user", "human", "ai", "assistant", "system"})


def langchain_fields(item: JsonValue) -> Mapping[str, Any] | None:
    """Return the fields of an object that LangChain serialised: ``{"lc": 1, "id": [… class], "kwargs": {…}}``; else None."""
    if not isinstance(item, Mapping) or "lc" not in item:
        return None
    fields = item.get("kwargs")
    return fields if isinstance(fields, Mapping) else None


def of_langchain(item: JsonValue) -> Message | None:
    """Read a message that LangChain serialised or dumped. Returns None for anything else."""
    if not isinstance(item, Mapping):
        return None
    fields = item if _is_langchain_dump(item) else langchain_fields(item)
    if fields is None:
        return None
    path = item.get("id")
    name = path[-1] if isinstance(path, list) and path and isinstance(path[-1], str) else str(item.get("type"))
    calls = [
        {"type": "tool_call", "id": call.get("id"), "name": call.get("name"), "arguments": call.get("args")}
        for calls in (fields.get("tool_calls"), fields.get("invalid_tool_calls"))  # the latter's arguments are not JSON
        for call in (calls if isinstance(calls, list) else ())
        if isinstance(call, Mapping)
    ]
    message = {"content": fields.get("content") or None, "tool_call_id": fields.get("tool_call_id"), "tool_calls": calls}
    return of_item(message, _LANGCHAIN_ROLES.get(name.partition("Message")[0].lower(), "user"))


def _is_langchain_dump(item: Mapping[str, Any]) -> bool:
    """Return True for a message of LangChain as ``model_dump()`` writes it: ``{"type": "human", "content": …, …}``."""
    kind = item.get("type")
    is_known = isinstance(kind, str) and kind.partition("Message")[0].lower() in _LANGCHAIN_ROLES
    return is_known and "content" in item and "additional_kwargs" in item and "role" not in item


def of_gemini(content: Mapping[str, Any]) -> Message:
    """Read a content of Google's API: a role and parts without types."""
    role = json_members.text(content, "role") or "user"
    return Message(ROLES.get(role, role), tuple(map(_gemini, json_members.objects(content, "parts"))))


def _gemini(item: Mapping[str, Any]) -> Part:
    text = item.get("text")
    call, response = item.get("function_call"), item.get("function_response")
    if isinstance(text, str):
        return Reasoning(text) if item.get("thought") is True else Text(text)
    if isinstance(call, Mapping):
        return ToolCall(json_members.text(call, "name") or "", call.get("args") or {}, json_members.text(call, "id"))
    if isinstance(response, Mapping):
        return ToolResult(response.get("response"), json_members.text(response, "id"))
    return Generic("", dict(item))


def unwrap_result(content: JsonValue) -> JsonValue:
    """Unwrap a tool's result: a list of one text becomes that text, a list of one JSON value that value."""
    if isinstance(content, (list, tuple)) and len(content) == 1 and isinstance(content[0], Mapping):
        only = content[0]
        if isinstance(only.get("text"), str) and set(only) <= {"text", "type"}:
            return parsed(only["text"])
        if set(only) == {"json"}:
            return only["json"]
    return content


def vercel_call(item: Mapping[str, Any]) -> Part:
    arguments = parts.arguments(item.get("input", item.get("args")))
    return ToolCall(json_members.text(item, "toolName") or "", arguments, json_members.text(item, "toolCallId"))


def _vercel_result(item: Mapping[str, Any]) -> Part:
    output = item.get("output", item.get("result"))
    if isinstance(output, Mapping) and isinstance(output.get("type"), str) and "value" in output:
        output = output["value"]
    return ToolResult(output, json_members.text(item, "toolCallId"))


def _image(item: Mapping[str, Any]) -> Part | None:
    """Read Vercel's ``image`` or OpenInference's ``image.image.url``."""
    image = item.get("image")
    for _ in range(2):
        image = image.get("url", image.get("image")) if isinstance(image, Mapping) else image
    if not isinstance(image, str):
        return None
    if image.startswith(("http:", "https:")):
        return Uri(image, "image", json_members.text(item, "mimeType", "mediaType"))
    if image.startswith("data:"):
        return parts.read({"type": "image_url", "image_url": image})
    return Blob("image", json_members.text(item, "mimeType", "mediaType"), image)


def _reasoning(item: Mapping[str, Any]) -> Part | None:
    text = json_members.text(item, "text", "content", "thinking")
    return None if text is None else Reasoning(text)


_READERS = {
    "tool-call": vercel_call,
    "tool-result": _vercel_result,
    "toolUse": _bedrock_call,
    "toolResult": _bedrock_result,
    "image": _image,
    "reasoning": _reasoning,
    "thinking": _reasoning,
}
