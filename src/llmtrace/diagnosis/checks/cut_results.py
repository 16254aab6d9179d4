"""Finds tool results that are cut or empty."""

from __future__ import annotations

from collections.abc import Iterator

from llmtrace.diagnosis.checks import Check
from llmtrace.diagnosis.finding import Finding, of_call
from llmtrace.diagnosis.flow import Flow
from llmtrace.diagnosis.result import Confidence
from llmtrace.reading.result_form import is_cut_json, is_empty


def cut_results(flow: Flow) -> Iterator[Finding]:
    """Find results that begin as JSON and end in the middle. Certain if a value of the result was used afterwards.

    A result of several lines that ends with a whole line is left out: it is part of a file that was read on purpose.
    """
    for node in flow.calls:
        call = node.call
        if call.failed or not isinstance(call.result, str) or not is_cut_json(call.result):
            continue
        if "\n" in call.result.strip() and call.result.endswith(("\n", ",", "{", "[")):
            continue
        used = any(edge.via == "result" for edge in node.later)
        evidence = f"The result of {node.tool} begins as JSON and ends in the middle"
        evidence += ", and a value of it was used afterwards." if used else "."
        advice = f"Have {node.tool} give pages or fewer fields, so that its result is never cut."
        title = f"the result of {node.tool} was cut"
        confidence: Confidence = "certain" if used else "possible"
        yield of_call("cut_result", confidence, node, title, evidence, advice, cause_key=node.tool)


def empty_lookups(flow: Flow) -> Iterator[Finding]:
    """Find lookups with an empty result."""
    for node in flow.calls:
        call = node.call
        if call.failed is False and not call.is_change and call.has_result and is_empty(call.result):
            evidence = f"The result of {node.tool} is empty."
            advice = f"Have {node.tool} say in words that nothing was found."
            yield of_call("empty_lookup", "possible", node, f"{node.tool} found nothing", evidence, advice, cause_key=node.tool)


CHECKS = (
    Check("cut_results", cut_results, ("results",)),
    Check("empty_lookups", empty_lookups, ("results",)),
)
