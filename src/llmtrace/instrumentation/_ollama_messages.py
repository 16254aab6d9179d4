"""Ollama's requests and answers, as JSON or as the SDK's models, in llmtrace's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmtrace.content import to_json
from llmtrace.instrumentation._memo import all_known, known_tools
from llmtrace.instrumentation._openai_messages import read_tool_call
from llmtrace.instrumentation._provider import Fields
from llmtrace.instrumentation._stainless import members
from llmtrace.model import Blob, JsonValue, Message, Part, Reasoning, Text, ToolCall, ToolDefinition, ToolResult, Usage
from llmtrace.validation.tool_definitions import read_definition

_OPTIONS = {"num_predict": "max_tokens", "stop": "stop_sequences"}
"""Ollama's name of an option to the conventions' name, where they differ."""
_NO_PARAMETERS = ("model", "messages", "prompt", "system", "images", "tools", "stream", "options", "format", "context")


def read_chat(sent: Mapping[str, Any]) -> Fields:
    """The fields of a request of ``chat``: what is sent, as JSON."""
    fields: Fields = {"parameters": _parameters(sent)}
    fields["input"] = all_known(sent.get("messages") or (), read_message)
    if sent.get("tools"):
        fields["tools"] = known_tools(sent["tools"], _read_tools)
    return fields


def read_prompt(sent: Mapping[str, Any]) -> Fields:
    """The fields of a request of ``generate``."""
    asked = {"role": "user", "content": sent.get("prompt"), "images": sent.get("images")}
    system = sent.get("system")
    return {
        "parameters": _parameters(sent),
        "system": (Text(system),) if isinstance(system, str) and system else (),
        "input": (read_message(asked),),
    }


def _read_tools(raw: Any) -> tuple[ToolDefinition, ...]:
    return tuple([read_definition(tool) for tool in raw])


def _parameters(sent: Mapping[str, Any]) -> dict[str, JsonValue]:
    options = members(sent.get("options") or {})
    found = {_OPTIONS.get(name, name): to_json(value) for name, value in options.items() if value is not None}
    found.update({name: to_json(value) for name, value in sent.items() if name not in _NO_PARAMETERS})
    if isinstance(found.get("think"), str):
        found["reasoning.level"] = found.pop("think")
    if isinstance(found.get("stop_sequences"), str):
        found["stop_sequences"] = [found["stop_sequences"]]
    form = sent.get("format")
    if isinstance(form, Mapping):
        found["response_format"] = {"type": "json_schema", "json_schema": {"schema": to_json(form)}}
    elif form:
        found["response_format"] = {"type": "json_object"}
    return found


def read_message(raw: Any, finish_reason: str | None = None) -> Message:
    said = members(raw)
    role = str(to_json(said.get("role")) or "unknown")
    if role == "tool":
        return Message(role, (ToolResult(said.get("content")),), said.get("tool_name"), cache={})
    return Message(role, tuple(_parts(said)), finish_reason=finish_reason, cache={})


def _parts(said: Mapping[str, Any]) -> Iterator[Part]:
    if said.get("thinking"):
        yield Reasoning(said["thinking"])
    if said.get("content"):
        yield Text(said["content"])
    for image in said.get("images") or ():
        yield Blob("image", None, image if isinstance(image, str) else None)
    for call in said.get("tool_calls") or ():
        yield read_tool_call(call)


# -- answers


def finish_of(reason: str | None, *, calls: bool) -> str | None:
    """Ollama says ``stop`` for tool calls too."""
    return "tool_call" if calls and reason == "stop" else reason


def read_usage(said: Mapping[str, Any]) -> Usage | None:
    counts = said.get("prompt_eval_count"), said.get("eval_count")
    return None if counts == (None, None) else Usage(*counts)


class AnswerReader:
    """`Reader` of an answer in pieces; a whole answer is one piece."""

    __slots__ = ("_calls", "_last", "_model", "_role", "_text", "_thought")

    def __init__(self) -> None:
        self._role = "assistant"
        self._model: str | None = None
        self._text: list[str] = []
        self._thought: list[str] = []
        self._calls: list[ToolCall] = []
        self._last: Mapping[str, Any] = {}

    def feed(self, chunk: Any) -> None:
        said = members(chunk)
        message = members(said.get("message") or {"content": said.get("response"), "thinking": said.get("thinking")})
        self._model = said.get("model") or self._model
        self._role = message.get("role") or self._role
        self._text.append(message.get("content") or "")
        self._thought.append(message.get("thinking") or "")
        self._calls += [read_tool_call(call) for call in message.get("tool_calls") or ()]
        if said.get("done"):
            self._last = said

    def fields(self) -> Fields:
        finish = finish_of(self._last.get("done_reason"), calls=bool(self._calls))
        thought, text = "".join(self._thought), "".join(self._text)
        parts: list[Part] = [Reasoning(thought)] if thought else []
        parts += [Text(text)] if text else []
        fields: Fields = {
            "response_model": self._model,
            "usage": read_usage(self._last),
        }
        if self._text:  # of each chunk
            fields["output"] = (Message(self._role, (*parts, *self._calls), finish_reason=finish),)
        if self._last:
            fields["finish_reasons"] = (finish or "error",)
            fields["partial"] = False
        return fields
