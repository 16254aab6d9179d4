"""Logfire's instrumentations of model clients: ``request_data`` and ``response_data`` next to the conventions' names.

A streamed call is a span for the request, which ends when the stream begins, and a log record in the form of a span for the
answer. Both are read as the call; `codec.reconcile` joins them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmtrace import semconv as sc
from llmtrace.codec.dialects import _former_names, _shapes
from llmtrace.codec.dialects._dialect import Dialect, SpanReader
from llmtrace.codec.json_text import parsed
from llmtrace.codec.messages import read_message
from llmtrace.model import Inference, Message, Operation, RawSpan

_REQUEST, _RESPONSE = "request_data", "response_data"
_LOGFIRE: Final = ("logfire.msg", "logfire.span_type", "logfire.msg_template")
_OPERATIONS: Final = (sc.CHAT, sc.TEXT_COMPLETION)


class LogfireDialect(Dialect):
    name = "logfire"
    marks = frozenset({_REQUEST})

    def knows(self, raw: RawSpan) -> bool:
        return _REQUEST in raw.attributes and any(name in raw.attributes for name in _LOGFIRE)

    def read(self, reader: SpanReader) -> Operation | None:
        _former_names.use_current_names(reader)
        request = reader.object(_REQUEST) or {}
        name = reader.rest.get(sc.OPERATION_NAME, sc.CHAT)
        if name not in _OPERATIONS or "model" not in request:
            return None
        response = reader.object(_RESPONSE) or {}
        reader.drop("logfire.json_schema")
        messages, tools, _ = _shapes.read_request(request)
        model = request["model"]
        return Inference(
            "",
            operation=str(name),
            request_model=model if isinstance(model, str) else None,
            input=messages,
            output=_output(response),
            tools=tools,
            usage=_shapes.usage_of_provider(response.get("usage")),
            stream=request.get("stream") is True,
        )


def _output(response: Mapping[str, Any]) -> tuple[Message, ...]:
    message = parsed(response.get("message"))
    if isinstance(message, Mapping):
        return (read_message(message, "assistant"),)
    return _shapes.of_text("assistant", response.get("combined_chunk_content", response.get("text")))


DIALECT = LogfireDialect()
