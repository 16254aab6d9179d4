"""The form of the answer makes it unusable: empty, cut, filtered, or broken off. The parts of the answer and the provider's
finish reason decide.

* Labels: `stream_cut`, `cut_arguments`, `cut_json`: error; `cut`, `filtered`, `empty`, `reasoning_only`, `no_choice`: warning
* On: the inference.
* Bad: A stream ends within a sentence, without a finish reason, although the program read all of it (`stream_cut`).
* Good: A stream that the program left, a refusal, a background response.

An answer that another writer did not record is judged by its finish reason: `cut` or `filtered`.

`cut` is a limit on output tokens, `filtered` a content filter, `no_choice` a response without an answer. To find a good limit,
use `llmtrace stats --suggest`.
"""

from __future__ import annotations

from collections.abc import Iterable

from llmtrace import semconv
from llmtrace.laws._shared import has_call, requested_json
from llmtrace.laws.base import Stateless
from llmtrace.model import Evaluation, Inference, Reasoning, Severity, Span, ToolCall
from llmtrace.model.operations import CALLED
from llmtrace.reading.answer_endings import CUT, FILTERED, finish_reason, is_blank
from llmtrace.reading.result_form import is_cut_json

_FINDINGS: dict[str, tuple[Severity, str]] = {
    "stream_cut": ("error", "the stream ended without a finish reason: the rest of the answer was lost"),
    "cut_arguments": ("error", "the answer ends in the middle of a tool call's arguments: raise the limit on output tokens"),
    "cut_json": ("error", "JSON was asked for and the answer ends in the middle of it: raise the limit on output tokens"),
    "cut": ("warning", "the answer was cut by the limit on output tokens"),
    "filtered": ("warning", "the answer was cut or withheld by a content filter"),
    "empty": ("warning", "the answer has no text and no call"),
    "reasoning_only": ("warning", "the answer has reasoning, but no text and no call"),
    "no_choice": ("warning", "the response holds no answer at all"),
}
_PENDING = ("queued", "in_progress")  # an answer that is made in the background and fetched later


def check(span: Span) -> Iterable[Evaluation]:
    inference = span.operation
    if not isinstance(inference, Inference) or span.failure is not None:
        return ()
    if span.attributes.get(semconv.STREAM_CUT):
        return (_evaluation("stream_cut"),)
    if inference.partial or inference.status in _PENDING:
        return ()
    if not inference.output:
        return [_evaluation(label)] if (label := _label_without_output(span, inference)) else ()
    evaluations = []
    for choice in range(len(inference.output)):
        label = _label(span, inference, choice)
        if label is not None:
            evaluations.append(_evaluation(label))
    return evaluations


def _evaluation(label: str) -> Evaluation:
    return Evaluation(SIGNAL.name, *_FINDINGS[label], label)


def _label_without_output(span: Span, inference: Inference) -> str | None:
    """Judge an answer that was not recorded by its finish reason alone."""
    reason = finish_reason(inference)
    if reason in CUT:
        return "cut"
    if reason in FILTERED:
        return "filtered"
    # Is it a response without choices, or was its content not recorded? A span by llmtrace records the content, so an empty
    # output means no choices. In other writers' spans, output tokens show that content existed.
    spent = inference.usage is not None and inference.usage.output_tokens
    is_whole = span.scope.name == semconv.SCOPE_NAME or not spent
    return "no_choice" if inference.input and not inference.finish_reasons and is_whole else None


def _label(span: Span, inference: Inference, choice: int) -> str | None:
    message, reason = inference.output[choice], finish_reason(inference, choice)
    if reason in FILTERED:
        return "filtered"
    if has_call(message):
        for part in message.parts:
            if type(part) is ToolCall and isinstance(part.arguments, str) and is_cut_json(part.arguments):
                return "cut_arguments"
        return "cut" if reason in CUT else None
    text = message.text()
    if text and requested_json(span, inference) and is_cut_json(text):
        return "cut_json"
    if reason in CUT:
        return "cut"
    if reason in CALLED or reason == "refusal" or not is_blank(message):
        return None
    return "reasoning_only" if any(isinstance(part, Reasoning) for part in message.parts) else "empty"


SIGNAL = Stateless(
    "defective_output",
    check,
    looks_at=(Inference,),
    advice="Treat such an answer as a failed call: ask again, never act on it, and end the run where it stays so.",
)
