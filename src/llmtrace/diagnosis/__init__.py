"""Diagnosis: a trace in, suspects out, each with its probability, its evidence and the chain from the outcome back to it.

`flow` follows the values through turns, calls and answers, `clues` collects what may be wrong, `features` tells what is known
of each place, `ranker` weighs it, `chain` walks back. Pure: no I/O but the weights in the package, no clock, nothing
random; the same trace gives the same diagnosis. A run that says it succeeded is diagnosed like any other, for a made-up value
that every tool accepted leaves no other trace.
"""

from llmtrace.diagnosis.failing import diagnosing
from llmtrace.diagnosis.flow import Flow
from llmtrace.diagnosis.ranker import Ranker
from llmtrace.diagnosis.result import LIKELY, Diagnosis, Step, Suspect
from llmtrace.diagnosis.suspects import SHOWN, suspects_of
from llmtrace.diagnosis.symptoms import is_known_to_have_failed, listed, symptoms_of
from llmtrace.diagnosis.tools import is_left_out
from llmtrace.model import Inference, Span, ToolExecution, Trace

__all__ = ["LIKELY", "SHOWN", "Diagnosis", "Ranker", "Step", "Suspect", "diagnose", "diagnosing", "listed"]


def diagnose(trace: Trace, flow: Flow | None = None, *, ranker: Ranker | None = None) -> Diagnosis:
    """The suspects of a trace, the most probable first, and what was not visible. Verdicts that the spans carry are used;
    lineage is traced anew, unless the ``flow`` of this trace is given. ``ranker``: other weights than those shipped. Raises
    IndexError on an empty trace, DiagnosisFailed where llmtrace itself goes wrong."""
    with diagnosing(trace.trace_id):
        flow = flow or Flow(trace)
        suspects = suspects_of(trace, flow, ranker)
        symptoms = symptoms_of(trace, frozenset(suspect.span_id for suspect in suspects))
        unknown = _unknown(trace, flow)
        return Diagnosis(trace.trace_id, trace.health, suspects, unknown, symptoms, is_known_to_have_failed(trace))


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
