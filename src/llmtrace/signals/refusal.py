"""The model declines the request. The provider marks the answer as a refusal (`provider`), or a short answer begins with one
(`words`, in about ten languages).

* Labels: `provider`: warning; `words`: info
* On: the inference.
* Bad: The answer is "I'm sorry, but I can't help with that."
* Good: "I could not find it" reports a failure. An answer with a tool call, or a long one, does more than decline.
"""

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
