"""Dead letters: work of a run that was given up, read from the spans of its trace.

Kinds: a call that was blocked and never corrected, an output that never matched its schema, a checkpoint that stopped the run,
a review that was rejected or expired, and a run that its budget stopped. Law: a letter is a pure function of its trace, so its
id never changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from llmtrace import semconv
from llmtrace.model import (
    BUDGET_STOPPED,
    Custom,
    Inference,
    JsonValue,
    Review,
    Span,
    ToolExecution,
    Trace,
    Usage,
    is_stopped_by_budget,
    replace,
    uncharged_spans,
)
from llmtrace.model.value import value

Reason: TypeAlias = Literal[
    "invalid_call", "invalid_output", "failed_checkpoint", "rejected_review", "expired_review", "spent_budget"
]
_REVIEWS: Mapping[str | None, Reason] = {
    "rejected": "rejected_review",
    "timed_out": "expired_review",
    "unattended": "expired_review",
}


@value
class DeadLetter:
    """A call, answer or state that was given up."""

    letter_id: str
    """Id of a span (16 hex digits): the one that was given up. For ``invalid_call``, the first refused call."""
    trace_id: str
    reason: Reason
    name: str
    """Name of the tool, the output schema or the checkpoint, or the question of the review; else ``budget``."""
    at: int
    """Time at which it was given up, in nanoseconds since the Unix epoch."""
    explanation: str = ""
    arguments: JsonValue = None
    """Arguments of the call, payload of the review, or state of the checkpoint. None if content was not recorded."""
    attempts: tuple[JsonValue, ...] = ()
    """Each attempt: an answer or arguments, and their faults."""
    usage: Usage | None = None
    """Tokens of all attempts at an output; for other reasons, tokens of the run up to ``at``."""
    completion: JsonValue = None
    """The last answer of a model in the run, as text; for an output, its last attempt."""
    service: str | None = None


def letters_of(trace: Trace) -> list[DeadLetter]:
    """Return the dead letters of a trace, oldest first. If the run still goes on, only those that are already final."""
    letters = [*_refused_calls(trace)]
    for span in trace.spans:
        operation, attributes = span.operation, span.attributes
        if isinstance(operation, Review) and operation.decision in _REVIEWS:
            note = operation.note or operation.reason or ""
            letters.append(_letter(trace, span, _REVIEWS[operation.decision], operation.question, note, operation.payload))
        elif attributes.get(semconv.VALIDATED_PASSED) is False:
            letters.append(_output(trace, span))
        elif attributes.get(semconv.CHECKPOINT_PASSED) is False and span.failure and not _is_tried_again(trace, span):
            state = operation.arguments if isinstance(operation, Custom) else None
            name = str(attributes[semconv.CHECKPOINT])
            letters.append(_letter(trace, span, "failed_checkpoint", name, _explanation(span), state))
        stops = [evaluation.explanation for evaluation in span.evaluations if evaluation.name == BUDGET_STOPPED]
        # the budget's error passes through all callers, so only the innermost span counts
        if is_stopped_by_budget(span) and not any(map(is_stopped_by_budget, trace.children(span))):
            stops.append(_explanation(span))
        letters += [_letter(trace, span, "spent_budget", "budget", stop) for stop in stops]
    # one letter for each span
    return sorted({letter.letter_id: letter for letter in letters}.values(), key=lambda letter: letter.at)


class CorrectionChain(NamedTuple):
    """Refused calls of one tool in a run, up to the first that ran."""

    name: str
    refused: list[Span]
    is_corrected: bool


def correction_chains(trace: Trace) -> Iterator[CorrectionChain]:
    """Yield the refused calls that a model was asked to correct, by run and tool.

    A later call of the same tool that runs without a failure corrects them. If the refused tool does not exist, any call that
    runs without a failure does. Calls that a person reviewed are left out.
    """
    reviewed = {span.operation.call_id for span in trace.spans if isinstance(span.operation, Review)} - {None}
    refused: dict[tuple[str | None, str], list[Span]] = {}
    for span in trace.spans:
        execution = span.operation
        if not isinstance(execution, ToolExecution) or execution.call_id in reviewed:
            continue
        if not execution.executed:
            refused.setdefault((span.run_id, execution.name), []).append(span)
        elif span.failure is None and refused:
            for run_id, name in list(refused):
                is_unknown = any(violation.code == "unknown_tool" for violation in refused[run_id, name][-1].violations)
                if run_id == span.run_id and (name == execution.name or is_unknown):
                    yield CorrectionChain(name, refused.pop((run_id, name)), is_corrected=True)
    for (_, name), spans in refused.items():
        yield CorrectionChain(name, spans, is_corrected=False)


def _refused_calls(trace: Trace) -> Iterator[DeadLetter]:
    for name, spans, is_corrected in correction_chains(trace):
        if is_corrected:
            continue
        attempts: list[dict[str, JsonValue]] = []
        for span in spans:
            errors = [violation for violation in span.violations if violation.severity == "error"]
            faults: list[JsonValue] = [{"pointer": error.pointer, "message": error.message} for error in errors]
            called_with: JsonValue = getattr(span.operation, "arguments", None)
            attempts.append({"arguments": called_with, "faults": faults, "span_id": span.span_id})
        explanation = "; ".join(f"{item.pointer or name}: {item.message}" for item in spans[-1].violations[:3])
        arguments = getattr(spans[-1].operation, "arguments", None)
        yield _letter(trace, spans[0], "invalid_call", name, explanation, arguments, tuple(attempts), last=spans[-1])


def _output(trace: Trace, span: Span) -> DeadLetter:
    operation = span.operation
    result = operation.result if isinstance(operation, Custom) and isinstance(operation.result, Mapping) else {}
    attempts = result.get("attempts")
    tried: tuple[JsonValue, ...] = tuple(attempts) if isinstance(attempts, list) else ()
    counts: list[Any] = [span.attributes.get(name) for name in (semconv.VALIDATED_INPUT, semconv.VALIDATED_OUTPUT)]
    letter = _letter(trace, span, "invalid_output", str(span.attributes[semconv.VALIDATED]), _explanation(span), None, tried)
    answer = tried[-1].get("answer") if tried and isinstance(tried[-1], Mapping) else None
    usage = None if counts == [None, None] else Usage(*counts)
    return replace(letter, usage=usage, completion=answer)


def _explanation(span: Span) -> str:
    if span.failure is None:
        return ""
    return span.failure.message or span.failure.type


def _is_tried_again(trace: Trace, span: Span) -> bool:
    return any(
        other.attributes.get(semconv.CHECKPOINT) == span.attributes[semconv.CHECKPOINT]
        and other.run_id == span.run_id
        and other.start > span.start
        for other in trace.spans
    )


def _letter(
    trace: Trace,
    span: Span,
    reason: Reason,
    name: str,
    explanation: str,
    arguments: JsonValue = None,
    attempts: tuple[JsonValue, ...] = (),
    *,
    last: Span | None = None,
) -> DeadLetter:
    at = (last or span).end or (last or span).start
    hidden = uncharged_spans(trace)  # another span counts their tokens already
    before = [other for other in trace.spans if other.run_id == span.run_id and other.start <= at]
    calls = [(other.span_id, other.operation) for other in before if isinstance(other.operation, Inference)]
    answers = (message.text() for _, call in reversed(calls) for message in call.output)
    usages = [call.usage for span_id, call in calls if call.usage is not None and span_id not in hidden]
    usage = Usage(sum(spent.input_tokens or 0 for spent in usages), sum(spent.output_tokens or 0 for spent in usages))
    service = span.resource.get(semconv.SERVICE_NAME)
    return DeadLetter(
        span.span_id,
        trace.trace_id,
        reason,
        name,
        at,
        explanation,
        arguments,
        attempts,
        usage if usages else None,
        next((text for text in answers if text), None),
        None if service is None else str(service),
    )
