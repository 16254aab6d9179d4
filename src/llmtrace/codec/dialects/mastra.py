"""Mastra: agents, workflows and model calls in TypeScript.

Known by ``mastra.span.type``. Model calls and tools carry the conventions' names; agents, workflows and steps keep their
input and output in ``mastra.<type>.input`` and ``.output``. A step surrounds one model call and its tools and has the call's
messages, so it is read as the same call and joined to it (`codec.reconcile`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmtrace import semconv as sc
from llmtrace.codec import fields, json_members, json_text
from llmtrace.codec.dialects import _former_names, _shapes
from llmtrace.codec.dialects._dialect import Dialect, SpanReader, parse_text
from llmtrace.model import Custom, Inference, JsonValue, Message, Operation, RawSpan

_TYPE: Final = "mastra.span.type"
_MODEL: Final = "mastra.metadata.modelMetadata"
_THREADS: Final = ("mastra.metadata.threadId", "mastra.metadata.sessionId")
_STEPS: Final = ("model_step", "llm_step")


class Mastra(Dialect):
    name = "mastra"
    marks = frozenset({_TYPE})

    def knows(self, raw: RawSpan) -> bool:
        return _TYPE in raw.attributes and sc.OPERATION_NAME in raw.attributes  # without it, a translator wrote the span

    def read(self, reader: SpanReader) -> Operation | None:
        kind = str(reader.rest.get(_TYPE)).lower()
        _former_names.use_current_names(reader)
        reader.rename(dict.fromkeys(_THREADS, sc.CONVERSATION_ID))
        _read_instructions(reader)
        if kind in ("agent_run", "workflow_run"):
            task, answer = [parse_text(reader.rest.pop(f"mastra.{kind}.{what}", None)) for what in ("input", "output")]
            name = reader.text(sc.AGENT_NAME) if kind == "agent_run" else reader.raw.name.removeprefix("invoke_workflow ")
            return _shapes.run(kind.removesuffix("_run"), name or reader.raw.name, task, answer)
        if reader.rest.get(sc.OPERATION_NAME) in (sc.CHAT, sc.EXECUTE_TOOL):
            return None
        if kind in _STEPS:
            return _step(reader, kind)
        output = f"mastra.{kind}.output"
        has_result = output in reader.rest
        return Custom(reader.json(f"mastra.{kind}.input"), parse_text(reader.rest.pop(output, None)), has_result)


def _read_instructions(reader: SpanReader) -> None:
    text = reader.rest.get(sc.SYSTEM_INSTRUCTIONS)
    if isinstance(text, str) and fields.as_json(text) is None:
        reader.rest[sc.SYSTEM_INSTRUCTIONS] = json_text.write([{"type": "text", "content": text}])


def _step(reader: SpanReader, kind: str) -> Operation:
    """Read the messages of one model call. Usage and model are on the inner span of the call, which old versions lack."""
    request, answer = reader.json(f"mastra.{kind}.input"), reader.json(f"mastra.{kind}.output")
    model = reader.object(_MODEL) or {}
    if request is None and answer is None:
        return Custom()
    messages, tools, _ = _shapes.read_request(request)
    provider = str(model.get("modelProvider") or "").partition(".")[0]
    return Inference(
        provider,
        request_model=reader.text(sc.REQUEST_MODEL) or json_members.text(model, "modelId"),
        input=messages,
        tools=tools,
        output=_output(answer),
    )


def _output(answer: JsonValue) -> tuple[Message, ...]:
    if not isinstance(answer, Mapping):
        return _shapes.of_text("assistant", answer)
    return _shapes.of_ai_sdk(answer.get("text"), answer.get("reasoningText"), answer.get("toolCalls"))


DIALECT = Mastra()
