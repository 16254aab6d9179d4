"""Langfuse's SDKs (JavaScript and Python): observations of type generation, tool, agent, chain, span and others.

Known by ``langfuse.observation.*``. Input and output are those of the wrapped library, as JSON text: an OpenAI request, a list
of messages, or plain values. Token counts come in parts that exclude each other (``input`` next to ``input_cached_tokens``), or
as the provider wrote them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from llmtrace import semconv as sc
from llmtrace.codec import fields
from llmtrace.codec.dialects import _merged_calls, _shapes
from llmtrace.codec.dialects._dialect import Dialect, SpanReader, parse_text
from llmtrace.codec.json_text import parsed
from llmtrace.model import Embedding, Inference, Operation, Usage

_PREFIX: Final = "langfuse.observation."
_TYPE, _INPUT, _OUTPUT = _PREFIX + "type", _PREFIX + "input", _PREFIX + "output"
_MODEL, _PARAMETERS, _USAGE = _PREFIX + "model.name", _PREFIX + "model.parameters", _PREFIX + "usage_details"
_COST, _FIRST = _PREFIX + "cost_details", _PREFIX + "completion_start_time"
_GENERAL: Final = {
    "session.id": sc.CONVERSATION_ID,
    "langfuse.session.id": sc.CONVERSATION_ID,
    "user.id": sc.USER_ID,
    "langfuse.user.id": sc.USER_ID,
    "langfuse.trace.tags": sc.TAGS,
    _PREFIX + "prompt.name": "gen_ai.prompt.name",
}
_READS: Final = ("cached", "cache_read", "cache_read_input")
_WRITES: Final = ("cache_creation", "cache_write", "cache_creation_input")


class Langfuse(Dialect):
    name = "langfuse"
    marks = frozenset({_TYPE, _INPUT, _OUTPUT, _MODEL, _USAGE})

    def read(self, reader: SpanReader) -> Operation | None:
        kind = reader.text(_TYPE) or ("generation" if _MODEL in reader.rest else "span")
        reader.rename(_GENERAL)
        if kind == "generation":
            return _generation(reader)
        if kind == "embedding":
            return Embedding("", request_model=reader.text(_MODEL), usage=_usage(reader))
        if kind == "chain" and reader.raw.parent_id is None:
            kind = "workflow"
        has_output = _OUTPUT in reader.rest
        inputs, outputs = [parse_text(reader.rest.pop(key, None)) for key in (_INPUT, _OUTPUT)]
        return _shapes.step(reader, kind, reader.raw.name, inputs, outputs, has_output)


def _generation(reader: SpanReader) -> Operation:
    request = _shapes.read_request(parsed(reader.rest.pop(_INPUT, None)))
    answer = _shapes.read_answer(parsed(reader.rest.pop(_OUTPUT, None)))
    parameters = reader.object(_PARAMETERS) or {}
    model, stream = reader.text(_MODEL), parameters.pop("stream", None)
    first = _first_chunk(reader)
    output = answer.messages
    if first is not None:  # calls are merged in streams only
        output = _merged_calls.separate_calls(reader.raw.scope.name, output, request.tools)
    return Inference(
        "",
        request_model=model,
        response_model=model,
        input=request.messages,
        output=output,
        tools=request.tools,
        parameters=_shapes.parameters({name: value for name, value in parameters.items() if value != ""}),
        response_id=answer.response_id,
        finish_reasons=answer.finish_reasons,
        usage=_usage(reader),
        cost_usd=fields.as_amount((reader.object(_COST) or {}).get("total")),
        stream=stream is True or first is not None,
        time_to_first_chunk=first,
    )


def _first_chunk(reader: SpanReader) -> float | None:
    """Seconds until the first chunk, from the time of day that the SDK records."""
    moment = parse_text(reader.rest.get(_FIRST))
    if not isinstance(moment, str):
        return None
    try:
        seconds = datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp() - reader.raw.start / 1e9
    except (ValueError, OverflowError):  # the latter for a year that no time of day has
        return None
    reader.drop(_FIRST)
    return max(0.0, seconds)


# -- token counts


def _usage(reader: SpanReader) -> Usage | None:
    details = reader.object(_USAGE)
    if not details:
        return None
    if "prompt_tokens" in details or "input_tokens" in details:
        return _shapes.usage_of_provider(details)
    counts = {name: count for name, value in details.items() if (count := fields.as_count(value)) is not None}
    total = counts.pop("total", None)
    inputs = {name: count for name, count in counts.items() if name.startswith(("input", "cache"))}
    outputs = {name: count for name, count in counts.items() if name.startswith("output")}
    # the parts exclude each other, unless the total shows that ``input`` and ``output`` include all others
    whole = total is not None and total == counts.get("input", 0) + counts.get("output", 0)
    return Usage(
        (counts.get("input") if whole else sum(inputs.values())) if inputs else None,
        (counts.get("output") if whole else sum(outputs.values())) if outputs else None,
        _part(inputs, _READS),
        _part(inputs, _WRITES),
        _part(outputs, ("reasoning", "reasoning_output")),
    )


def _part(counts: Mapping[str, int], names: tuple[str, ...]) -> int | None:
    """Return the count of a part: ``input_cached_tokens``, ``input_cache_read``, ``cache_read_input_tokens``."""
    for name, count in counts.items():
        if name.removesuffix("_tokens").removeprefix("input_").removeprefix("output_") in names:
            return count
    return None


DIALECT = Langfuse()
