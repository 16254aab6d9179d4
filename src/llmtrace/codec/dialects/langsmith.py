"""LangSmith's runs, from its OpenTelemetry exporter or its exports, which `formats.langsmith_runs` gives the same names.

Known by ``langsmith.span.kind``. ``gen_ai.prompt`` and ``gen_ai.completion`` hold all inputs and outputs of a run: a request
and an answer as OpenAI's API or LangChain has them, a tool's arguments and result, or the values of a function.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmtrace import semconv as sc
from llmtrace.codec import json_members
from llmtrace.codec.dialects import _shapes
from llmtrace.codec.dialects._dialect import Dialect, SpanReader
from llmtrace.model import (
    Custom,
    Embedding,
    Inference,
    JsonValue,
    Operation,
    Retrieval,
)

_KIND: Final = "langsmith.span.kind"
_INPUTS, _OUTPUTS = "gen_ai.prompt", "gen_ai.completion"
_METADATA: Final = "langsmith.metadata."
_NOT_PARAMETERS: Final = frozenset({"model", "model_name", "stream", "tools", "functions", "_type", "extra_headers", "api_key"})


class LangSmith(Dialect):
    name = "langsmith"
    marks = frozenset({_KIND})

    def read(self, reader: SpanReader) -> Operation | None:
        kind = reader.text(_KIND) or "chain"
        inputs, outputs = reader.json(_INPUTS), reader.json(_OUTPUTS)
        has_outputs = outputs is not None
        if kind == "llm":
            return _inference(reader, inputs, outputs)
        if kind == "tool":
            name, call_id = reader.text(sc.TOOL_NAME) or reader.raw.name, reader.text(sc.TOOL_CALL_ID)
            arguments, result = _only(inputs, "input"), _only(outputs, "output")
            return _shapes.execution(reader, name, arguments, result, has_outputs, call_id=call_id)
        if kind == "retriever":
            return Retrieval(query=_shapes.query(inputs), documents=_only(outputs, "documents", "output"))
        if kind == "embedding":
            return Embedding(_provider(reader), request_model=_model(reader))
        if kind == "chain" and reader.raw.parent_id is None:
            if isinstance(outputs, Mapping) and isinstance(outputs.get("messages"), list):
                outputs = {
                    "messages": outputs["messages"][-1:]
                }  # LangGraph returns the conversation, which ends with the answer
            agent = json_members.text(reader.rest, f"{_METADATA}lc_agent_name")
            # LangGraph is the default name of a graph's outermost run
            is_agent = reader.raw.name == "LangGraph" or agent is not None
            return _shapes.run("agent" if is_agent else "workflow", agent or reader.raw.name, inputs, outputs)
        if kind == "chain" or has_outputs or inputs is not None:
            return Custom(inputs, _only(outputs, "output"), has_outputs)
        return None


def _inference(reader: SpanReader, inputs: JsonValue, outputs: JsonValue) -> Operation:
    request = _shapes.read_request(inputs)
    answer = _shapes.read_answer(outputs)
    invocation = reader.object("langsmith.invocation_params", f"{_METADATA}ls_invocation_params") or {}
    settings = {**invocation, **request.rest}
    usage = answer.usage or reader.object(f"{_METADATA}usage_metadata") or {}
    reader.drop(f"{_METADATA}usage_metadata")
    model = json_members.text(request.rest, "model") or _model(reader) or json_members.text(settings, "model", "model_name")
    return Inference(
        _provider(reader),
        request_model=model,
        response_model=answer.model,
        input=request.messages,
        output=answer.messages,
        tools=request.tools or _shapes.definitions(settings.get("tools") or settings.get("functions")),
        parameters=_shapes.parameters({name: value for name, value in settings.items() if name not in _NOT_PARAMETERS}),
        response_id=answer.response_id,
        finish_reasons=answer.finish_reasons,
        usage=_shapes.usage_of_provider(usage)
        if usage
        else _shapes.usage_of_counts(reader.count(sc.USAGE_INPUT_TOKENS), reader.count(sc.USAGE_OUTPUT_TOKENS)),
        cost_usd=reader.amount("langsmith.total_cost"),
        stream=settings.get("stream") is True,
        time_to_first_chunk=reader.seconds(sc.RESPONSE_TIME_TO_FIRST_CHUNK),
    )


def _provider(reader: SpanReader) -> str:
    return reader.text("gen_ai.system", f"{_METADATA}ls_provider") or ""


def _model(reader: SpanReader) -> str | None:
    return reader.text(sc.REQUEST_MODEL, f"{_METADATA}ls_model_name")


def _only(value: JsonValue, *names: str) -> JsonValue:
    """Return the value of an object's only member if LangSmith itself named it (``{"output": …}``); else the object."""
    if isinstance(value, Mapping) and len(value) == 1:
        return next((value[name] for name in names if name in value), value)
    return value


DIALECT = LangSmith()
