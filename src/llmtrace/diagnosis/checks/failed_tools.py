"""Finds tools that failed although no later call did their job, repeated errors, and answers without any data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from llmtrace.diagnosis.checks import Check
from llmtrace.diagnosis.failure_text import advice_for_tool, how_call_failed
from llmtrace.diagnosis.finding import Finding, of_call, plural
from llmtrace.diagnosis.flow import CallNode, Flow
from llmtrace.diagnosis.result import Confidence
from llmtrace.reading.call_log import changes_same_file, result_text
from llmtrace.reading.result_form import is_empty

WORKED_AROUND = 5
"""A run with this many successful calls after a failure has worked around the failure."""
SAME_ERRORS = 3


def failed_tools(flow: Flow) -> Iterator[Finding]:
    """Find tools that failed, were refused or never ran, if no later call did their job.

    Certain if the run had one task, ended with an answer, and fewer than `WORKED_AROUND` calls succeeded afterwards. Only
    likely for a lookup if the answer took its data from a later call.

    A later call did the job if it was asked for after the failure, succeeded, and is not a change of another thing that was
    known before the failure. A call of another tool did the job if it asked for the same or changed the same file. Tools that
    do not exist are left to `unknown_tools`, because another tool does their job.
    """
    for tool, calls in flow.calls_by_tool.items():
        failures = [node for node in calls if node.call.failed and node.call.offered is not False]
        # each search is bounded by `MOST_LATER`, so the calls of the same tool get a search of their own
        unresolved = [
            node
            for node in failures
            if not any(_did_the_job(flow, node, later) for later in chain(flow.later_calls(node, tool), flow.later_calls(node)))
        ]
        if unresolved:
            successes = sum(node.call.failed is False for node in calls)
            yield _unresolved(flow, tool, unresolved, successes)
        elif failures:
            first = failures[0]
            title = f"{first.name} failed at first"
            evidence = f"{tool} failed: it {how_call_failed(first)}. A later call went well"
            evidence += ", so the change may have been made twice." if first.call.is_change and first.call.timed_out else "."
            advice = advice_for_tool(first)
            yield of_call("failed_then_succeeded", "possible", first, title, evidence, advice, cause_key=tool)


def _unresolved(flow: Flow, tool: str, nodes: list[CallNode], successes: int) -> Finding:
    """Return the finding for failures that no later call made good.

    ``successes``: number of calls of the tool that succeeded, either earlier or about other things.
    """
    first = nodes[0]
    then = ", and the run ended with an answer" if flow.is_answered else ""
    times = f" ({len(nodes)} times in all)" if len(nodes) > 1 else ""
    other_calls = f"; {plural(successes, 'other call')} of it went well" if successes else ""
    evidence = f"{tool} failed{times}: it {how_call_failed(first)}. Nothing did that job later{then}{other_calls}."
    spans = tuple(node.place for node in nodes)
    return of_call(
        "never_succeeded", _confidence(flow, nodes), first, _title(first, successes), evidence, advice_for_tool(first),
        cause_key=tool, spans=spans,
    )  # fmt: skip


def _confidence(flow: Flow, nodes: Sequence[CallNode]) -> Confidence:
    if not flow.is_answered or not flow.has_one_task:
        return "possible"
    if all(node.call.may_be_finding for node in nodes):  # the error may be the information that was asked for
        return "possible"
    first, call = nodes[0], nodes[0].call
    later = [[after for after in flow.later_calls(node) if after.call.failed is False] for node in nodes]
    # the same change for other things does not work around the failure
    is_batch = call.is_change and any(_is_other_job(flow, first, after) for after in flow.later_calls(first, call.tool))
    if all(len(successes) >= WORKED_AROUND for successes in later) and not is_batch:
        return "possible"
    return "likely" if not call.is_change and any(map(flow.feeds_answer, later[-1])) else "certain"


def _title(node: CallNode, successes: int) -> str:
    if successes:
        return f"one call of {node.name} never succeeded"
    if not node.call.executed:
        return f"{node.name} never ran"
    return f"{node.name} never succeeded"


def _did_the_job(flow: Flow, failed: CallNode, later: CallNode) -> bool:
    if later.call.failed is not False:
        return False
    if failed.tool == later.tool:  # any later lookup counts, but not a change of another thing
        return not failed.call.is_change or not _is_other_job(flow, failed, later)
    question = {use.key for use in failed.uses}
    was_asked_same = not failed.call.is_change and bool(question) and question == {use.key for use in later.uses}
    return was_asked_same or changes_same_file(failed.call, later.call)


def _is_other_job(flow: Flow, failed: CallNode, later: CallNode) -> bool:
    """Return True if a later change is about another thing, so that it is not a corrected attempt.

    Both calls have arguments of the same names. Among the values that differ, those known before the failure decide: one of
    them names a thing (it contains a digit and is not a plain number), or they outnumber the values that are equal.
    """
    before = {use.pointer: use for use in failed.uses if use.whole}
    after = {use.pointer: use for use in later.uses if use.whole}
    if before.keys() != after.keys():
        return False
    pairs = [(before[pointer], use) for pointer, use in after.items()]
    same = sum(old.key == new.key for old, new in pairs)
    known_before = [new for old, new in pairs if old.key != new.key and flow.is_known_at(new, failed)]
    names_thing = any(use.kind != "number" and any(map(str.isdigit, str(use.value))) for use in known_before)
    return names_thing or len(known_before) > same


def same_error(flow: Flow) -> Iterator[Finding]:
    """Find tools that failed again in the same words within one turn: the agent did not learn from the error.

    Certain from `SAME_ERRORS` failures on, else possible; failures of one answer count once. If the tool succeeded afterwards,
    only likely or possible. A change by any tool, or a success of this one, begins a new count.
    """
    groups: dict[tuple[str, int], dict[str, list[CallNode]]] = defaultdict(lambda: defaultdict(list))
    for node in flow.calls:
        if node.call.failed:
            groups[node.tool, node.turn][result_text(node.call)].append(node)
        elif node.call.failed is False:
            for tool, turn in list(groups):
                if tool == node.tool or node.call.is_change:  # the agent did something about it
                    yield from _same_errors(tool, groups.pop((tool, turn)), went_well=tool == node.tool)
    for (tool, _), failures in groups.items():
        yield from _same_errors(tool, failures, went_well=False)


def _same_errors(tool: str, failures: Mapping[str, Sequence[CallNode]], *, went_well: bool) -> Iterator[Finding]:
    for error, nodes in failures.items():
        rounds = len({node.span_id for node in nodes})
        if error and rounds > 1:
            first, times = nodes[0], plural(rounds, "time")
            evidence = f"{tool} failed in the same words {times}: it {how_call_failed(first)}."
            advice = f"Stop after the same error twice: have {tool} say what a right call looks like, or end the run."
            confidence: Confidence = "certain" if rounds >= SAME_ERRORS else "possible"
            if went_well and confidence == "certain":  # the same call may have met a fault that passed
                confidence = "likely" if len({node.call.key for node in nodes}) > 1 else "possible"
            title, spans = f"{first.name} failed again and again in the same way", tuple(node.place for node in nodes)
            yield of_call("same_error", confidence, first, title, evidence, advice, cause_key=(tool, error), spans=spans)


def nothing_found(flow: Flow) -> Iterator[Finding]:
    """Find an answer with values of unknown origin, if every call of the run failed or came back empty. Only for one task."""
    answer = flow.outcome
    calls = [node.call for node in flow.calls]
    is_barren = all(call.failed or (call.has_result and not call.is_change and is_empty(call.result)) for call in calls)
    if answer is None or not flow.is_answered or not flow.has_one_task or not calls or not is_barren:
        return
    statuses = {use.provenance.status for use in answer.uses if use.kind == "number" or use.provenance.status == "ungrounded"}
    if statuses.isdisjoint({"ungrounded", "unknown"}):
        return
    evidence = (
        f"{plural(len(calls), 'call')} brought nothing: each failed or came back empty. The answer states values all the same."
    )
    advice = "Have the model say that it found nothing, or end the run with that outcome."
    spans = tuple(call.span_id for call in calls)
    title = "the answer states values though nothing was found"
    yield Finding("nothing_found", "likely", answer.span_id, title, evidence, advice, node=answer, spans=spans)


CHECKS = (
    Check("failed_tools", failed_tools, ("calls", "results")),
    Check("repeated_errors", same_error, ("calls", "results")),
    Check("runs_without_data", nothing_found, ("calls", "results")),
)
