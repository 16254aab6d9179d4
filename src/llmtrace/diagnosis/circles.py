"""Clues of runs that went in circles: the same call over and over, a row of calls that comes again, the same words again.

Law: a circle is one clue, where it began; what led to it came right before.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from llmtrace.diagnosis.budgets import stop_of
from llmtrace.diagnosis.clue import Clue, place_of
from llmtrace.diagnosis.flow import Flow, Node
from llmtrace.diagnosis.tools import has_failed, is_polled
from llmtrace.model import Evaluation, Span, Trace

LOOP = "loop"
"""The quality signal whose findings stand here."""
REPEATS = 3
"""Equal calls with equal results from which on a run goes in circles."""
_SOONER = "A budget on repeats (Budget(repeats=3)) ends such a run early."
_ROUNDS = frozenset({"ping_pong", "cycle"})
_SHOWN = 4


def circles(trace: Trace, flow: Flow) -> Iterator[Clue]:
    rounds = list(_rounds(trace, flow))
    found = [_round(nodes, told) for nodes, told in rounds]
    found += _repeated(flow, {node for nodes, _ in rounds for node in nodes})
    found += _again(trace, flow)
    if stop_of(trace) is None:
        for clue in found:
            clue.advice += f" {_SOONER}"
    yield from found


def _found(trace: Trace) -> Iterator[tuple[Span, Evaluation]]:
    return ((span, found) for span in trace.spans for found in span.evaluations if found.name == LOOP)


def _rounds(trace: Trace, flow: Flow) -> Iterator[tuple[list[Node], Evaluation]]:
    """The calls of each circle of several, from its first to the end of its last turn, and what was said of that."""
    last: dict[str, tuple[Span, Evaluation]] = {}
    for span, found in _found(trace):
        if found.label in _ROUNDS and found.sources:
            last[found.sources[-1]] = span, found
    executed = {node.execution.span_id: node for node in flow.nodes if node.execution is not None}
    for first, (span, found) in last.items():
        start, end = executed.get(first), executed.get(span.span_id)
        if start is not None and end is not None:
            yield [node for node in flow.nodes[start.place : end.place + 1] if node.kind == "call"], found


def _round(nodes: list[Node], found: Evaluation) -> Clue:
    first = nodes[0]
    tools = list(dict.fromkeys(node.tool for node in nodes))
    more = f" and {len(tools) - _SHOWN} more" if len(tools) > _SHOWN else ""
    turns = found.evidence.get("turns")
    often = f"{turns} times" if isinstance(turns, int) else "again and again"
    evidence = f"From here on the same calls came {often} with the same results: {', '.join(tools[:_SHOWN])}{more}."
    return _clue(first, evidence)


def _repeated(flow: Flow, told: set[Node]) -> Iterator[Clue]:
    """The same call with the same result over and over, but for calls that are to be repeated, and those that were until the
    result was another one."""
    groups: dict[tuple[Hashable, ...], list[Node]] = {}
    last: dict[tuple[Hashable, ...], Node] = {}
    for node in flow.nodes:
        if node.kind == "call" and node.has_result and not has_failed(node) and not is_polled(node):
            call = node.task, node.tool, repr(node.arguments)
            groups.setdefault((*call, repr(node.result)), []).append(node)
            last[call] = node
    for key, nodes in groups.items():
        if len(nodes) >= REPEATS and nodes[0] not in told and last[key[:-1]] is nodes[-1]:
            times = f"{nodes[0].tool} was called {len(nodes)} times"
            yield _clue(nodes[0], f"{times} with the same arguments and gave the same result each time.")


def _clue(first: Node, evidence: str) -> Clue:
    """A symptom: the first call, or what came before, is where to look."""
    advice = f"Look at the first call of {first.tool} and what led to it."
    title = f"the run went in circles, beginning with {first.tool}"
    return Clue("repeated", place_of(first), title, evidence, advice, "warning", first, value=first.arguments)


def _again(trace: Trace, flow: Flow) -> Iterator[Clue]:
    """Calls that differ in trifles only, and an answer that was given before: each row of them once, where it began."""
    began: dict[str, str] = {}
    last: dict[str, Evaluation] = {}
    said: dict[str, str] = {}
    for answer in flow.nodes:
        if answer.kind == "answer":
            said.setdefault(answer.text, answer.span_id)
    for span, found in _found(trace):
        if found.label in _ROUNDS:
            continue
        node = flow.node_of(span, found.call_id)
        if not found.sources and node is not None and node.kind == "call":
            continue  # words along with the same call again, which is told itself
        before = found.sources[-1] if found.sources else said.get(node.text, span.span_id) if node is not None else ""
        first = began[span.span_id] = began.get(before, before or span.span_id)
        last[first] = found
    spans = {span.span_id: span for span in trace.spans if span.span_id in last}
    for span_id, found in last.items():
        if span_id in spans:
            yield _similar(spans[span_id], found, flow)


def _similar(span: Span, found: Evaluation, flow: Flow) -> Clue:
    label = (found.label or "").replace("_", " ")
    evidence = f"{found.explanation[:1].upper()}{found.explanation[1:]}; it began here."
    advice = "Look at what came before the first turn."
    return Clue("finding", span.span_id, f"loop on {span.name} ({label})", evidence, advice, found.severity, flow.node_of(span))
