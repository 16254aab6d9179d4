"""How long answers are: output tokens, or characters where the provider does not say."""

from __future__ import annotations

from collections.abc import Iterable

from llmtrace.model import Inference, Span
from llmtrace.monitors._observation import Observation, Plain


def observe(span: Span) -> Iterable[Observation]:
    inference = span.operation
    if not isinstance(inference, Inference) or span.failure is not None or inference.partial:
        return ()
    tokens = None if inference.usage is None else inference.usage.output_tokens
    if tokens:
        return (Observation("number", tokens, "response length", "tokens"),)
    characters = sum(len(message.text()) for message in inference.output)
    return (Observation("number", characters, "response length", "characters"),) if characters else ()


MONITOR = Plain("response_length", observe)
