"""What a diagnosis says was checked: only laws that judged, did not fail, and of which the data was recorded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.diagnosis.stories import Story, tool

from llmtrace import laws
from llmtrace.diagnosis import Finding, diagnose
from llmtrace.laws import Law
from llmtrace.laws.failed_tool import FailedTool
from llmtrace.model import Failure, Scope, Span, Trace, replace
from llmtrace.reading.ended_run import EndedRun

LOOK_UP = tool("look_up", "order_id")
DOWN = Failure("tool_error", "the service is down")


def good_run() -> Story:
    story = Story(LOOK_UP).user("Where is KS-1107?")
    return story.call("look_up", {"state": "sent"}, order_id="KS-1107").answer("It was sent.")


@pytest.mark.guard_may_log
def test_a_law_that_fails_is_not_called_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A law that raises in the middle of a run has judged nothing, and the diagnosis says so."""
    judge = FailedTool.judge

    def broken(self: FailedTool, run: EndedRun) -> Iterator[Finding]:
        yield from judge(self, run)
        raise KeyError("order")

    story = Story(LOOK_UP).user("Where is KS-1107?").call("look_up", failure=DOWN, order_id="KS-1107").answer("It was sent.")
    assert "failed_tool" in story.diagnosis().checked
    monkeypatch.setattr(FailedTool, "judge", broken)
    diagnosis = story.diagnosis()
    assert "failed_tool" not in diagnosis.checked
    assert "repeated_call" in diagnosis.checked
    assert "What failed_tool looks for was not checked, since it failed with KeyError." in diagnosis.unchecked
    assert "failed_tool" not in [suspect.check for suspect in diagnosis.suspects]


def test_a_law_that_only_states_facts_is_no_check() -> None:
    """Facts about steps mark nothing, so only a law that judges the run counts; one that looks at answers needs some."""
    judges = {law.name for law in laws.load() if type(law).judge is not Law.judge}
    assert set(good_run().diagnosis().checked) == judges - {"unconfirmed_change"}  # no change was read back
    assert not {"refusal", "low_confidence", "malformed_output", "served_call", "slo"} & judges
    without_content = diagnose(Trace([Span("c" * 32, "a" * 16, "GET /health", 0, 5)]))
    assert without_content.checked == ("end_state",)


def test_what_was_not_evaluated_is_not_called_checked() -> None:
    """In spans of another writer that nobody evaluated, no violation and no fact could be found."""
    trace = good_run().trace()
    foreign = Trace([replace(span, run_id=None, scope=Scope("another"), evaluations=()) for span in trace.spans])
    diagnosis = diagnose(foreign)
    assert not {"invalid_tool_call", "defective_output", "leaked_tool_call"} & set(diagnosis.checked)
    assert "failed_tool" in diagnosis.checked
    assert "not evaluated: llmtrace check" in diagnosis.unchecked[0]
    assert good_run().diagnosis().unchecked == ()
