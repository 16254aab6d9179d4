"""The model answered nothing: no text, no call, no refusal, no image; at most its own reasoning.

Whatever a filter withheld, or a finish reason announces as a call that is not there, is said by other signals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmtrace.model import Evaluation, Inference, Message, Reasoning, Span, Text
from llmtrace.model.operations import CALLED
from llmtrace.semconv import SCOPE_NAME
from llmtrace.signals import Signal, Stateless
from llmtrace.signals._answers import FILTERED, finish_reason
from llmtrace.signals._traits import BLANK

_EXPLANATIONS = {
    "empty": "the answer has no text and no call",
    "reasoning_only": "the answer has reasoning, but no text and no call",
    "no_choice": "the response holds no answer at all",
}
_TO_COME = ("queued", "in_progress")
"""An answer that is made in the background and fetched later."""


def check(span: Span) -> Iterable[Evaluation]:
    inference = span.operation
    if not isinstance(inference, Inference) or inference.partial or span.failure is not None:
        return ()
    if inference.status in _TO_COME:
        return ()
    for message in inference.output:
        if _label(message):
            return _check(span, inference)
    return () if inference.output else _check(span, inference)


def _check(span: Span, inference: Inference) -> Iterator[Evaluation]:
    if not inference.output and _nothing_came(inference, seen=span.scope.name == SCOPE_NAME):
        yield _evaluation("no_choice")
    for choice, message in enumerate(inference.output):
        label = _label(message)
        if label:
            reason = finish_reason(inference, choice)
            if reason not in FILTERED and reason not in CALLED and reason != "refusal":
                yield _evaluation(label)


def _nothing_came(inference: Inference, *, seen: bool) -> bool:
    """Tells a response without choices from one whose content was not recorded. ``seen``: llmtrace read the response itself, so
    that tokens of which nothing is there were spent for nothing."""
    spent = inference.usage is not None and inference.usage.output_tokens
    return bool(inference.input) and not inference.finish_reasons and (seen or not spent)


def _label(message: Message) -> str | None:
    label = "empty"
    for part in message.parts:
        if isinstance(part, Reasoning):
            label = "reasoning_only"
        elif not isinstance(part, Text) or (part.content and not part.content.isspace()):
            return None
    return label


def _evaluation(label: str) -> Evaluation:
    return Evaluation(SIGNAL.name, "warning", _EXPLANATIONS[label], label)


_ADVICE = "Treat an empty answer as a failed call: ask again, and end the run where it stays empty."

SIGNAL: Signal = Stateless("empty_output", check, looks_at=(Inference,), waits_for=BLANK, advice=_ADVICE)
