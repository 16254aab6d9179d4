"""LangWatch's SDKs (Python and TypeScript): spans of type llm, tool, agent, workflow and others.

Known by ``langwatch.span.type``, ``langwatch.input`` and ``langwatch.output``, which are JSON objects with a type and a value.
"""

from __future__ import annotations

from typing import Final

from llmtrace import semconv as sc
from llmtrace.codec import fields
from llmtrace.codec.dialects import _former_names, _shapes
from llmtrace.codec.dialects._dialect import Dialect, SpanReader, parse_text
from llmtrace.model import Inference, JsonValue, Operation

_TYPE, _INPUT, _OUTPUT = "langwatch.span.type", "langwatch.input", "langwatch.output"
_GENERAL: Final = {"langwatch.thread.id": sc.CONVERSATION_ID, "langwatch.user.id": sc.USER_ID}


class LangWatch(Dialect):
    name = "langwatch"
    marks = frozenset({_TYPE, _INPUT, _OUTPUT})

    def read(self, reader: SpanReader) -> Operation | None:
        reader.rename(_GENERAL)
        metadata = reader.object("metadata") or {}
        if isinstance(metadata.get("thread_id"), str):
            reader.rest.setdefault(sc.CONVERSATION_ID, metadata["thread_id"])
        kind = reader.text(_TYPE) or "span"
        has_result = _OUTPUT in reader.rest
        inputs, outputs = _value(reader, _INPUT), _value(reader, _OUTPUT)
        name = reader.raw.name
        if kind == "llm":
            return _inference(reader, inputs, outputs)
        if kind not in ("tool", "agent") and reader.raw.parent_id is None:
            kind = "workflow"
        return _shapes.step(reader, kind, name, inputs, parse_text(outputs), has_result)


def _value(reader: SpanReader, key: str) -> JsonValue:
    """Remove an attribute and return the value in it."""
    written = reader.object(key)
    return written.get("value") if written is not None else reader.rest.pop(key, None)


def _inference(reader: SpanReader, inputs: JsonValue, outputs: JsonValue) -> Operation:
    _former_names.use_current_names(reader)
    parameters = reader.object("langwatch.params") or {}
    counts = fields.as_object(_value(reader, "langwatch.metrics")) or {}
    return Inference(
        reader.text(sc.PROVIDER_NAME) or "",
        request_model=reader.text(sc.REQUEST_MODEL),
        input=_shapes.of_values(inputs, "user"),
        output=_shapes.of_values(outputs, "assistant"),
        tools=_shapes.definitions(parameters.pop("tools", None)),
        parameters=_shapes.parameters(parameters),
        usage=_shapes.usage_of_counts(
            fields.as_count(counts.get("prompt_tokens", counts.get("promptTokens"))),
            fields.as_count(counts.get("completion_tokens", counts.get("completionTokens"))),
        ),
    )


DIALECT = LangWatch()
