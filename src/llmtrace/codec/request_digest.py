"""A keyed digest of what a call asks for, by which a replay sees that a request is the one that was recorded.

It is made before redaction, and the key never leaves the store's folder: what was redacted can neither be read nor guessed.
"""

from __future__ import annotations

from hashlib import blake2b

from llmtrace.codec import json_text, messages
from llmtrace.model import Embedding, Inference, JsonValue, Operation, Retrieval, ToolExecution

_BYTES = 16


def request_digest(operation: Operation, key: bytes) -> str:
    """Return 32 hex digits; empty for an operation that asks nobody."""
    content = request_text(operation)
    return blake2b(content.encode("utf-8", "surrogatepass"), digest_size=_BYTES, key=key).hexdigest() if content else ""


def request_text(operation: Operation) -> str:
    """What is asked, as text: equal for requests that say the same. Empty for an operation that asks nobody."""
    if isinstance(operation, Inference):
        return "\n".join(
            (
                operation.request_model or "",
                messages.write_parts(operation.system) if operation.system else "[]",
                messages.write_messages(operation.input),
                messages.write_definitions(operation.tools),
                _sorted(dict(operation.parameters)) if operation.parameters else "{}",
            )
        )
    if isinstance(operation, ToolExecution):
        return f"{operation.name}\n{_sorted(operation.arguments)}"
    if isinstance(operation, Embedding):
        return f"{operation.request_model}\n{operation.dimensions}"
    if isinstance(operation, Retrieval):
        return f"{operation.data_source_id}\n{_sorted(operation.query)}"
    return ""


def _sorted(value: JsonValue) -> str:
    return json_text.write(_in_order(value))


def _in_order(value: JsonValue) -> JsonValue:
    """The same value with the members of every object in the order of their names."""
    if isinstance(value, dict):
        value = {name: value[name] for name in sorted(value, key=str)}
        for name, member in value.items():
            if isinstance(member, (dict, list, tuple)):  # a scalar needs no call
                value[name] = _in_order(member)
        return value
    return [_in_order(item) for item in value] if isinstance(value, (list, tuple)) else value
