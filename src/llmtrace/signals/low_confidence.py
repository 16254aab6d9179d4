"""The model was unsure of what it said: its tokens, or a stretch of them, were unlikely by its own reckoning.

Only where the request asked for log-probabilities; the instrumentor leaves them on the span as numbers (`instrumentation`'s
``_logprobs`` says how a stretch is found). A warning for a whole answer, a note for a stretch, with its place in the text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from llmtrace import semconv
from llmtrace.model import Evaluation, Inference, JsonValue, Span
from llmtrace.signals import Signal, Stateless
from llmtrace.signals._traits import ATTRIBUTES

UNSURE = math.log(0.3)
"""Mean log-probability below which a whole answer is: its tokens had three chances in ten."""
FEW = 8
"""Tokens of which a mean says nothing yet."""
_SHOWN = 5
"""Stretches that are told."""


def check(span: Span) -> Iterable[Evaluation]:
    mean = span.attributes.get(semconv.LOGPROB_MEAN)
    if not isinstance(mean, float) or not isinstance(span.operation, Inference):
        return ()
    return _check(span, span.operation, mean)


def _check(span: Span, inference: Inference, mean: float) -> Iterator[Evaluation]:
    tokens = span.attributes.get(semconv.LOGPROB_TOKENS)
    if mean < UNSURE and isinstance(tokens, int) and tokens >= FEW:
        explanation = "the tokens of the answer were unlikely by the model's own reckoning"
        yield Evaluation(SIGNAL.name, "warning", explanation, "answer", score=math.exp(mean))
        return
    stretches = list(_stretches(span.attributes.get(semconv.LOGPROB_LOW)))
    if stretches:
        said = [_said(inference, *stretch) for stretch in stretches[:_SHOWN]]
        several = "a stretch" if len(stretches) == 1 else "stretches"
        explanation = f"{several} of the answer had unlikely tokens"
        yield Evaluation(SIGNAL.name, "info", explanation, "stretch", score=math.exp(mean), evidence={"stretches": said})


def _stretches(low: JsonValue) -> Iterator[tuple[int, int, int]]:
    if isinstance(low, (list, tuple)) and all(isinstance(number, int) for number in low):
        numbers = iter(low)
        yield from zip(numbers, numbers, numbers, strict=False)


def _said(inference: Inference, choice: int, start: int, end: int) -> JsonValue:
    """Where it is, and the text there, where that was kept."""
    text = inference.output[choice].text() if choice < len(inference.output) else ""
    return {"choice": choice, "start": start, "end": end, "text": text[start:end][:200]}


_ADVICE = "Have such an answer checked before it is acted on, or ask again."

SIGNAL: Signal = Stateless("low_confidence", check, looks_at=(Inference,), waits_for=ATTRIBUTES, advice=_ADVICE)
