"""Finds calls that broke their schema, and calls of tools that do not exist."""

from __future__ import annotations

from collections.abc import Iterator

from llmtrace.diagnosis.checks import Check
from llmtrace.diagnosis.failure_text import advice_for_tool, how_call_failed, how_reviewed
from llmtrace.diagnosis.finding import Finding, of_call, quote
from llmtrace.diagnosis.flow import CallNode, Flow
from llmtrace.diagnosis.result import Confidence
from llmtrace.model import Violation

_REPLY = 'Let the tool refuse bad calls and tell the model why: @llmtrace.tool(on_invalid="reply").'


def invalid_calls(flow: Flow) -> Iterator[Finding]:
    """Find calls that broke the schema of their tool.

    Certain in two cases: the tool failed and no later call of it was right, in a run with one task that ended with an answer;
    or the tool changed something with the invalid arguments. Otherwise possible; the violation itself is on the call's span in
    any case.
    """
    for node in flow.calls:
        call = node.call
        if not call.error_violations or call.offered is False:
            continue
        violation = call.error_violations[0]
        confidence, outcome = _outcome(flow, node)
        title = f"{node.tool} was called with {_described(violation)}"
        evidence = f"{violation.pointer or 'The arguments'}: {violation.message}; {outcome}."
        yield of_call(
            "invalid_call", confidence, node, title, evidence, _advice(node, violation), pointer=violation.pointer or None,
            value=violation.got if violation.pointer else node.arguments,
            cause_key=(node.tool, violation.pointer, violation.code),
        )  # fmt: skip


def _outcome(flow: Flow, node: CallNode) -> tuple[Confidence, str]:
    """Return the confidence that the run went wrong by an invalid call, and the outcome of the call in words."""
    call = node.call
    if call.failed:
        later = [later.call for later in flow.later_calls(node, node.tool)]
        if any(later_call.failed is False and not later_call.error_violations for later_call in later):
            return "possible", f"{node.tool} {how_call_failed(node)}; a later call was right"
        confidence: Confidence = "certain" if flow.is_answered and flow.has_one_task else "possible"
        return confidence, f"{node.tool} {how_call_failed(node)}; no later call was right"
    if reviewed := how_reviewed(node):
        return "possible", reviewed
    if call.failed is False and call.is_change:
        return "certain", f"{node.tool} changes something, and it ran all the same"
    return "possible", f"{node.tool} answered all the same" if call.failed is False else "what came of it is not recorded"


def _described(violation: Violation) -> str:
    place = violation.pointer or "arguments"
    return {
        "malformed_json": "arguments that are not JSON",
        "not_an_object": "arguments that are not an object",
        "missing": f"{place} missing",
        "unexpected": "an argument that it does not take",
        "wrong_type": f"{place} of the wrong type",
        "out_of_range": f"{place} out of range",
        "not_allowed": f"{place} not allowed",
        "bad_format": f"{place} in the wrong format",
    }.get(violation.code, f"invalid {place}" if not violation.pointer else f"an invalid {place}")


def _advice(node: CallNode, violation: Violation) -> str:
    if violation.code in ("malformed_json", "not_an_object"):
        return "Use strict tool calls (strict=True) so that the arguments are always a JSON object."
    if not node.call.executed:
        return advice_for_tool(node)
    return _REPLY


def unknown_tools(flow: Flow) -> Iterator[Finding]:
    """Find calls of tools that were not on offer.

    Certain if no later call of an offered tool succeeded, in a run with one task that ended with an answer; else possible.
    """
    for node in flow.calls:
        if node.call.offered is not False or node.call.failed is False:
            continue
        replaced = any(later.call.offered and later.call.failed is False for later in flow.later_calls(node))
        certain = not replaced and flow.is_answered and flow.has_one_task
        then = "another tool was used later" if replaced else "nothing replaced it"
        evidence = f"No tool named {quote(node.tool)} was on offer; {then}."
        advice = "Name the tools in the prompt as they are defined, and tell the model when a name is unknown."
        title = "a tool that does not exist was called"
        confidence: Confidence = "certain" if certain else "possible"
        yield of_call("unknown_tool", confidence, node, title, evidence, advice, cause_key=node.tool)


CHECKS = (
    Check("invalid_calls", invalid_calls, ("calls", "schemas")),
    Check("unknown_tools", unknown_tools, ("calls", "schemas")),
)
