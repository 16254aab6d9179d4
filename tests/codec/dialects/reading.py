"""Reads one span of another writer."""

from __future__ import annotations

import json
from typing import Any

from llmtrace.codec import genai
from llmtrace.codec.dialects import decode
from llmtrace.model import Inference, RawSpan, Span, ToolCall, ToolExecution

SCHEMA = {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]}
CALL = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"order_id":"A1"}'}}
ASKED = ToolCall("look_up", {"order_id": "A1"}, "c1")


def read(attributes: dict[str, Any], number: int = 1, **fields: Any) -> Span:
    """Read the span, of which it is sure that reading it again gives the same. Objects are written as JSON text."""
    values = {key: value if _is_plain(value) else json.dumps(value) for key, value in attributes.items()}
    raw = RawSpan("1" * 32, f"{number:016x}", fields.pop("name", "s"), number, number + 1, attributes=values, **fields)
    span = decode(raw)
    assert decode(genai.encode(span)) == genai.decode(genai.encode(span)) == span, "reading again changes it"
    return span


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, int, float)) or (isinstance(value, list) and all(isinstance(item, str) for item in value))


def inference(attributes: dict[str, Any], **fields: Any) -> Inference:
    operation = read(attributes, **fields).operation
    assert isinstance(operation, Inference)
    return operation


def execution(attributes: dict[str, Any], **fields: Any) -> ToolExecution:
    operation = read(attributes, **fields).operation
    assert isinstance(operation, ToolExecution)
    return operation
