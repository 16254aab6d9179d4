"""What is said of a stored run of which some content was cut, redacted or left out."""

from __future__ import annotations

import pytest
from tests.diagnosis.stories import ROOT, Story, tool

from llmtrace.diagnosis import diagnose
from llmtrace.evaluation import evaluate_trace
from llmtrace.model import Custom, Span, Trace, replace
from llmtrace.semconv import CONTENT_REDACTED

REFUND = tool("refund", "order_id", changes=True)


def stored(story: Story, *more: Span) -> Trace:
    """The trace as a store has it after its content was redacted, with spans that the live run did not see."""
    live, _ = evaluate_trace(story.trace())
    redacted = [replace(span, attributes={**span.attributes, CONTENT_REDACTED: 1}) for span in live.spans]
    return Trace([*redacted, *more])


def test_a_program_that_died_shows_without_content() -> None:
    """A step that never ended is certain, whatever content is missing, and though the live run could not see it."""
    story = Story().user("Hello?").answer("Hi.")
    trace = story.trace()
    background = Span(trace.trace_id, "9" * 16, "index", 5, None, parent_id=ROOT, operation=Custom(), run_id=trace.root.run_id)
    (suspect,) = diagnose(stored(story, background)).marked
    assert (suspect.check, suspect.label, suspect.confidence) == ("end_state", "interrupted", "certain")


@pytest.mark.parametrize("identifier", ["KS-1107", "KS-20431"])
def test_a_law_of_content_neither_adds_nor_loses_a_mark(identifier: str) -> None:
    """What the live run said stands, also if redaction took away the source of a value."""
    story = Story(REFUND).user("Refund KS-1107.").call("refund", {"refunded": True}, order_id=identifier).answer("Done.")
    trace = stored(story)
    without_task = [
        replace(span, operation=replace(span.operation, input=())) if hasattr(span.operation, "input") else span
        for span in trace.spans
    ]
    live = diagnose(evaluate_trace(story.trace())[0]).marked
    assert [(mark.check, mark.label) for mark in diagnose(Trace(without_task)).marked] == [
        (mark.check, mark.label) for mark in live
    ]


def test_a_mark_whose_span_was_removed_stands_on_the_run() -> None:
    """The journal may have lost the oldest spans. A mark that rests on one of them is shown on the outermost span."""
    story = Story(REFUND).user("Refund KS-1107.")
    story.call("refund", {"refunded": True}, order_id="KS-20431").answer("Done.")
    trace = stored(story)
    diagnosis = diagnose(Trace([span for span in trace.spans if span.span_id in (trace.root.span_id, trace.spans[-1].span_id)]))
    (mark,) = diagnosis.marked
    assert (mark.label, mark.span_id, mark.spans) == ("in_change", trace.root.span_id, (trace.root.span_id,))
