"""Finds repeated calls: with the same result, in a cycle, or as a change that was made twice."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from llmtrace.diagnosis.checks import Check
from llmtrace.diagnosis.finding import Finding, of_call, plural
from llmtrace.diagnosis.flow import CallNode, Flow
from llmtrace.diagnosis.result import Confidence
from llmtrace.model import AgentInvocation
from llmtrace.reading.call_log import result_text

SAME = 3
"""Number of equal calls with the same result that make a loop."""
_LONGEST_CYCLE = 4
_STOP = "Stop the run when a call repeats: Budget(repeats=2), or have the tool say that the answer is the same as before."


def same_calls(flow: Flow) -> Iterator[Finding]:
    """Find calls that were made again with the same arguments within one turn of the user.

    Certain if the call returned the same result `SAME` times, requested one after the other. A change in between begins a new
    count. Only likely if other changes in between came from the same tool, as with a shell. Possible if results differ, or if
    the call may come again, as a key that is pressed. Calls of models that worked in parallel, or in different conversations,
    are not counted together. Polled tools are left out.

    A change that was made twice is certain if the tool is declared to change something with each call.
    """
    groups: dict[tuple[int, str], list[CallNode]] = defaultdict(list)
    for node in flow.calls:
        call = node.call
        if call.has_arguments and call.is_complete and not call.is_polling:
            groups[node.turn, call.effect_key].append(node)
    changes = [node for node in flow.calls if node.call.is_change and node.call.failed is False]
    for nodes in groups.values():
        if len({node.span_id for node in nodes}) > 1 or (nodes[0].call.is_change and len(nodes) > 1):
            yield _repeated(flow, nodes, changes)


def _repeated(flow: Flow, nodes: Sequence[CallNode], changes: Sequence[CallNode]) -> Finding:
    """Return the finding for a repeated call. ``nodes``: its occurrences. ``changes``: all successful changes of the run."""
    first, call = nodes[0], nodes[0].call
    times, spans = plural(len(nodes), "time"), tuple(node.place for node in nodes)
    results = {result_text(node.call) for node in nodes}
    done = [node for node in nodes if node.call.failed is False]
    confidence: Confidence = "possible"
    if len(results) == 1 and not call.may_come_again:
        others = [change for change in changes if change.call.effect_key != call.effect_key]
        if _longest_streak(flow, nodes, others) >= SAME:
            confidence = "certain"
        elif _longest_streak(flow, nodes, [change for change in others if change.tool != first.tool]) >= SAME:
            confidence = "likely"
    if call.is_change and len(done) > 1:
        description = (
            "which is declared to change something with each call" if call.is_declared_change else "which may change something"
        )
        evidence = (
            f"{first.tool}, {description}, went through {plural(len(done), 'time')} with the same arguments, within one turn."
        )
        advice = f"Give {first.tool} a key against repeats (an idempotency key), or have it refuse what is done already."
        if call.is_declared_change and len({node.span_id for node in nodes}) > 1:
            confidence = "certain"
        # the finding is about the second change, since the first one was right
        title = f"{first.name} was done again with the same arguments"
        return of_call(
            "change_made_twice", confidence, done[1], title, evidence, advice, cause_key=call.effect_key, spans=spans
        )
    same = "the same result" if len(results) == 1 else "other results"
    evidence = f"{first.tool} was called {times} with the same arguments and brought {same}, within one turn."
    title = f"{first.name} was called again and again with the same result"
    if confidence == "possible":
        title = f"{first.name} was called again with the same arguments"
    return of_call("same_call", confidence, first, title, evidence, _STOP, cause_key=first.tool, spans=spans)


def _longest_streak(flow: Flow, nodes: Sequence[CallNode], changes: Sequence[CallNode]) -> int:
    """Return the length of the longest sequence of ``nodes`` that were requested one after the other in one conversation,
    without any of ``changes`` in between."""
    longest = 1
    for calls in _by_conversation(flow, nodes):
        streak = 1
        for before, node in pairwise(calls):
            first, later = flow.trace.span(before.span_id), flow.trace.span(node.span_id)
            # neither of two spans that overlap could know the other's result
            if first is later or (later.start < (first.end or 0) and first.start < (later.end or 0)):
                continue
            between = changes[_first_after(changes, before) : _first_after(changes, node)]
            streak = 1 if between else streak + 1
            longest = max(longest, streak)
    return longest


def _by_conversation(flow: Flow, nodes: Iterable[CallNode]) -> Iterable[list[CallNode]]:
    """Group calls by conversation. An agent that begins anew with the same prompt goes on: it forgot what it did."""
    conversations: dict[tuple[str, int], list[CallNode]] = defaultdict(list)
    for node in nodes:
        call = node.call
        asking = flow.trace.span(call.asking_span) if call.asking_span is not None else None
        above = next(iter(flow.trace.ancestors(asking)), None) if asking is not None else None
        in_agent = above is not None and isinstance(above.operation, AgentInvocation) and call.prompt != 0
        conversations["prompt" if in_agent else "number", call.prompt if in_agent else call.conversation].append(node)
    return conversations.values()


def _first_after(nodes: Sequence[CallNode], node: CallNode) -> int:
    return bisect_right(nodes, node.position, key=lambda candidate: candidate.position)


def cycles(flow: Flow) -> Iterator[Finding]:
    """Find a sequence of two to four different calls that came three times in a row in one conversation, with the same
    arguments and results."""
    calls = [node for node in flow.calls if node.call.has_arguments and not node.call.is_polling and not node.call.is_held_back]
    for conversation in _by_conversation(flow, calls):
        yield from _cycles_in(conversation)


def _cycles_in(calls: Sequence[CallNode]) -> Iterator[Finding]:
    keys = [(node.turn, node.call.effect_key, result_text(node.call)) for node in calls]
    for length in range(2, _LONGEST_CYCLE + 1):
        for start in range(len(keys) - 3 * length + 1):
            part, nodes = keys[start : start + length], calls[start : start + length]
            # a part of equal calls is left to `same_calls`
            if len(set(part)) == 1 or keys[start : start + 3 * length] != part * 3:
                continue
            if not all(node.call.may_come_again for node in nodes):
                names = ", ".join(dict.fromkeys(node.tool for node in nodes))
                evidence = f"The calls {names} came three times over in a row, with the same arguments and results."
                spans = tuple(node.place for node in calls[start : start + 3 * length])
                title = f"the run went in a circle of {length} calls"
                yield of_call("cycle", "certain", nodes[0], title, evidence, _STOP, spans=spans)
                return


CHECKS = (
    Check("repeated_calls", same_calls, ("calls", "results")),
    Check("cycles", cycles, ("calls",)),
)
