"""Diagnosis: a trace in, suspects out, each with its evidence and the chain from the outcome back to it.

`flow` follows the values through calls and answers, `clues` collects what may be wrong, `score` weighs it, `chain` walks back.
Pure: no I/O, no clock, nothing random; the same trace gives the same diagnosis. A run that says it succeeded is diagnosed like
any other, for a made-up value that every tool accepted leaves no other trace.
"""

from llmtrace.diagnosis.chain import chain
from llmtrace.diagnosis.clue import Clue
from llmtrace.diagnosis.clues import find_clues
from llmtrace.diagnosis.flow import Flow
from llmtrace.diagnosis.result import Diagnosis, Step, Suspect
from llmtrace.diagnosis.score import LIKELY, SHOWN, Weighed, weigh
from llmtrace.diagnosis.tools import is_left_out
from llmtrace.model import Inference, Span, ToolExecution, Trace

__all__ = ["LIKELY", "SHOWN", "Diagnosis", "Step", "Suspect", "diagnose"]

MOST_SUSPECTS = 50


def diagnose(trace: Trace, flow: Flow | None = None) -> Diagnosis:
    """The suspects of a trace, the strongest first, and what was not visible. Verdicts that the spans carry are used; lineage
    is traced anew, unless the ``flow`` of this trace is given. Raises IndexError on an empty trace."""
    flow = flow or Flow(trace)
    weighed = weigh(find_clues(trace, flow), flow, trace.health)
    suspects = tuple(_suspect(one, flow) for one in weighed[:MOST_SUSPECTS])
    return Diagnosis(trace.trace_id, trace.health, suspects, _unknown(trace, flow))


def _suspect(weighed: Weighed, flow: Flow) -> Suspect:
    clue: Clue = weighed.clue
    return Suspect(
        clue.span_id,
        weighed.score,
        clue.title,
        clue.evidence,
        clue.pointer,
        clue.value,
        chain(weighed, flow),
        clue.advice,
    )


def _unknown(trace: Trace, flow: Flow) -> tuple[str, ...]:
    hidden = tuple(f"{reason} (span {span_id})" for reason, span_id in flow.lineage.hidden.items())
    silent = next((span.span_id for span in trace.spans if _answer_is_left_out(span)), None)
    if silent is not None:
        hidden = (*hidden, f"what tools answered was left out, so an error in an answer does not show (span {silent})")
    if not any(isinstance(span.operation, Inference) for span in trace.spans):
        return (*hidden, "no call of a model was recorded, so no value can be traced")
    return hidden


def _answer_is_left_out(span: Span) -> bool:
    """Of a tool that ran and raised nothing."""
    execution = span.operation
    ran = isinstance(execution, ToolExecution) and execution.executed and not execution.has_result
    return ran and span.failure is None and is_left_out(span)
