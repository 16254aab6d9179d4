"""The searches that docs/how_to/backends.md gives for verdicts, asked of backends that compare as Jaeger and Tempo do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmtrace import semconv as sc
from llmtrace.codec import genai
from llmtrace.laws.finding import Finding
from llmtrace.model import AgentInvocation, Evaluation, Failure, RawSpan, Span, ToolExecution, Violation, replace
from llmtrace.run_verdict import RunVerdict
from tests.store.remote.backends import FakeJaegerToday

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how_to/backends.md"
REPEATED = Finding("repeated_call", "same_result", "certain", "a" * 16, "again", "It was called three times.", "Stop it.")
NEVER_RIGHT = Finding("invalid_tool_call", "never_right", "certain", "a" * 16, "invalid", "It failed.", "Describe it.")
WRONG = Violation("wrong_type", "/x", "type", "no number")
INVALID = Evaluation("invalid_tool_call", "error", "no number", "wrong_type")
RUNS: dict[str, tuple[list[Evaluation], list[Finding], Failure | None]] = {
    "good": ([], [], None),
    "failed": ([], [], Failure("TimeoutError")),
    "repeated": ([], [REPEATED], None),
    "invalid": ([INVALID], [], None),
    "both": ([INVALID], [REPEATED, NEVER_RIGHT], None),
}
"""For each run: the facts about its tool call, its findings, and the failure of its agent."""
EXPECTED = {
    "that look wrong": {"failed", "repeated", "both"},
    "that failed": {"failed"},
    "that went on, with a certain or likely suspect": {"repeated", "both"},
    "of one agent that look wrong": {"failed", "repeated", "both"},
    "with a certain finding": {"repeated", "both"},
    "with repeated calls": {"repeated", "both"},
    "with an argument of a wrong type": {"invalid", "both"},
    "with several findings": {"both"},
}


def spans(number: int, facts: list[Evaluation], findings: list[Finding], failure: Failure | None) -> list[Span]:
    """A run of two spans, with what a recorder or a receiver writes on the outermost one."""
    trace_id = f"{number:032x}"
    violations = (WRONG,) if facts else ()
    resource = {"service.name": "shop"}
    tool = Span(trace_id, f"{number:015x}2", "pay", 10, 20, f"{number:015x}1", operation=ToolExecution("pay"), run_id="a")
    tool = replace(tool, evaluations=tuple(facts), violations=violations, resource=resource)
    root = Span(trace_id, f"{number:015x}1", "support", 5, 30, operation=AgentInvocation("support"), run_id="a")
    root = replace(root, failure=failure, resource=resource, evaluations=tuple(map(Finding.as_evaluation, findings)))
    return [tool, replace(root, attributes=RunVerdict().attributes(root, findings, has_error=bool(facts)))]


MADE = {name: [genai.encode(span) for span in spans(number, *run)] for number, (name, run) in enumerate(RUNS.items(), 1)}


def searches() -> Iterator[tuple[str, str, str]]:
    """The rows of the page's table."""
    text = PAGE.read_text(encoding="utf-8").partition("## Search for verdicts")[2].partition("\n## ")[0]
    for about, jaeger, tempo in re.findall(r"^\| ([^|`]+) \| ([^|]*) \| ([^|]+) \|$", text, re.MULTILINE)[1:]:
        yield about.strip(), jaeger.strip().strip("`"), tempo.strip().strip("`")


ROWS = list(searches())


def test_every_row_is_known() -> None:
    assert {about for about, _, _ in ROWS} == EXPECTED.keys()


@pytest.mark.parametrize(("about", "tags"), [(about, tags) for about, tags, _ in ROWS if tags != "not possible"])
def test_a_jaeger_finds_the_runs(about: str, tags: str) -> None:
    """Each value is compared as text, all of them on one span."""
    backend = FakeJaegerToday()
    backend.raws = [raw for raws in MADE.values() for raw in raws]
    wanted = dict(pair.split("=") for pair in tags.split())
    try:
        options = {"query.serviceName": "shop", "query.searchDepth": "20", "query.attributes": json.dumps(wanted)}
        times = {"query.startTimeMin": "1970-01-01T00:00:00.000000000Z", "query.startTimeMax": "2100-01-01T00:00:00.000000000Z"}
        found = {summary["traceId"] for summary in backend.search({**options, **times})}
    finally:
        backend.close()
    assert found == {MADE[name][0].trace_id for name in EXPECTED[about]}


@pytest.mark.parametrize(("about", "query"), [(about, query) for about, _, query in ROWS])
def test_a_tempo_finds_the_runs(about: str, query: str) -> None:
    """By the forms of TraceQL that the page uses: one span set, its conditions joined by &&, values with their types."""
    found = {name for name, raws in MADE.items() if any(_matches(raw, query) for raw in raws)}
    assert found == EXPECTED[about]


def _matches(raw: RawSpan, query: str) -> bool:
    inner = re.fullmatch(r"\{ (.+) \}", query)
    assert inner is not None
    conditions = [re.fullmatch(r'span\.([\w.]+) (=|>) (true|\d+|"\w+")', part) for part in inner[1].split(" && ")]
    assert all(conditions)
    return all(_holds(raw, *condition.groups()) for condition in conditions if condition is not None)


def _holds(raw: RawSpan, name: str, operator: str, text: str) -> bool:
    value, held = json.loads(text), raw.attributes.get(name)
    if type(value) is not type(held):
        return False
    return held == value if operator == "=" else held > value  # type: ignore[operator]


def test_verdicts_hold_no_content() -> None:
    """On the outermost span only what `RunVerdict` writes, which are names and counts."""
    assert MADE["both"][1].attributes.keys() >= {sc.HEALTH, sc.SUSPECT, sc.WORST_FINDING, sc.FINDINGS_COUNT}
    assert sc.SUSPECT not in MADE["good"][1].attributes
    assert MADE["good"][1].attributes[sc.HEALTH] == "ok"
