"""Which differences of two sets of runs are causes: those that hold within each set."""

from __future__ import annotations

from typing import Any

from llmtrace.fingerprints import fingerprint
from llmtrace.model import AgentInvocation, Inference, Message, Span, Text, ToolDefinition, Trace, replace
from llmtrace.statistics.run_sets import RunSet, compare_sets


def runs(*calls: dict[str, Any]) -> RunSet:
    """One run of one call for each of these fields."""
    made = RunSet()
    for number, fields in enumerate(calls):
        text = fields.pop("text", "Be kind.")
        inference = Inference("openai", request_model="m", input=(Message("system", (Text(text),)),), **fields)
        inference = replace(inference, fingerprint=fingerprint(inference))
        trace_id = f"{number + 1:032x}"
        root = Span(trace_id, "1" * 16, "a", 0, 99, operation=AgentInvocation("a"))
        made.add(Trace([root, Span(trace_id, "2" * 16, "chat", 1, 50, "1" * 16, operation=inference)]))
    return made


def causes(before: RunSet, now: RunSet) -> list[tuple[str, str]]:
    return [(change.fact.kind, change.fact.name) for change in compare_sets(before, now).causes]


TOOL = (ToolDefinition("look_up"),)


def test_what_only_some_runs_of_a_set_have_is_no_cause() -> None:
    mixed = runs({"tools": TOOL}, {})
    assert causes(mixed, runs({}, {})) == causes(runs({}, {}), mixed) == []
    assert causes(runs({"tools": TOOL}, {"tools": TOOL}), runs({}, {})) == [("tool", "look_up")]


def test_what_differs_from_run_to_run_is_no_cause() -> None:
    """A prompt that holds the date, say."""
    dated = [runs(*({"text": f"Today is day {day}."} for day in days)) for days in (range(10), range(10, 20))]
    assert causes(*dated) == []
    assert causes(runs({"text": "One."}, {"text": "One."}), runs({"text": "Two."})) == [("system prompt", "")]


def test_the_task_is_no_cause() -> None:
    asked = [runs({}), runs({})]
    assert causes(*asked) == []
