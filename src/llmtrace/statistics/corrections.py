"""What models were asked to correct, and whether they did: refused tool calls, and outputs that `validated` refused.

The model is the one that made the first faulty call or answer; calls of one tool in a row are one correction.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from llmtrace.model import Inference, Span, ToolExecution, Trace
from llmtrace.semconv import VALIDATED_ATTEMPTS, VALIDATED_PASSED
from llmtrace.store.dead_letters import correction_chains


class Corrections(NamedTuple):
    """By id of the model call whose fault was to be corrected."""

    wanted: Counter[str]
    done: Counter[str]


def corrections_of(trace: Trace) -> Corrections:
    wanted: Counter[str] = Counter()
    done: Counter[str] = Counter()
    for chain in correction_chains(trace):
        call = _asking_call(trace, chain.refused[0])
        if call is not None:
            wanted[call] += 1
            done[call] += chain.is_corrected
    for span in trace.spans:
        attempts, passed = span.attributes.get(VALIDATED_ATTEMPTS), span.attributes.get(VALIDATED_PASSED)
        if isinstance(attempts, int) and (attempts > 1 or passed is False):
            call = next((inner.span_id for inner in trace.children(span) if isinstance(inner.operation, Inference)), None)
            if call is not None:
                wanted[call] += 1
                done[call] += passed is True
    return Corrections(wanted, done)


def _asking_call(trace: Trace, refused: Span) -> str | None:
    """The id of the model call that asked for an execution: by the id of the tool call, else the last one before it."""
    call_id = refused.operation.call_id if isinstance(refused.operation, ToolExecution) else None
    last = None
    for span in trace.spans:
        if not isinstance(span.operation, Inference) or span.run_id != refused.run_id or span.start > refused.start:
            continue
        last = span.span_id
        calls = (call.id for message in span.operation.output for call in message.tool_calls())
        if call_id is not None and call_id in calls:
            return span.span_id
    return last
