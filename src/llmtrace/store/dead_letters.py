"""Dead letters: work of a run that was given up, read from the spans of its trace.

A call that was blocked and never corrected, an output that never had its form, a checkpoint that stopped the run, a review that
was rejected or expired, a run that its budget stopped. Law: a letter is a pure function of its trace, so its id stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
    """One piece of work that was given up."""

    letter_id: str
    """The id of the span (16 hex digits) with which it was given up."""
    trace_id: str
    reason: Reason
    name: str
    """Of the tool, the form, the checkpoint or the question; else ``budget``."""
    at: int
    """When it was given up, in nanoseconds since the Unix epoch."""
    explanation: str = ""
    arguments: JsonValue = None
    """What the call, or the review, was about; the state of a checkpoint. None where content was not recorded."""
    attempts: tuple[JsonValue, ...] = ()
    """Each attempt: an answer or arguments, and its faults."""
    usage: Usage | None = None
    """Tokens of all attempts at an output; else of the run, up to here."""
    completion: JsonValue = None
    """The last answer of a model in the run, as text; of an output, its last attempt."""
    service: str | None = None


def letters_of(trace: Trace) -> list[DeadLetter]:
    """The dead letters of a trace, in order. Of a run that goes on, those that are final so far."""
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
        if is_stopped_by_budget(span) and not any(map(is_stopped_by_budget, trace.children(span))):
            stops.append(_explanation(span))
        letters += [_letter(trace, span, "spent_budget", "budget", stop) for stop in stops]
    return sorted({letter.letter_id: letter for letter in letters}.values(), key=lambda letter: letter.at)


class CorrectionChain(NamedTuple):
    """Refused calls of one tool in a run, up to the first that ran."""

    name: str
    refused: list[Span]
    is_corrected: bool


def correction_chains(trace: Trace) -> Iterator[CorrectionChain]:
    """What a model was asked to correct. A later call of the tool that runs well corrects it; any does where no tool of that
    name exists. Calls that a person looked at are left out."""
    reviewed = {span.operation.call_id for span in trace.spans if isinstance(span.operation, Review)} - {None}
    refused: dict[tuple[str | None, str], list[Span]] = {}
    for span in trace.spans:
        execution = span.operation
        if not isinstance(execution, ToolExecution) or execution.call_id in reviewed:
            continue
        if not execution.executed:
            refused.setdefault((span.run_id, execution.name), []).append(span)
        elif span.failure is None and refused:
            own = (span.run_id, execution.name)
            for key in [key for key, spans in refused.items() if key == own or (key[0] == own[0] and _is_unknown(spans[-1]))]:
                yield CorrectionChain(key[1], refused.pop(key), is_corrected=True)
    for (_, name), spans in refused.items():
        yield CorrectionChain(name, spans, is_corrected=False)


def _refused_calls(trace: Trace) -> Iterator[DeadLetter]:
    for name, spans, is_corrected in correction_chains(trace):
        if is_corrected:
            continue
        attempts = tuple(
            {"arguments": getattr(span.operation, "arguments", None), "faults": _faults(span), "span_id": span.span_id}
            for span in spans
        )
        arguments = getattr(spans[-1].operation, "arguments", None)
        explanation = "; ".join(f"{item.pointer or name}: {item.message}" for item in spans[-1].violations[:3])
        yield _letter(trace, spans[0], "invalid_call", name, explanation, arguments, attempts, last=spans[-1])


def _is_unknown(span: Span) -> bool:
    return any(violation.code == "unknown_tool" for violation in span.violations)


def _faults(span: Span) -> list[JsonValue]:
    return [{"pointer": item.pointer, "message": item.message} for item in span.violations if item.severity == "error"]


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
    hidden = uncharged_spans(trace)
    calls = [
        other
        for other in trace.spans
        if isinstance(other.operation, Inference) and other.run_id == span.run_id and other.start <= at
    ]
    answers = (message.text() for call in reversed(calls) for message in _output_of(call))
    return DeadLetter(
        span.span_id,
        trace.trace_id,
        reason,
        name,
        at,
        explanation,
        arguments,
        attempts,
        _sum(call.operation for call in calls if call.span_id not in hidden),
        next((text for text in answers if text), None),
        None if (service := span.resource.get(semconv.SERVICE_NAME)) is None else str(service),
    )


def _output_of(call: Span) -> Iterable[Any]:
    return call.operation.output if isinstance(call.operation, Inference) else ()


def _sum(calls: Iterable[object]) -> Usage | None:
    usages = [call.usage for call in calls if isinstance(call, Inference) and call.usage is not None]
    if not usages:
        return None
    return Usage(sum(usage.input_tokens or 0 for usage in usages), sum(usage.output_tokens or 0 for usage in usages))
