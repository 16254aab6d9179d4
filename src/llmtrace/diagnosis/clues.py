"""What in a trace may be the cause of a wrong outcome: one function per kind of clue.

A clue is made for each place, with its evidence; `score` weighs them against each other. ``finding`` is any evaluation of a
quality signal that no other kind stands for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from llmtrace.diagnosis.flow import Flow, Node
from llmtrace.diagnosis.tools import acts, found_nothing, has_failed, is_silent
from llmtrace.lineage import NOUNS, Use
from llmtrace.model import Evaluation, Inference, JsonValue, Severity, Span, ToolExecution, Trace, Violation
from llmtrace.model.traces import OUTCOME
from llmtrace.signals._answers import admits_failure
from llmtrace.signals.unfinished_run import on_reading

Kind: TypeAlias = Literal[
    "made_up", "from_example", "claim", "invalid", "failed", "error", "empty", "repeated", "interrupted", "finding"
]

REPEATS = 3
"""Equal calls with equal results from which on a run goes in circles."""
_ELSEWHERE = frozenset(
    {"ungrounded_argument", "invalid_tool_call", "repeated_call", "failed_tool_ignored", "unfinished_run", "budget", OUTCOME}
)
"""Evaluations that other clues stand for."""
_SHOWN = 60


@dataclass(slots=True)
class Clue:
    kind: Kind
    span_id: str
    title: str
    evidence: str
    advice: str
    severity: Severity = "error"
    node: Node | None = None
    """The call or answer that it is about."""
    use: Use | None = None
    pointer: str | None = None
    value: JsonValue = None
    recovered: bool = False
    """A later call did what this one failed to do."""
    unnoticed: bool = False
    """The run went on, and nothing that the model said shows that it noticed."""
    count: int = 1


def find_clues(trace: Trace, flow: Flow) -> list[Clue]:
    """Every clue, in no order."""
    spans = {span.span_id: span for span in trace.spans}
    clues = [
        *_made_up(flow),
        *_invalid(trace, flow),
        *_failed(flow),
        *_empty(flow),
        *_repeated(flow),
        *_interrupted(trace, spans),
        *_findings(trace, flow),
    ]
    told = {clue.node.execution.span_id for clue in clues if clue.node is not None and clue.node.execution is not None}
    return [*clues, *_errors(trace, flow, told)]


def _made_up(flow: Flow) -> Iterator[Clue]:
    """Values that the model said first and that nothing visible contained: in a call, or in the final answer."""
    for node in flow.nodes:
        for use in node.uses:
            if use.made_up and node.kind == "call":
                yield _argument(node, use)
        if node is flow.outcome and node.kind == "answer":
            claims = [use for use in node.uses if use.made_up]
            if claims:
                yield _claim(node, claims)


def _argument(node: Node, use: Use) -> Clue:
    noun = NOUNS[use.kind].partition(" ")[2]
    example = use.provenance.form == "from_example"
    if example:
        title = f"{node.tool} was called with the example from its own definition as {use.pointer}"
        evidence = f"The {noun} {_quote(use.value)} stands in the definition of {node.tool} and in no message or result before."
    else:
        title = f"{node.tool} was called with a made-up {use.pointer}"
        evidence = f"The {noun} {_quote(use.value)} is in no message and no result that came before this call."
    if node.has_result and not has_failed(node):
        evidence = f"{evidence[:-1]}; {node.tool} answered all the same."
    advice = (
        f"Have the model ask for what it was not given, and let {node.tool} check that the {noun} belongs to whom it serves."
    )
    kind: Kind = "from_example" if example else "made_up"
    return Clue(kind, node.span_id, title, evidence, advice, "info", node, use, use.pointer, use.value)


def _claim(node: Node, claims: list[Use]) -> Clue:
    values = ", ".join(_quote(use.value) for use in claims[:3])
    more = f" and {len(claims) - 3} more" if len(claims) > 3 else ""
    evidence = f"{values}{more}: in no message and no result before the answer."
    advice = "Have the answer quote results only, and check its values against them before it goes out."
    what = "a value" if len(claims) == 1 else f"{len(claims)} values"
    title = f"the answer states {what} that nothing before it contains"
    return Clue("claim", node.span_id, title, evidence, advice, "info", node, None, None, claims[0].value)


def _invalid(trace: Trace, flow: Flow) -> Iterator[Clue]:
    """Calls and answers that break their schema: one clue for each, however many faults; a call that was judged when the
    model spoke and again before it ran counts once, as it ran."""
    by_call: dict[tuple[str, str], tuple[Span, list[Violation]]] = {}
    for span in sorted(trace.spans, key=lambda span: not isinstance(span.operation, ToolExecution)):
        for violation in span.violations:
            key = (violation.call_id or span.span_id, violation.where)
            if violation.code != "schema" and by_call.setdefault(key, (span, []))[0] is span:
                by_call[key][1].append(violation)
    for span, violations in by_call.values():
        violations.sort(key=lambda violation: violation.severity != "error")
        yield _violation(span, violations, flow)


def _violation(span: Span, violations: list[Violation], flow: Flow) -> Clue:
    first = violations[0]
    node = flow.node_of(span, first.call_id)
    tool = first.tool or (node.tool if node is not None else "the tool")
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    title, advice = _words_for(first, tool)
    ran = {True: f"; {tool} ran all the same", False: f"; {tool} did not run", None: ""}[first.executed]
    evidence = f"{first.pointer or 'The whole'}: {first.message}{more}{ran}."
    clue = Clue("invalid", span.span_id, title, evidence, advice, first.severity, node)
    clue.pointer, clue.value = first.pointer, first.got
    clue.recovered = node is not None and _done_later(flow, node)
    return clue


def _words_for(violation: Violation, tool: str) -> tuple[str, str]:
    """Title and advice."""
    if violation.where == "output":
        return "the answer breaks the schema that was asked for", "Have the program check the answer and ask again."
    if violation.where == "result":
        return f"{tool} gave a result that breaks its schema", f"Correct {tool} or its output schema."
    if violation.code == "unknown_tool":
        return f"the model called {tool}, which is not on offer", 'Let on_invalid="reply" tell the model which tools there are.'
    place = violation.pointer or "arguments"
    return f"{tool} was called with an invalid {place}", f'Let on_invalid="reply" tell the model before {tool} runs.'


def _failed(flow: Flow) -> Iterator[Clue]:
    """Calls that came to nothing. Repetitions of one failure are one clue, at the first."""
    seen: dict[tuple[str, str], Clue] = {}
    for node in flow.nodes:
        if node.kind != "call" or not has_failed(node) or _broke_schema(node):
            continue
        key = (node.tool, repr(node.arguments))
        if key in seen:
            seen[key].count += 1
            continue
        how = _how_it_failed(node)
        unnoticed = _unnoticed(flow, node)
        title = f"{node.tool} failed" + (" and the run went on as if it had not" if unnoticed else "")
        evidence = f"{node.tool} {how}" + ("; no later answer speaks of a failure." if unnoticed else ".")
        advice = f"Have {node.tool} say in its result what went wrong and what to do next."
        clue = Clue("failed", _place(node), title, evidence, advice, "error", node, None, None, node.arguments)
        clue.recovered, clue.unnoticed = _done_later(flow, node), unnoticed
        seen[key] = clue
    yield from seen.values()


def _how_it_failed(node: Node) -> str:
    span = node.execution
    if span is not None and span.failure is not None:
        return f"ended with {span.failure.type}"
    return "did not run" if not node.has_result else "answered with an error"


def _broke_schema(node: Node) -> bool:
    """Refused for its arguments: the violation is the clue."""
    span = node.execution
    return span is not None and any(found.where == "arguments" and found.severity == "error" for found in span.violations)


def _empty(flow: Flow) -> Iterator[Clue]:
    """A search that found nothing, where the run goes on as if it had found something."""
    speaking = {node.tool for node in flow.nodes if node.has_result and not is_silent(node.result)}
    for node in flow.nodes:
        if node.kind != "call" or node.tool not in speaking or not found_nothing(node):
            continue
        if not _done_later(flow, node) and _unnoticed(flow, node):
            evidence = f"The result of {node.tool} is empty, and no later answer says that nothing was found."
            advice = f"Have {node.tool} say in words that nothing was found."
            title = f"{node.tool} found nothing and the run went on"
            yield Clue("empty", _place(node), title, evidence, advice, "warning", node, value=node.arguments, unnoticed=True)


def _repeated(flow: Flow) -> Iterator[Clue]:
    """The same call with the same result over and over. A symptom: the first of them, or what came before, is where to look."""
    groups: dict[tuple[str, str, str], list[Node]] = {}
    for node in flow.nodes:
        if node.kind == "call" and node.has_result and not has_failed(node):
            groups.setdefault((node.tool, repr(node.arguments), repr(node.result)), []).append(node)
    for nodes in groups.values():
        if len(nodes) >= REPEATS:
            first, tool = nodes[0], nodes[0].tool
            evidence = f"{tool} was called {len(nodes)} times with the same arguments and gave the same result each time."
            advice = f"Look at the first call of {tool} and what led to it; a budget on calls ends such a run early."
            title = f"the run went in circles, beginning with {tool}"
            yield Clue(
                "repeated", _place(first), title, evidence, advice, "warning", first, value=first.arguments, count=len(nodes)
            )


def _interrupted(trace: Trace, spans: dict[str, Span]) -> Iterator[Clue]:
    for span_id, evaluation in on_reading(trace).items():
        if evaluation.severity == "error":
            name = spans[span_id].name
            advice = "Look at what the program was doing at that time: a crash, a kill, a deadline."
            yield Clue(
                "interrupted", span_id, f"the program was cut off inside {name}", f"{name} began and never ended.", advice
            )


def _findings(trace: Trace, flow: Flow) -> Iterator[Clue]:
    """What else quality signals found, those of other packages among it."""
    for span in trace.spans:
        for found in span.evaluations:
            if found.name not in _ELSEWHERE and not _passed(found):
                title = f"{found.name} on {span.name}" + (f" ({found.label})" if found.label else "")
                advice = "See what the quality signal says of it in its documentation."
                node = flow.node_of(span, found.call_id)
                clue = Clue("finding", span.span_id, title, _sentence(found.explanation), advice, found.severity, node)
                clue.pointer = found.pointer
                yield clue


def _passed(found: Evaluation) -> bool:
    return found.severity == "info" and found.label in (None, "pass", "success", "unknown")


def _errors(trace: Trace, flow: Flow, told: set[str]) -> Iterator[Clue]:
    """Errors that began on a span of any other kind: an inference that failed, an exception in the program."""
    for span in trace.root_causes:
        failure = span.failure
        if failure is None or span.span_id in told or isinstance(span.operation, ToolExecution):
            continue
        advice = "Retry what can pass, and end the run with a clear word where it cannot."
        clue = Clue("error", span.span_id, f"{span.name} ended with {failure.type}", f"{span.name} ended in error.", advice)
        clue.node = flow.node_of(span)
        clue.recovered = isinstance(span.operation, Inference) and _answered_later(trace, span)
        yield clue


def _answered_later(trace: Trace, span: Span) -> bool:
    return any(
        isinstance(later.operation, Inference)
        and later.failure is None
        and later.operation.output
        and later.start >= span.start
        for later in trace.spans
        if later is not span
    )


def _done_later(flow: Flow, node: Node) -> bool:
    """True if a later call of the same tool went well."""
    after = flow.nodes[node.place + 1 :]
    return any(later.tool == node.tool and later.has_result and not has_failed(later) for later in after)


def _unnoticed(flow: Flow, node: Node) -> bool:
    """True if the run went on to an answer or a change, and no later answer speaks of a failure."""
    after = flow.nodes[node.place + 1 :]
    answers = [later for later in after if later.kind == "answer"]
    if any(admits_failure(answer.text) for answer in answers):
        return False
    return bool(answers) or any(acts(later.tool) for later in after if later.tool != node.tool)


def _place(node: Node) -> str:
    return node.execution.span_id if node.execution is not None else node.span_id


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _quote(value: JsonValue) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
