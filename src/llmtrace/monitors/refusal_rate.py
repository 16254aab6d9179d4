"""Monitors the share of refusals: by the finish reason, by a refusal part of the answer, or by its words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from llmtrace.model import Inference, Span
from llmtrace.monitors._monitor import Observation, PlainMonitor, share
from llmtrace.reading.answer_endings import FILTERED, is_refusal
from llmtrace.text.refusals import declines

_REASONS: Final = FILTERED | {"refusal", "guardrail_intervened"}


def observe(span: Span) -> Iterable[Observation]:
    inference = span.operation
    if not isinstance(inference, Inference) or span.failure is not None or inference.partial or not inference.output:
        return ()
    refused = any(reason.lower() in _REASONS for reason in inference.finish_reasons) or any(
        is_refusal(message) or (not message.tool_calls() and declines(message.text())) for message in inference.output
    )
    return (share(refused, "the refusal rate"),)


MONITOR = PlainMonitor("refusal_rate", observe)
