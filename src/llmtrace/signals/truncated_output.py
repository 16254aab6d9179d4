"""The answer was cut: by a limit on its length, in the middle of JSON or of a call's arguments, or by a content filter.

A stream that the program itself left is no finding.
"""

from __future__ import annotations

from collections.abc import Iterable

from llmtrace.model import Evaluation, Inference, Message, Severity, Span, ToolCall
from llmtrace.signals import Signal, Stateless
from llmtrace.signals._answers import CUT, FILTERED, finish_reason, has_call, json_asked
from llmtrace.signals._json import is_cut_json
from llmtrace.signals._traits import ATTRIBUTES, BROKEN, FORM, ODD_END, VIOLATIONS

_EXPLANATIONS: dict[str, tuple[Severity, str]] = {
    "cut_arguments": ("error", "the answer ends in the middle of a tool call's arguments"),
    "cut_json": ("error", "JSON was asked for and the answer ends in the middle of it"),
    "length": ("warning", "the answer was cut by the limit on its length"),
    "content_filter": ("warning", "the answer was cut or withheld by a content filter"),
}


def check(span: Span) -> Iterable[Evaluation]:
    inference = span.operation
    if not isinstance(inference, Inference) or inference.partial or span.failure is not None:
        return ()
    labels = [_label(span, inference, message, choice) for choice, message in enumerate(inference.output)]
    return [Evaluation(SIGNAL.name, *_EXPLANATIONS[label], label) for label in labels if label] if any(labels) else ()


def _label(span: Span, inference: Inference, message: Message, choice: int) -> str | None:
    reason = finish_reason(inference, choice)
    if reason in FILTERED:
        return "content_filter"
    if has_call(message):
        for part in message.parts:
            if type(part) is ToolCall and isinstance(part.arguments, str) and is_cut_json(part.arguments):
                return "cut_arguments"
    elif json_asked(span, inference) and is_cut_json(message.text()):
        return "cut_json"
    return "length" if reason in CUT else None


_ADVICE = "Raise the limit on output tokens for this prompt, or ask for less at once; never use what was cut."

SIGNAL: Signal = Stateless(
    "truncated_output",
    check,
    looks_at=(Inference,),
    waits_for=ATTRIBUTES | BROKEN | FORM | ODD_END | VIOLATIONS,
    advice=_ADVICE,
)
