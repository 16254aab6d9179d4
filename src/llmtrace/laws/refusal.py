"""The model declines the request. The provider marks the answer as a refusal (`provider`), or a short answer begins with one
(`words`, in about ten languages).

* Labels: `provider`, `words`: facts on the model call. `defective_output` judges a refusal that ended the run.
* Bad: The answer is "I'm sorry, but I can't help with that."
* Good: "I could not find it" reports a failure. An answer with a tool call, or a long one, does more than decline.
"""

from __future__ import annotations

from collections.abc import Iterable

from llmtrace.laws._answers import has_call
from llmtrace.laws.base import Stateless
from llmtrace.model import Evaluation, Inference, Span
from llmtrace.reading.answer_endings import finish_reason, is_refusal
from llmtrace.text.refusals import declines


def check(span: Span) -> Iterable[Evaluation]:
    inference = span.operation
    if not isinstance(inference, Inference) or inference.partial:
        return ()
    evaluations = []
    for choice, message in enumerate(inference.output):
        if finish_reason(inference, choice) == "refusal" or is_refusal(message):
            evaluations.append(Evaluation(SIGNAL.name, "info", "the model refused, as the provider says", "provider"))
        elif not has_call(message) and declines(message.text()):
            evaluations.append(Evaluation(SIGNAL.name, "info", "the answer opens by declining the request", "words"))
    return evaluations


SIGNAL = Stateless(
    "refusal",
    check,
    looks_at=(Inference,),
    when="words",
    advice="Have the program tell a refusal from an answer, and say so to the user.",
)
