"""The tokens of the answer (`answer`) or of a passage (`stretch`) were unlikely according to the model. This needs a request
for log-probabilities.

* Labels: `answer`: warning; `stretch`: info
* On: the inference.
* Bad: The tokens of an answer had an average probability below 0.3.
* Good: An answer of fewer than eight tokens; a request without log-probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from llmtrace import semconv
from llmtrace.laws.base import Stateless
from llmtrace.model import Evaluation, Inference, JsonValue, Span

UNSURE = math.log(0.3)
"""Mean log-probability below which a whole answer is unsure: a mean probability of 0.3 for each token."""
LEAST_TOKENS = 8
"""Fewest tokens for a meaningful mean."""
_MOST_SHOWN = 5
"""Most stretches that the evidence shows."""


def check(span: Span) -> Iterable[Evaluation]:
    mean, inference = span.attributes.get(semconv.LOGPROB_MEAN), span.operation
    if not isinstance(mean, float) or not isinstance(inference, Inference):
        return ()
    tokens, low = span.attributes.get(semconv.LOGPROB_TOKENS), span.attributes.get(semconv.LOGPROB_LOW)
    if mean < UNSURE and isinstance(tokens, int) and tokens >= LEAST_TOKENS:
        explanation = "the tokens of the answer were unlikely by the model's own reckoning"
        return (Evaluation(SIGNAL.name, "warning", explanation, "answer", score=math.exp(mean)),)
    if not isinstance(low, (list, tuple)) or len(low) < 3 or not all(isinstance(number, int) for number in low):
        return ()
    stretches = list(zip(low[::3], low[1::3], low[2::3], strict=False))
    excerpts: list[JsonValue] = []
    for choice, start, end in stretches[:_MOST_SHOWN]:  # the range of a stretch, and its text if content was recorded
        text = inference.output[choice].text() if choice < len(inference.output) else ""
        excerpts.append({"choice": choice, "start": start, "end": end, "text": text[start:end][:200]})
    explanation = f"{len(stretches)} stretch(es) of the answer had unlikely tokens"
    evidence = {"stretches": excerpts}
    return (Evaluation(SIGNAL.name, "info", explanation, "stretch", score=math.exp(mean), evidence=evidence),)


SIGNAL = Stateless(
    "low_confidence",
    check,
    looks_at=(Inference,),
    when="attributes",
    advice="Have such an answer checked before it is acted on, or ask again.",
)
