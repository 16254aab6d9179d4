"""Whether a span failed has one meaning for all writers, and does not depend on whether there is a result."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrace import semconv as sc
from llmtrace.codec import genai
from llmtrace.codec.dialects import decode
from llmtrace.model import Event, Failure, RawSpan, Span, ToolExecution, Trace, replace
from tests import strategies as some

RAW = RawSpan("1" * 32, "2" * 16, "execute_tool look_up", 1, 2, attributes={sc.OPERATION_NAME: "execute_tool"})
RAISED = Event(sc.EXCEPTION_EVENT, 1, {sc.EXCEPTION_TYPE: "TimeoutError", sc.EXCEPTION_MESSAGE: "too slow"})


def read(**changes: Any) -> Span:
    attributes = {**RAW.attributes, **changes.pop("attributes", {})}
    return decode(replace(RAW, attributes=attributes, **changes))


@pytest.mark.parametrize(
    ("changes", "failure"),
    [
        ({"status": "error"}, Failure("error")),
        ({"status": "error", "status_message": "gone"}, Failure("error", "gone")),
        ({"status": "error", "attributes": {"error.type": "503"}}, Failure("503")),
        ({"events": (RAISED,)}, Failure("TimeoutError", "too slow")),
        ({"status": "error", "events": (RAISED,)}, Failure("TimeoutError", "too slow")),
        ({"attributes": {"error.type": "503"}}, Failure("503")),
        ({"status": "ok", "attributes": {"error.type": "503"}}, Failure("503")),
        ({"attributes": {"gen_ai.tool.call.outcome": "error"}}, Failure("error")),
        ({"attributes": {"gen_ai.tool.call.outcome": "Failed", "gen_ai.tool.error.type": "sold_out"}}, Failure("sold_out")),
    ],
)
def test_a_span_failed_by_each_sign(changes: dict[str, Any], failure: Failure) -> None:
    """Status ERROR, an exception event, error.type, or an outcome; the type is never empty."""
    span = read(**changes)
    assert span.failure == failure
    assert genai.decode(genai.encode(span)) == span


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"status": "ok"},
        {"status": "ok", "events": (RAISED,)},
        {"events": (replace(RAISED, attributes={**RAISED.attributes, "exception.escaped": False}),)},
        {"attributes": {"error.type": "none"}},
        {"attributes": {"error.type": ""}},
        {"attributes": {"gen_ai.tool.call.outcome": "success"}},
        {"attributes": {"outcome": "error"}},
        {"events": (Event("retry", 1),)},
    ],
)
def test_a_span_without_a_sign_did_not_fail(changes: dict[str, Any]) -> None:
    """A status OK or a handled exception is not a failure either."""
    span = read(**changes)
    assert span.failure is None
    assert genai.decode(genai.encode(span)) == span


def test_a_failure_and_a_result_are_both_kept() -> None:
    """The answer of a tool may explain why it failed."""
    span = read(status="error", attributes={sc.TOOL_CALL_RESULT: "try again"})
    assert span.failure is not None
    assert isinstance(span.operation, ToolExecution)
    assert (span.operation.result, span.operation.has_result) == ("try again", True)


def test_health_has_the_same_meaning_of_failed() -> None:
    """The run failed if its root failed, and recovered if a span below failed, whatever sign the writer uses."""
    for sign in ({"status": "error"}, {"events": (RAISED,)}, {"attributes": {"error.type": "503"}}):
        failed = replace(RAW, **{**sign, "attributes": {**RAW.attributes, **sign.get("attributes", {})}})  # type: ignore[dict-item]
        below = replace(failed, span_id="3" * 16, parent_id="4" * 16, start=2)
        root = replace(RAW, attributes={}, status="ok")
        between = replace(root, span_id="4" * 16, parent_id=root.span_id)
        assert Trace([decode(failed)]).health == "failed"
        assert Trace([decode(root), decode(between), decode(below)]).health == "recovered"


def test_our_own_span_failed_if_its_status_is_error() -> None:
    """An exception event or attribute that the program added to our own span is not a failure of the span."""
    ours = Span("1" * 32, "2" * 16, "s", 1, 2, run_id="f" * 32, events=(RAISED,), attributes={"error.type": "503"})
    assert decode(genai.encode(ours)) == ours


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["error.type", "gen_ai.tool.call.outcome", "genkit:state", "gen_ai.tool.error.type"]),
        st.sampled_from(["error", "none", "timeout", "", 3]),
    ),
    st.lists(st.just(RAISED) | some.events(), max_size=2),
    st.none() | some.failures(),
)
def test_no_failure_turns_into_another(attributes: dict[str, Any], events: list[Event], failure: Failure | None) -> None:
    """A span without a run keeps its failure, or has none, whatever attributes and events a user adds."""
    span = Span("1" * 32, "2" * 16, "s", 1, 2, attributes=attributes, events=tuple(events), failure=failure)
    assert some.alike(genai.decode(genai.encode(span)), span)
