"""MLflow's spans, from its autologging and its manual API, sent by OTLP or exported as MLflow's traces.

Known by ``mlflow.spanType``. Every value is JSON text. The inputs of a model call are the whole request to the called library,
the outputs its whole answer. MLflow's server adds its names to the spans of other writers, whose own names are more precise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmtrace import semconv as sc
from llmtrace.codec import fields, json_members
from llmtrace.codec.dialects import _shapes
from llmtrace.codec.dialects._dialect import Dialect, SpanReader
from llmtrace.model import Embedding, Inference, JsonValue, Operation

_TYPE: Final = "mlflow.spanType"
_INPUTS, _OUTPUTS = "mlflow.spanInputs", "mlflow.spanOutputs"
_NOT_PARAMETERS: Final = frozenset({"model", "stream", "extra_headers", "api_key"})
_GENERAL: Final = {"session.id": sc.CONVERSATION_ID}


class MLflow(Dialect):
    name = "mlflow"
    marks = frozenset({_TYPE})

    def read(self, reader: SpanReader) -> Operation | None:
        kind = str(_value(reader, _TYPE)).upper()
        has_outputs = _OUTPUTS in reader.rest and reader.rest[_OUTPUTS] != "null"
        inputs, outputs = _value(reader, _INPUTS), _value(reader, _OUTPUTS)
        reader.drop("mlflow.traceRequestId", "mlflow.spanFunctionName", "mlflow.spanLogLevel", "mlflow.message.format")
        reader.rename(_GENERAL)
        if kind in ("CHAT_MODEL", "LLM"):
            return _inference(reader, inputs, outputs)
        if kind == "EMBEDDING":
            return Embedding("", request_model=_text(reader, "mlflow.llm.model"))
        if kind not in ("TOOL", "RETRIEVER", "AGENT") and reader.raw.parent_id is None:
            kind = "WORKFLOW"
        return _shapes.step(reader, kind.lower(), reader.raw.name, inputs, outputs, has_outputs)


def _value(reader: SpanReader, key: str) -> JsonValue:
    """Remove an attribute and return its value, parsed if it is JSON text."""
    value = reader.rest.pop(key, None)
    content = fields.as_json(value)
    return value if content is None and value != "null" else content


def _text(reader: SpanReader, key: str) -> str | None:
    value = _value(reader, key)
    return value if isinstance(value, str) and value else None


def _inference(reader: SpanReader, inputs: JsonValue, outputs: JsonValue) -> Operation:
    request, answer = _shapes.read_request(inputs), _shapes.read_answer(outputs)
    model = _text(reader, "mlflow.llm.model")
    usage: Any = answer.usage or _value(reader, "mlflow.chat.tokenUsage")
    cost = _value(reader, "mlflow.llm.cost")
    tools = request.tools or _shapes.definitions(_value(reader, "mlflow.chat.tools"))
    # autologging repeats the request's parameters as attributes: ``model``, ``tools``, ``temperature``
    copies = [key for key in reader.rest if "." not in key and (key == "tools" or key in request.rest)]
    reader.drop("mlflow.chat.tokenUsage", "mlflow.chat.tools", *copies)
    return Inference(
        _text(reader, "mlflow.llm.provider") or "",
        request_model=json_members.text(request.rest, "model") or model,
        response_model=answer.model or model,
        input=request.messages,
        output=answer.messages,
        tools=tools,
        parameters=_shapes.parameters({key: value for key, value in request.rest.items() if key not in _NOT_PARAMETERS}),
        response_id=answer.response_id,
        finish_reasons=answer.finish_reasons,
        usage=_shapes.usage_of_provider(usage),
        cost_usd=fields.as_amount(cost.get("total_cost")) if isinstance(cost, Mapping) else None,
        stream=request.rest.get("stream") is True,
    )


DIALECT = MLflow()
