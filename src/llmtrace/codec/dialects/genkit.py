"""Google's Genkit (Go, JavaScript, Python): actions of the kinds flow, model, tool and others.

Known by ``genkit:type``. Input and output are JSON text in Genkit's own message format. The ``generate`` spans around a model
and its tools stay plain steps, since each repeats the model span.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmtrace import semconv as sc
from llmtrace.codec import fields, json_members
from llmtrace.codec.dialects import _shapes
from llmtrace.codec.dialects._dialect import Dialect, SpanReader, parse_text
from llmtrace.codec.messages import read_message
from llmtrace.model import (
    Embedding,
    Inference,
    Operation,
)

_TYPE, _NAME, _SUBTYPE = "genkit:type", "genkit:name", "genkit:metadata:subtype"
_INPUT, _OUTPUT = "genkit:input", "genkit:output"
_GENERAL: Final = {"genkit:sessionId": sc.CONVERSATION_ID}
_COUNTS: Final = ("inputTokens", "outputTokens", "cachedContentTokens", "cacheCreationTokens", "thoughtsTokens")


class Genkit(Dialect):
    name = "genkit"
    marks = frozenset({_TYPE})

    def read(self, reader: SpanReader) -> Operation | None:
        kind = reader.text(_SUBTYPE) or str(reader.rest.get(_TYPE))
        kind = kind.partition(".")[0]  # "tool.v2"
        name = reader.text(_NAME) or reader.raw.name
        reader.drop(_TYPE)
        reader.rename(_GENERAL)
        if kind in ("model", "background-model"):
            return _model(reader, name)
        if kind == "embedder":
            return Embedding(name.rpartition("/")[0], request_model=name.rpartition("/")[2])  # "provider/model"
        has_result = _OUTPUT in reader.rest
        inputs, result = parse_text(reader.rest.pop(_INPUT, None)), parse_text(reader.rest.pop(_OUTPUT, None))
        if kind == "tool" and isinstance(result, Mapping) and {"output"} <= set(result) <= {"output", "content", "metadata"}:
            result = result["output"]  # a "tool.v2" also returns parts for the model
        return _shapes.step(reader, "workflow" if kind == "flow" else kind, name, inputs, result, has_result)


def _model(reader: SpanReader, name: str) -> Operation:
    request = reader.object(_INPUT) or {}
    answer = reader.object(_OUTPUT) or {}
    custom = json_members.object_(answer, "custom") or json_members.object_(answer, "raw")
    provider, _, model = name.rpartition("/")
    finish, message, usage = answer.get("finishReason"), answer.get("message"), json_members.object_(answer, "usage")
    return Inference(
        provider,
        request_model=model,
        response_model=json_members.text(custom, "model", "modelVersion") or None,
        response_id=json_members.text(custom, "id", "responseId") or None,
        input=_shapes.of_items(json_members.objects(request, "messages"), "user"),
        output=(read_message(message, "assistant"),) if isinstance(message, Mapping) else (),
        tools=_shapes.definitions(request.get("tools")),
        parameters=_shapes.parameters(json_members.object_(request, "config")),
        finish_reasons=(finish,) if isinstance(finish, str) and finish != "unknown" else (),
        usage=_shapes.usage_of_counts(*[fields.as_count(usage.get(name)) for name in _COUNTS]),
    )


DIALECT = Genkit()
