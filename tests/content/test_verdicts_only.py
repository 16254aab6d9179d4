"""What is counted of a run stays without its content: its verdict, its issues, and no word that anybody wrote."""

from __future__ import annotations

import pytest

from llmtrace.codec import genai
from llmtrace.content.strip import verdicts_only
from llmtrace.evaluation import evaluate_trace
from llmtrace.list_verdicts import verdict_of
from llmtrace.model import Custom, Failure, Span, Trace
from llmtrace.model.spans import raised_at
from llmtrace.model.traces import in_traces
from tests import failing_runs
from tests.laws.law_cases import CANARY, CASES

FAILED = {trace.trace_id: trace for trace in in_traces(failing_runs.spans())}
JUDGED = [(law, label) for law, cases in CASES.items() for label in cases.findings]


def counted(trace: Trace) -> Trace:
    return Trace([genai.decode(verdicts_only(genai.encode(span))) for span in trace.spans])


def marks(trace: Trace) -> tuple[object, ...]:
    verdict = verdict_of(trace)
    return verdict.health, verdict.check, verdict.confidence, {issue.issue for issue in verdict.issues}


@pytest.mark.parametrize("kind", failing_runs.FILTERS)
def test_a_failed_run_stays_what_it_was(kind: str) -> None:
    """Health, first suspect and issues are those of the whole run."""
    trace = FAILED[failing_runs.TRACES[kind]]
    assert marks(counted(trace)) == marks(trace)


@pytest.mark.parametrize(("law", "label"), JUDGED)
def test_what_a_law_marks_stays_marked(law: str, label: str) -> None:
    """Of every law: health and first suspect are those of the whole run. (Its issue may be another one, if words of a result
    told them apart.)"""
    trace, _ = evaluate_trace(Trace(CASES[law].findings[label][1]))
    assert marks(counted(trace))[:3] == marks(trace)[:3]


@pytest.mark.parametrize("law", CASES)
def test_no_content_stays(law: str) -> None:
    """The cases of the laws have a canary in all their content."""
    for spans in CASES[law].runs:
        trace, _ = evaluate_trace(Trace(spans))
        left = [raw for span in trace.spans if CANARY in repr(raw := verdicts_only(genai.encode(span)))]
        assert left == []


def test_of_a_stack_trace_the_place_stays() -> None:
    """An issue is the same one if the error was raised in the same function, and no line of code is needed for that."""
    stack = 'File "/home/ada/shop/agent.py", line 17, in support\n    refund("ada@example.com")\nValueError: ada@example.com'
    span = Span("a" * 32, "b" * 16, "step", 1, 2, operation=Custom(), failure=Failure("ValueError", "ada@example.com", stack))
    kept = genai.decode(verdicts_only(genai.encode(span)))
    assert raised_at(kept.failure) == raised_at(span.failure) == "agent.py:17 in support"
    assert "ada" not in repr(kept)
