"""Finds model calls that would be counted twice: two instrumentations recorded one call, or a replay answered it again.

Law: of an inference around another one, with no agent, workflow or tool between them, the inner counts; unless only the outer
one says what was used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llmtrace.model.operations import Custom, Embedding, Inference, ToolExecution
from llmtrace.model.spans import Span
from llmtrace.model.traces import Trace
from llmtrace.semconv import REPLAY_LIVE, REPLAY_OF


def uncharged_spans(trace: Trace) -> frozenset[str]:
    """Return the ids of the calls of models and tools that count elsewhere: in another span of the trace, or, where a replay or
    a resumed run answered them from a recording, in that."""
    return double_counted_spans(trace).union(_answered_from_record(trace))


def _answered_from_record(trace: Trace) -> Iterator[str]:
    is_replay = False
    for depth, span in trace.walk():
        if depth == 0:
            is_replay = REPLAY_OF in span.attributes
        if (
            is_replay
            and isinstance(span.operation, (Inference, Embedding, ToolExecution))
            and span.attributes.get(REPLAY_LIVE) is not True
        ):
            yield span.span_id


def double_counted_spans(trace: Trace) -> frozenset[str]:
    """Return the ids of inferences and embeddings whose tokens and cost another span of the trace records as well."""
    within: dict[str, list[Span]] = {}
    for _, span in trace.walk():
        outer = _enclosing_inference(trace, span) if isinstance(span.operation, (Inference, Embedding)) else None
        if outer is not None:
            within.setdefault(outer.span_id, []).append(span)
    hidden: set[str] = set()
    for outer_id, inner in within.items():
        if any(_reports_usage(span, within) for span in inner) or not _has_usage(trace.span(outer_id)):
            hidden.add(outer_id)
        else:
            hidden.update(_all_within(inner, within))
    return frozenset(hidden)


def _enclosing_inference(trace: Trace, span: Span) -> Span | None:
    """Return the inference around a call, with only plain spans between."""
    above = next((above for above in trace.ancestors(span) if not isinstance(above.operation, Custom)), None)
    return above if above is not None and isinstance(above.operation, Inference) else None


def _reports_usage(span: Span, within: Mapping[str, list[Span]]) -> bool:
    """Return True if the call, or one within it, reports usage."""
    return _has_usage(span) or any(_reports_usage(inner, within) for inner in within.get(span.span_id, ()))


def _has_usage(span: Span) -> bool:
    return getattr(span.operation, "usage", None) is not None


def _all_within(spans: list[Span], within: Mapping[str, list[Span]]) -> Iterator[str]:
    for span in spans:
        yield span.span_id
        yield from _all_within(within.get(span.span_id, []), within)
