"""What is equal: replay and live, sync and async, whole and streamed, encoded and decoded."""

from __future__ import annotations

import asyncio
from typing import Any

from llmtrace.codec import genai
from llmtrace.evaluation import Evaluator, evaluate_trace
from llmtrace.model import Inference, Span, ToolExecution, replace
from llmtrace.testing import Captured, capture
from tests.instrumentation.openai_server import Server
from tests.product_laws import support_agent as agent


def told(captured: Captured) -> list[Any]:
    """What a trace says, without ids, times and what only a stream has."""
    return [_told(span) for span in captured.spans]


def _told(span: Span) -> Any:
    operation = span.operation
    if isinstance(operation, Inference):
        operation = replace(operation, stream=False, time_to_first_chunk=None, chunks=None, input=operation.input)
    if isinstance(operation, ToolExecution):
        operation = replace(operation, definition=None)
    evaluations = tuple(replace(found, sources=()) for found in span.evaluations)
    return span.kind, operation, span.violations, evaluations, span.failure and span.failure.type, span.sequence


def test_replay_is_live() -> None:
    """Judging the stored spans again, in order, gives the verdicts of the live run."""
    with capture() as captured:
        assert agent.run() == agent.ANSWER
    trace = captured.trace
    again, unknown = evaluate_trace(trace)
    assert unknown == ()
    assert again.spans == trace.spans
    assert any(span.violations for span in trace.spans)


def test_replay_after_encoding_is_live() -> None:
    """The same from what a backend would give back."""
    with capture() as captured:
        agent.run()
    trace = type(captured.trace)([genai.decode(genai.encode(span)) for span in captured.trace.spans])
    again, unknown = evaluate_trace(trace)
    assert (again.spans, unknown) == (captured.trace.spans, ())


def test_what_was_redacted_is_not_judged_again() -> None:
    """Where content was not kept whole the stored verdicts stand, and the re-check says unknown."""
    with capture(redact_patterns=["W-77"]) as captured:
        agent.run()
    trace = captured.trace
    again, unknown = evaluate_trace(trace)
    assert again.spans == trace.spans
    assert unknown == (trace.root.run_id,)


def test_content_none_keeps_the_verdicts() -> None:
    """Without content there are still verdicts, and they stand on reading."""
    with capture(content="none") as captured:
        agent.run()
    again, unknown = evaluate_trace(captured.trace, Evaluator())
    assert len(unknown) == 1
    assert [v.code for span in again.spans for v in span.violations] == ["wrong_type", "wrong_type"]


def test_streamed_is_whole() -> None:
    """A streamed conversation is recorded as the same conversation in one piece."""
    with capture() as one:
        assert agent.run() == agent.ANSWER
    with capture() as other:
        assert agent.run(as_stream=True) == agent.ANSWER
    in_one_piece, in_chunks = ([_without_usage(what) for what in told(each)[:-1]] for each in (one, other))
    assert in_one_piece == in_chunks


def _without_usage(what: Any) -> Any:
    kind, operation, *rest = what
    if isinstance(operation, Inference):
        operation = replace(operation, usage=None, cost_usd=None, parameters={}, fingerprint=None)
    return kind, operation, *rest


def test_async_is_sync() -> None:
    """The async client and async tools are recorded as the plain ones."""
    with capture() as plain:
        agent.run()
    with capture() as other:
        agent.refunded.clear()
        assert asyncio.run(agent.asupport(Server(*agent.replies()).aclient(), agent.ASKED)) == agent.ANSWER
    names = [span.name.replace("asupport", "support") for span in other.spans]
    assert names == [span.name for span in plain.spans]
    assert told(plain)[:-1] == told(other)[:-1]
