"""Classifies how a model's answer ended: cut, filtered, refused, or with a broken stream."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from llmtrace.model import FetchResponse, Generic, Inference, Message, Reasoning, Span, Text
from llmtrace.model.operations import CALLED, CUT
from llmtrace.semconv import CONTENT_LEVEL, SCOPE_NAME, STREAM_CUT

FILTERED: Final = frozenset(
    {"content_filter", "content_filtered", "safety", "recitation", "blocklist", "prohibited_content", "spii", "error_toxic"}
)

Ending: TypeAlias = Literal["empty", "reasoning_only", "no_choice", "cut", "filtered", "refused", "stream_cut", "left"]
"""``no_choice``: the response has no answer. ``stream_cut``: the stream broke off. ``left``: the program stopped reading."""

NOT_ANSWERED: Final = frozenset({"empty", "reasoning_only", "no_choice", "filtered", "left"})
"""Endings after which nothing was said."""

_TO_COME = ("queued", "in_progress")


def finish_reason(inference: Inference | FetchResponse, choice: int = 0) -> str:
    """Return the finish reason of a choice, in lower case; empty if it is not known."""
    reason = inference.output[choice].finish_reason if choice < len(inference.output) else None
    if not reason and choice < len(inference.finish_reasons):
        reason = inference.finish_reasons[choice]
    return reason.lower() if reason else ""


def is_refusal(message: Message) -> bool:
    """Return True if the provider itself marks the message as a refusal."""
    return any(type(part) is Generic and part.type == "refusal" for part in message.parts)


def is_blank(message: Message) -> bool:
    """Return True if a message is empty or has only reasoning and blank text."""
    for part in message.parts:
        if isinstance(part, Text):
            if part.content.strip():
                return False
        elif not isinstance(part, Reasoning):
            return False
    return True


def ending_of(span: Span) -> Ending | None:
    """Return the bad ending of an answer, judged by its first choice.

    None if it ended well, requests tools, or was not recorded. Content that was not recorded is not judged.
    """
    inference = span.operation
    if not isinstance(inference, (Inference, FetchResponse)) or span.failure is not None or inference.status in _TO_COME:
        return None
    if span.attributes.get(STREAM_CUT):
        return "stream_cut"
    if inference.partial:
        return "left"
    reason = finish_reason(inference)
    if reason in FILTERED:
        return "filtered"
    if not inference.output:
        return "cut" if reason in CUT else "no_choice" if _has_no_choice(span, inference) else None
    message = inference.output[0]
    if reason == "refusal" or is_refusal(message):
        return "refused"
    if reason in CUT:
        return "cut"
    if reason in CALLED or not is_blank(message) or not is_visible(span):
        return None
    return "reasoning_only" if any(isinstance(part, Reasoning) for part in message.parts) else "empty"


def _has_no_choice(span: Span, inference: Inference | FetchResponse) -> bool:
    """Return True for a response without choices.

    Only a span by llmtrace with its content shows this: another writer may not have recorded the answer.
    """
    if not isinstance(inference, Inference) or not inference.input or inference.finish_reasons:
        return False
    return span.scope.name == SCOPE_NAME and is_visible(span)


def is_visible(span: Span) -> bool:
    """Return False if the writer of the span did not record the request or the answer."""
    inference = span.operation
    if span.attributes.get(CONTENT_LEVEL) or not isinstance(inference, Inference) or not inference.input:
        return False
    return not (inference.usage is not None and inference.usage.output_tokens and not inference.output)
