"""Every clue of a trace. A new kind of clue is a function in one of the modules used here, a weight in `score`, and a test."""

from __future__ import annotations

from llmtrace.diagnosis import calls, findings, made_up
from llmtrace.diagnosis.aftermath import Aftermath
from llmtrace.diagnosis.clue import Clue
from llmtrace.diagnosis.flow import Flow
from llmtrace.model import Trace


def find_clues(trace: Trace, flow: Flow) -> list[Clue]:
    """In no order."""
    after = Aftermath(trace, flow)
    return [
        *made_up.made_up(trace, flow),
        *calls.invalid(trace, flow, after),
        *calls.failed(flow, after),
        *calls.empty(flow, after),
        *calls.repeated(flow),
        *findings.interrupted(trace),
        *findings.errors(trace, flow),
        *findings.findings(trace, flow),
    ]
