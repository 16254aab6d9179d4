"""Turns the evaluations of quality signals into findings, if no other check finds the same.

Without recorded content, the evaluations that were made during the run are the only evidence.
"""

from __future__ import annotations

from collections.abc import Iterator

from llmtrace import laws
from llmtrace.diagnosis.checks import Check
from llmtrace.diagnosis.finding import Finding, name_of
from llmtrace.diagnosis.flow import Flow
from llmtrace.model import ACCEPTANCE, FEEDBACK, OUTCOME, Evaluation, Inference, Span, ToolExecution
from llmtrace.reading.answer_endings import is_visible

_SAYS: dict[str, str] = {
    "failed_tool never_succeeded": "never_succeeded",
    "repeated_call same_result": "same_call",
    "repeated_call cycle": "cycle",
    "duplicated_effect declared": "change_made_twice",
    "defective_output cut_arguments": "answer_cut",
    "defective_output cut_json": "answer_cut",
    "defective_output stream_cut": "answer_stream_cut",
    "leaked_tool_call syntax": "leaked_tool_call",
    "ungrounded_argument": "ungrounded_argument",
}
"""The check that finds the same, by signal, or by signal and label."""
_READ_ANEW = frozenset({"failed_tool", "repeated_call", "duplicated_effect", "ungrounded_argument", "lost_context"})
"""Signals whose findings the checks derive again from a trace with content."""
_ENDINGS = frozenset({"empty", "reasoning_only", "no_choice", "cut", "filtered", "stream_cut"})
"""Labels of `defective_output` that `bad_answers` derives again from a trace with content."""
_READ_BY_OTHER_CHECKS = frozenset({OUTCOME, FEEDBACK, ACCEPTANCE, "invalid_tool_call", "end_state"})
_TITLES = {
    "defective_output cut_arguments": "a tool call was cut in the middle of its arguments",
    "defective_output cut_json": "an answer was cut in the middle of its JSON",
}
"""Titles by signal and label. Other titles are made of the names of the signal and its label."""
_NEVER = frozenset({"low_confidence", "empty_retrieval"})
"""Signals that only measure or hint. At severity info they never make a finding."""


def signal_findings(flow: Flow) -> Iterator[Finding]:
    """Yield a finding for each evaluation that says more than other checks find in the trace.

    Its confidence is that of the signal (`laws.confidence_of`), with two exceptions. Likely becomes possible at severity
    info. A defective answer is only possible if the run was answered later: the model was asked again, or its call was refused.
    """
    advice = laws.advice()
    has_content = any(node.call.has_arguments for node in flow.calls) or bool(flow.answers)
    has_content = has_content or any(map(is_visible, flow.inferences))
    for span in flow.trace.spans:
        for evaluation in span.evaluations:
            equivalent = _SAYS.get(f"{evaluation.name} {evaluation.label}") or _SAYS.get(evaluation.name)
            if equivalent is None and _is_left_out(evaluation):
                continue
            if has_content and _is_read_anew(evaluation):
                continue
            check, confidence = equivalent or evaluation.name, laws.confidence_of(evaluation)
            if confidence == "likely" and evaluation.severity == "info":
                confidence = "possible"
            if evaluation.name == "defective_output" and flow.is_answered and span is not flow.final_inference:
                confidence = "possible"
            node = flow.node_at(span, evaluation.call_id)
            evidence = evaluation.explanation[:1].upper() + evaluation.explanation[1:].rstrip(".") + "."
            text = advice.get(evaluation.name.partition(".")[0], "Check for it in the program before the answer goes out.")
            yield Finding(
                check, confidence, span.span_id, _title(span, evaluation), evidence, text, node=node,
                pointer=evaluation.pointer, cause_key=(evaluation.name, evaluation.label, name_of(span)),
                spans=evaluation.sources,
            )  # fmt: skip


def _is_read_anew(evaluation: Evaluation) -> bool:
    name = evaluation.name
    if name == "refusal":
        return evaluation.label == "provider"
    return name in _READ_ANEW or (name == "defective_output" and evaluation.label in _ENDINGS)


def _is_left_out(evaluation: Evaluation) -> bool:
    name = evaluation.name
    if name in _READ_BY_OTHER_CHECKS or name.startswith(("budget_", "drift.")):
        return True  # drift is about many runs, and never a suspect of one
    return evaluation.severity == "info" and (evaluation.label in (None, "pass", "success", "unknown") or name in _NEVER)


def _title(span: Span, evaluation: Evaluation) -> str:
    title = _TITLES.get(f"{evaluation.name} {evaluation.label}")
    if title is not None:
        return title
    name, label = evaluation.name.replace("_", " "), (evaluation.label or "fail").replace("_", " ")
    place = name_of(span) if isinstance(span.operation, (ToolExecution, Inference)) else span.name
    return f"{name} on {place}{'' if label == 'fail' or label in name else f' ({label})'}"


CHECKS = (Check("quality_signals", signal_findings, ()),)
