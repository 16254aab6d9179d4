"""The model declines to do what it was asked: the provider says so, or a short answer opens with it, in so many words."""

from __future__ import annotations

from collections.abc import Iterable

from llmtrace.evidence.answer_endings import finish_reason, is_refusal
from llmtrace.model import Evaluation, Inference, Message, Span
from llmtrace.signals._shared import has_call
from llmtrace.signals.base import Stateless
from llmtrace.text.refusals import declines


def check(span: Span) -> Iterable[Evaluation]:
    inference = span.operation
    if not isinstance(inference, Inference) or inference.partial:
        return ()
    return [evaluation for choice, message in enumerate(inference.output) if (evaluation := _judge(inference, choice, message))]


def _judge(inference: Inference, choice: int, message: Message) -> Evaluation | None:
    if finish_reason(inference, choice) == "refusal" or is_refusal(message):
        return Evaluation(SIGNAL.name, "warning", "the model refused, as the provider says", "provider")
    if not has_call(message) and declines(message.text()):
        return Evaluation(SIGNAL.name, "info", "the answer opens by declining the request", "words")
    return None


SIGNAL = Stateless(
    "refusal",
    check,
    looks_at=(Inference,),
    needs="words",
    advice="Have the program tell a refusal from an answer, and say so to the user.",
)
