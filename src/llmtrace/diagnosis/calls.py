"""Clues of calls: invalid, failed, or empty-handed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from json import dumps

from llmtrace.diagnosis.aftermath import Aftermath
from llmtrace.diagnosis.clue import Clue, place_of, quote, told_by
from llmtrace.diagnosis.endings import ended, from_outside
from llmtrace.diagnosis.flow import Edge, Flow, Node
from llmtrace.diagnosis.tools import found_nothing, has_failed, is_silent
from llmtrace.model import BUDGET_EXCEEDED, INVALID_TOOL_CALL, JsonValue, Span, ToolExecution, Trace, Violation, ending
from llmtrace.signals._results import is_error

SOON = 3
"""Steps after an empty answer in which made-up values are laid to it, where the tool has never answered anything."""

_TROUBLE = re.compile(
    r"time[d ]?.?out|unavailable|\b(?:is|are|was|backend|server|service) down\b|quota|rate.?limit|too many requests|overload"
    r"|\binternal (?:server )?error|connection ?(?:error|refused|reset|lost|failed|closed|aborted)|\bnetwork"
    r"|\b(?:429|50[0-4])\b",
    re.IGNORECASE,
)
"""Words for failures that no value is to blame for."""
_OF_A_VALUE = re.compile(
    r"not.?found|no such|unknown|not exist|invalid|missing|unrecogni[sz]ed|LookupError|KeyError|ValueError|\b404\b",
    re.IGNORECASE,
)
_PAGE = re.compile(
    r"(?:^|_|(?<=[a-z]))(?:page|offset|cursor|skip|start|from|after|token|index|continue|next)(?:$|_|[A-Z])", re.IGNORECASE
)
"""Names of arguments that say which part of a list is asked for."""
_READ = 2_000
"""Characters of a failure that are read for such words."""


def invalid(trace: Trace, flow: Flow, after: Aftermath) -> Iterator[Clue]:
    """Calls and answers that break their schema: one clue for each, however many faults; a call that was judged when the
    model spoke and again before it ran, or by its client and its server, counts once, as it ran."""
    by_call: dict[tuple[Node | str, str], tuple[Span, list[Violation]]] = {}
    for span in sorted(trace.spans, key=lambda span: not isinstance(span.operation, ToolExecution)):
        for violation in span.violations:
            key = flow.node_of(span, violation.call_id) or violation.call_id or span.span_id, violation.where
            if violation.code != "schema" and by_call.setdefault(key, (span, []))[0] is span:
                by_call[key][1].append(violation)
    for span, violations in by_call.values():
        violations.sort(key=lambda violation: violation.severity != "error")
        yield _violation(span, violations, flow, after)


def _violation(span: Span, violations: list[Violation], flow: Flow, after: Aftermath) -> Clue:
    first = violations[0]
    node = flow.node_of(span, first.call_id)
    tool = first.tool or (node.tool if node is not None else "the tool")
    more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    executed = False if node is not None and node.refused else first.executed
    title, advice = _words_for(first, tool, refused=executed is False)
    ran = {True: f"; {tool} {_how_it_ran(node)}", False: f"; {tool} did not run", None: ""}[executed]
    message = f"{first.pointer}: {first.message}" if first.pointer else first.message[:1].upper() + first.message[1:]
    evidence = f"{message}{more}{ran}."
    clue = Clue("invalid", span.span_id, title, evidence, advice, first.severity, node)
    clue.pointer, clue.value = first.pointer, first.got
    clue.recovered = node is not None and after.done(node)
    return clue


def _words_for(violation: Violation, tool: str, *, refused: bool) -> tuple[str, str]:
    """Title and advice. A call that was refused needs no policy: the model was told, or the program was stopped."""
    if violation.where == "output" and violation.code == "malformed_json":
        return "the answer is not the JSON that was asked for", "Have the program check the answer and ask again."
    if violation.where == "output":
        return "the answer breaks the schema that was asked for", "Have the program check the answer and ask again."
    if violation.where == "result":
        return f"{tool} gave a result that breaks its schema", f"Correct {tool} or its output schema."
    if violation.code == "unknown_tool":
        told = "Offer it, or take out of prompt and results what speaks of it."
        advice = told if refused else 'Let on_invalid="reply" tell the model which tools there are.'
        return f"the model called {tool}, which is not on offer", advice
    place = violation.pointer or "its arguments"
    surplus = violation.code == "unexpected" and bool(violation.pointer)
    if violation.code == "malformed_json" and refused:
        held = f"Have the server hold the model to {tool}'s schema (strict); raise the limit on output tokens if that cut them."
        return f"{tool} was called with arguments that are no JSON", held
    stricter = f"Say in the schema of {tool} what {place} must be: a description with an example, a stricter type or an enum."
    if surplus:
        stricter = f"Let {tool} take {place}, or take out of prompt and results what speaks of it."
    advice = stricter if refused else f'Let on_invalid="reply" tell the model before {tool} runs.'
    what = f"an invalid {violation.pointer}" if violation.pointer else "invalid arguments"
    if violation.pointer and violation.code == "missing":
        return f"{tool} was called without {violation.pointer}", advice
    if surplus:
        return f"{tool} was called with {violation.pointer}, which it does not take", advice
    return f"{tool} was called with {what}", advice


def failed(flow: Flow, after: Aftermath) -> Iterator[Clue]:
    """Calls that came to nothing. Repetitions of one failure are one clue, at the first."""
    groups: dict[tuple[str, str], list[Node]] = {}
    for node in flow.nodes:
        if node.kind == "call" and has_failed(node) and not _broke_schema(node):
            groups.setdefault((node.tool, repr(node.arguments)), []).append(node)
    for nodes in groups.values():
        node, tool = nodes[0], nodes[0].tool
        recovered = after.done(node) and not after.made_up_next(node)
        unnoticed = not recovered and after.unnoticed(node)
        title = f"{tool} failed" + (" and the run went on as if it had not" if unnoticed else "")
        times = f", {len(nodes)} times in all" if len(nodes) > 1 else ""
        told = "; the model's next words do not speak of it." if unnoticed else "."
        evidence = f"{tool} {_how_it_failed(node)}{times}{told}"
        advice = f"Have {tool} say in its result what went wrong and what to do next."
        if nodes[-1] is flow.nodes[-1] and node.execution is not None and node.execution.failure is not None:
            advice = f"Catch what {tool} raises, and have the model told what went wrong and what to do next."
        failure = node.execution.failure if node.execution is not None else None
        stopped = from_outside(failure) if failure is not None else None
        if failure is not None and stopped is not None:
            title, advice = f"{tool} {ended(failure)}", stopped
            evidence = f"It had begun, and gave no result{told_by(failure)}."
        clue = Clue("failed", place_of(node), title, evidence, advice, "error", node, value=node.arguments)
        clue.recovered, clue.unnoticed, clue.last = recovered, unnoticed, nodes[-1]
        yield clue


def _is_of_a_value(node: Node) -> bool:
    """True where a failure may be one of what the call gave: an exception has to say so, an answer must not say otherwise."""
    failure = node.execution.failure if node.execution is not None else None
    if failure is None:
        return not _TROUBLE.search(str(node.result)[:_READ])
    said = f"{failure.type} {failure.message}"[:_READ]
    return not _TROUBLE.search(said) and (bool(_OF_A_VALUE.search(said)) or any(str(use.value) in said for use in node.uses))


def _how_it_ran(node: Node | None) -> str:
    """A tool, or its framework, that refuses the arguments by itself has an execution too: that ended in an error. An execution
    that ended with our own verdict went well."""
    failure = node.execution.failure if node is not None and node.execution is not None else None
    if node is None or not has_failed(node):
        return "ran all the same"
    if failure is not None and failure.type == INVALID_TOOL_CALL:
        return _answered(node) if is_error(node.result) else "ran all the same"
    return _how_it_failed(node)


def _how_it_failed(node: Node) -> str:
    span = node.execution
    if span is not None and span.failure is not None:
        stopped = ending(span.failure) == BUDGET_EXCEEDED  # which budget it was is said where it stopped the run
        return ended(span.failure) + ("" if stopped else told_by(span.failure))
    if node.refused:
        return "did not run"
    return _answered(node)


def _answered(node: Node) -> str:
    return f"answered with an error ({quote(_written(node.result))})"


def _written(result: JsonValue) -> str:
    return " ".join((result if isinstance(result, str) else dumps(result, ensure_ascii=False, default=str)).split())


def _broke_schema(node: Node) -> bool:
    """Refused for its arguments: the violation is the clue."""
    span = node.execution
    return span is not None and any(found.where == "arguments" and found.severity == "error" for found in span.violations)


def empty(flow: Flow, after: Aftermath) -> Iterator[Clue]:
    """A search that found nothing, where the run goes on as if it had found something."""
    speaking = {node.tool for node in flow.nodes if node.has_result and not is_silent(node.result) and not has_failed(node)}
    pages: dict[str, Node] = {}
    for node in flow.nodes:
        if node.kind != "call" or not found_nothing(node):
            if node.kind == "call" and node.has_result and not has_failed(node):
                pages[node.tool] = node
            continue
        unnoticed, missed = after.unnoticed(node, empty=True), after.made_up_next(node)
        if not missed and _goes_on(pages.get(node.tool), node):
            continue
        if is_silent(node.result) and node.tool not in speaking and not after.made_up_next(node, SOON):
            continue  # some tools never answer anything
        if unnoticed or missed:
            evidence = f"The result of {node.tool} is empty, and the model's next words do not say so."
            if missed:
                values = "a value" if missed == 1 else f"{missed} values"
                evidence = f"The result of {node.tool} is empty, and then the model made up {values}."
            advice = f"Have {node.tool} say in words that nothing was found."
            title = f"{node.tool} found nothing and the run went on"
            clue = Clue("empty", place_of(node), title, evidence, advice, "warning", node, value=node.arguments)
            clue.unnoticed, clue.recovered = unnoticed, after.done(node) and not missed
            yield clue


def _goes_on(page: Node | None, node: Node) -> bool:
    """True for a list that is asked for page by page, and has no more."""
    before, now = page.arguments if page is not None else None, node.arguments
    if not isinstance(before, dict) or not isinstance(now, dict) or before == now:
        return False
    differ = [name for name in {*before, *now} if before.get(name) != now.get(name)]
    return all(_PAGE.search(name) is not None for name in differ)


def given_wrong(flow: Flow, after: Aftermath) -> Iterator[Clue]:
    """A turn of the user that gave the value with which a call failed, or found nothing."""
    named: dict[Node, tuple[Node, Edge]] = {}
    for node in flow.nodes:
        if node.kind == "call" and not node.refused and (found_nothing(node) or (has_failed(node) and _is_of_a_value(node))):
            sources = [edge for edge in node.earlier if edge.source.kind == "user" and edge.via == "result"]
            if sources and not any(use.made_up for use in node.uses):
                named.setdefault(sources[0].source, (node, sources[0]))
    for turn, (node, edge) in named.items():
        title = "the user gave a value that was not found"
        evidence = (
            f"{node.tool} {'failed' if has_failed(node) else 'found nothing'} with {edge.use.value}, as the user gave it."
        )
        advice = f"Have {node.tool} say which value it did not find, and the model ask the user to check it."
        clue = Clue("users_error", turn.span_id, title, evidence, advice, "info", turn, edge.use, None, edge.use.value)
        clue.recovered = after.went_on(node)
        yield clue
