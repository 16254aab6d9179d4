"""Tools that failed, and whether anything later did the job."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from llmtrace.diagnosis.checks import Check, Run
from llmtrace.diagnosis.failure_text import advice_for_tool, how_call_failed
from llmtrace.diagnosis.finding import Finding, of_call, plural
from llmtrace.diagnosis.flow import Node
from llmtrace.diagnosis.result import Confidence
from llmtrace.evidence.calls import Call, result_text
from llmtrace.evidence.results import is_empty

WORKED_AROUND = 5
"""Calls that went well after a failure from which on the run has worked around it."""
SAME_ERRORS = 3
_TARGETS = frozenset({"identifier", "email", "number"})
"""Kinds of whole arguments that say what a change is about."""


def failed_tools(run: Run) -> Iterator[Finding]:
    """A tool failed, was refused or never ran, and no later call of it did the job.

    It is certain where the run had one task, ended with an answer, and few other calls went well afterwards: a run that goes on
    for long has worked around it. A lookup is only likely missed if the answer took its data from a later one. A later call did
    the job if it was asked for after the failure, went well, and does not change another thing that was known before.
    """
    by_tool: dict[str, list[Node]] = defaultdict(list)
    for node in run.calls:
        if node.call is not None and node.call.failed:
            by_tool[node.tool].append(node)
    for tool, failures in by_tool.items():
        unresolved = [node for node in failures if not any(_did_the_job(node, later) for later in run.later_calls(node, tool))]
        if unresolved:
            yield from _unresolved(run, tool, unresolved)
        elif failures:
            first = failures[0]
            evidence = f"{tool} failed: it {how_call_failed(first)}. A later call of it went well."
            advice = advice_for_tool(first)
            title = f"{tool} failed at first"
            yield of_call("failed_then_succeeded", "possible", first, title, evidence, advice, cause_key=tool)


def _unresolved(run: Run, tool: str, nodes: list[Node]) -> Iterator[Finding]:
    first = nodes[0]
    confidence = _confidence(run, nodes)
    then = ", and the run ended with an answer" if run.is_answered else ""
    times = f" ({len(nodes)} times in all)" if len(nodes) > 1 else ""
    evidence = f"{tool} failed{times}: it {how_call_failed(first)}. No later call of it went well{then}."
    title = _title(tool, first)
    spans = tuple(node.place for node in nodes)
    yield of_call("never_succeeded", confidence, first, title, evidence, advice_for_tool(first), cause_key=tool, spans=spans)


def _confidence(run: Run, nodes: Sequence[Node]) -> Confidence:
    if not run.is_answered or not run.has_one_task:
        return "possible"
    later = [_successes_after(run, node) for node in nodes]
    if all(len(successes) >= WORKED_AROUND for successes in later):
        return "possible"
    is_lookup = nodes[0].call is not None and not nodes[0].call.is_change
    return "likely" if is_lookup and any(map(run.feeds_answer, later[-1])) else "certain"


def _successes_after(run: Run, node: Node) -> list[Node]:
    return [later for later in run.later_calls(node) if later.call is not None and later.call.failed is False]


def _title(tool: str, node: Node) -> str:
    call = node.call
    if call is not None and call.offered is False:
        return "a tool that does not exist was called"
    if call is not None and not call.executed:
        return f"{tool} never ran"
    return f"{tool} never succeeded"


def _did_the_job(failed: Node, later: Node) -> bool:
    if later.call is None or later.call.failed is not False:
        return False
    if failed.call is None or not failed.call.is_change:
        return True
    wanted, done = _targets(failed), _targets(later)
    if not wanted or not done or not wanted.isdisjoint(done):
        return True
    return not _was_known(failed, later)


def _targets(node: Node) -> set[str]:
    return {use.key for use in node.uses if use.whole and use.kind in _TARGETS}


def _was_known(failed: Node, later: Node) -> bool:
    """True if all targets of the later call had been visible before the failure: it is another job, not a correction."""
    uses = [use for use in later.uses if use.whole and use.kind in _TARGETS]
    sources = [edge.source for use in uses for edge in later.earlier if edge.use.key == use.key and edge.via == "result"]
    return bool(sources) and all(source.position < failed.position for source in sources)


def same_error(run: Run) -> Iterator[Finding]:
    """A tool failed in the same way three times within one turn, and never went well in between: the agent tried again without
    learning from the answer."""
    groups: dict[tuple[str, int], dict[str, list[Node]]] = defaultdict(lambda: defaultdict(list))
    for node in run.calls:
        if node.call is None:
            continue
        failures = groups[node.tool, node.turn]
        if node.call.failed:
            failures[result_text(node.call)].append(node)
        elif node.call.failed is False:
            yield from _same_errors(node.tool, failures)
            failures.clear()
    for (tool, _), failures in groups.items():
        yield from _same_errors(tool, failures)


def _same_errors(tool: str, failures: Mapping[str, Sequence[Node]]) -> Iterator[Finding]:
    for error, nodes in failures.items():
        rounds = len({node.span_id for node in nodes})
        if error and rounds > 1:
            first, times = nodes[0], plural(rounds, "time")
            evidence = f"{tool} failed in the same words {times}: it {how_call_failed(first)}. It never went well in between."
            advice = f"Stop after the same error twice: have {tool} say what a right call looks like, or end the run."
            confidence: Confidence = "certain" if rounds >= SAME_ERRORS else "possible"
            title, spans = f"{tool} failed in the same way {times}", tuple(node.place for node in nodes)
            yield of_call("same_error", confidence, first, title, evidence, advice, cause_key=(tool, error), spans=spans)


def nothing_found(run: Run) -> Iterator[Finding]:
    """A run with one task answered, and each of its calls, two different ones or more, failed or came back empty."""
    calls = [node.call for node in run.calls if node.call is not None]
    if not run.is_answered or not run.has_one_task or len({call.key for call in calls}) < 2 or not all(map(_is_barren, calls)):
        return
    answer = run.flow.outcome
    assert answer is not None
    evidence = f"None of the {len(calls)} calls brought anything: each failed or came back empty."
    advice = "Have the model say that it found nothing, or end the run with that outcome."
    yield Finding(
        "nothing_found", "likely", answer.span_id, "the answer rests on no data", evidence, advice, node=answer,
        spans=tuple(call.span_id for call in calls),
    )  # fmt: skip


def _is_barren(call: Call) -> bool:
    return bool(call.failed) or (call.has_result and not call.is_change and is_empty(call.result))


CHECKS = (
    Check("failed_tools", failed_tools, ("calls", "results")),
    Check("repeated_errors", same_error, ("calls", "results")),
    Check("runs_without_data", nothing_found, ("calls", "results")),
)
