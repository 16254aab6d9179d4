"""Reads the answer and the usage from the return value of any model client.

Known forms: OpenAI (chat completions and responses), Anthropic, Google, Ollama and compatible ones. Any other value is the
answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from llmtrace.codec.fields import as_count
from llmtrace.codec.messages import read_output
from llmtrace.content import to_json
from llmtrace.model import JsonValue, Usage

_USAGE = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "prompt_token_count": "input_tokens",
    "candidates_token_count": "output_tokens",
    "prompt_eval_count": "input_tokens",
    "eval_count": "output_tokens",
}
"""Our names of token counts, by the names that other clients use."""
_OURS = tuple(field.name for field in fields(Usage))


def answer_of(completion: object) -> JsonValue:
    """Return the answer of a completion: its text, else the arguments of its first tool call, else the value as JSON.

    Never raises.
    """
    if isinstance(completion, str):
        return completion
    value = to_json(completion)
    message = _message_of(value)
    if message is None:
        return value
    for read in read_output([message]) or ():
        text, calls = read.text(), read.tool_calls()
        if text or not calls:
            return text
        return calls[0].arguments
    return value


def _message_of(value: JsonValue) -> JsonValue:
    """Return the first message of a completion in a form that `read_output` reads; None if the value is not a completion."""
    if not isinstance(value, Mapping):
        return None
    for choices in (value.get("choices"), value.get("candidates")):
        if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
            return _message_of(choices[0]) or {"content": choices[0].get("text")}
    output = value.get("output")
    if isinstance(output, list):
        return {"content": [part for item in output if isinstance(item, Mapping) for part in _response_parts(item)]}
    for name in ("message", "content"):
        inner = value.get(name)
        if isinstance(inner, Mapping):
            parts = inner.get("parts")
            return {"content": [*map(_google_part, parts)]} if isinstance(parts, list) else inner
    return value if "role" in value and "content" in value else None


def _google_part(part: JsonValue) -> JsonValue:
    call = part.get("function_call") if isinstance(part, Mapping) else None
    if isinstance(call, Mapping):
        return {"type": "tool_use", "id": None, "name": call.get("name"), "input": call.get("args")}
    is_text = isinstance(part, Mapping) and part.get("text") and not part.get("thought")
    return {"type": "text", "text": part["text"]} if is_text else {}


def _response_parts(item: Mapping[str, Any]) -> list[Any]:
    """Return the message parts of an output item of OpenAI's Responses API."""
    if item.get("type") == "function_call":
        return [{"type": "tool_use", "id": item.get("call_id"), "name": item.get("name"), "input": item.get("arguments")}]
    content = item.get("content")
    texts = content if isinstance(content, list) and item.get("type") == "message" else ()
    return [{"type": "text", "text": part.get("text")} for part in texts if isinstance(part, Mapping)]


def usage_of(completion: object) -> Usage | None:
    """Return the usage that a completion reports, or None. Never raises."""
    value = None if isinstance(completion, str) else to_json(completion)
    if not isinstance(value, Mapping):
        return None
    counts = next((value[name] for name in ("usage", "usage_metadata") if isinstance(value.get(name), Mapping)), value)
    return read_usage(counts)


def read_usage(counts: Mapping[str, JsonValue]) -> Usage | None:
    """Read token counts under our names or those of other clients; None without any."""
    named = {_USAGE.get(name, name): as_count(count) for name, count in counts.items()}
    ours = {name: count for name, count in named.items() if name in _OURS and count is not None}
    return Usage(**ours) if ours else None


def add_usage(first: Usage | None, second: Usage | None) -> Usage | None:
    """Return the sum of two usages. A count that neither reports stays None."""
    if first is None or second is None:
        return first or second
    sums: dict[str, int | None] = {}
    for name in _OURS:
        counts = [count for usage in (first, second) if (count := getattr(usage, name)) is not None]
        sums[name] = sum(counts) if counts else None
    return Usage(**sums)
