"""No order of arrival and no coarse clock changes an answer."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reading.story_runs import long_run

from llmtrace.model import Inference, Span, ToolExecution, Trace, replace
from llmtrace.reading.graph import Graph, analyze
from llmtrace.reading.order import moments


def said(result: Graph) -> list[object]:
    return [(use.span_id, use.pointer, use.start, use.value, use.provenance) for use in result.uses]


@given(st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_spans_may_arrive_in_any_order(chance: random.Random) -> None:
    """Also where all of them have the same time."""
    for spans in (long_run().spans, [replace(span, start=5, end=5) for span in long_run().spans]):
        shuffled = list(spans)
        chance.shuffle(shuffled)
        expected, result = analyze(Trace(spans)), analyze(Trace(shuffled))
        assert said(result) == said(expected)
        assert sorted(map(repr, result.edges)) == sorted(map(repr, expected.edges))


def test_coarse_clocks_change_no_origin() -> None:
    spans = long_run().spans
    expected = said(analyze(Trace(spans)))
    assert (
        said(analyze(Trace([replace(span, start=span.start // 50, end=span.end // 50) for span in spans if span.end])))
        == expected
    )
    assert said(analyze(Trace([replace(span, start=5, end=5) for span in spans]))) == expected


def test_an_inference_may_end_after_the_executions_that_it_asked_for() -> None:
    """Some writers close it only then. Without ids, a call is joined by its tool and arguments."""
    spans = long_run().spans
    expected = said(analyze(Trace(spans)))

    def late(span: Span, *, with_id: bool) -> Span:
        operation = span.operation
        if isinstance(operation, Inference) and operation.calls_tools:
            return replace(span, end=span.start + 15)
        if isinstance(operation, ToolExecution) and not with_id:
            return replace(span, operation=replace(operation, call_id=None))
        return span

    assert said(analyze(Trace([late(span, with_id=True) for span in spans]))) == expected
    statuses = [(use.pointer, use.value, use.provenance.status) for use in analyze(Trace(spans)).uses]
    without = analyze(Trace([late(span, with_id=False) for span in spans])).uses
    assert [(use.pointer, use.value, use.provenance.status) for use in without] == statuses


def test_an_id_that_comes_again_belongs_to_the_last_call_before_the_execution() -> None:
    """Some providers count their calls from one in every answer."""
    spans = long_run().spans

    def same_id(span: Span) -> Span:
        text = repr(span.operation)
        return span if "call_" not in text else replace(span, operation=_with_one_id(span.operation))

    result = analyze(Trace([same_id(span) for span in spans]))
    calls = [(edge.source, edge.target) for edge in result.edges if edge.via == "call"]
    assert calls == [(edge.source, edge.target) for edge in analyze(Trace(spans)).edges if edge.via == "call"]


def _with_one_id(operation: object) -> object:
    if isinstance(operation, ToolExecution):
        return replace(operation, call_id="call")
    assert isinstance(operation, Inference)
    output = tuple(
        replace(
            message, parts=tuple(replace(part, id="call") if hasattr(part, "arguments") else part for part in message.parts)
        )
        for message in operation.output
    )
    return replace(operation, output=output)


def test_every_span_that_ended_has_its_moment_once() -> None:
    trace = long_run().trace()
    ended = [span.span_id for span, is_end in moments(trace.spans) if is_end]
    assert sorted(ended) == sorted(span.span_id for span in trace.spans)
