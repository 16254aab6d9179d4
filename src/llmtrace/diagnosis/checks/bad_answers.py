"""Finds answers that ended badly: empty, cut, filtered, refused, or by a stream that broke off."""

from __future__ import annotations

from collections.abc import Iterator

from llmtrace.diagnosis.checks import Check
from llmtrace.diagnosis.finding import Finding
from llmtrace.diagnosis.flow import Flow
from llmtrace.diagnosis.result import Confidence
from llmtrace.reading.answer_endings import Ending, ending_of, is_visible

_TEXTS: dict[Ending, tuple[str, str, str]] = {
    "empty": (
        "the answer is empty",
        "The model's answer has no text and no tool call.",
        "Check the answer before it is used, and ask again or end the run with an error.",
    ),
    "missing": (
        "the response holds no answer",
        "It has no message at all: no text, no tool call and no finish reason.",
        "Check the address that the client calls: a proxy may have answered. Check each response before it is used.",
    ),
    "cut": (
        "the answer was cut by its limit",
        "The finish reason says that the limit on output tokens was reached in mid-answer.",
        "Raise the limit on output tokens for this prompt, or ask for less at once. Never use what was cut.",
    ),
    "filtered": (
        "the answer was withheld by a content filter",
        "The finish reason says that the provider's content filter stopped the answer.",
        "Rephrase the prompt, or tell the user that the provider filtered it. A retry does not help.",
    ),
    "refused": (
        "the model refused to answer",
        "The provider marks the answer as a refusal.",
        "Have the program tell a refusal from an answer, and say so to the user.",
    ),
    "stream_cut": (
        "the answer's stream broke off",
        "The stream ended without its terminator or a finish reason, so the answer may lack its end.",
        "Treat a stream without a finish reason as failed, and ask again.",
    ),
    "left": (
        "the answer's stream was left before its end",
        "The program stopped reading the stream, so the answer is not whole.",
        "Read streams to their end before the answer is used.",
    ),
}


def endings(flow: Flow) -> Iterator[Finding]:
    """Find answers that are empty or missing, were cut, filtered or refused, or whose stream broke off.

    Certain for the run's last answer, possible for earlier ones.
    """
    final = flow.final_inference
    for span in flow.inferences:
        ending = ending_of(span)
        if ending is None or (ending in ("empty", "missing") and not is_visible(span)):
            continue
        title, evidence, advice = _TEXTS[ending]
        is_last = span is final and ending != "left" and flow.trace.health != "running"
        last_call = flow.calls[-1].call if flow.calls else None
        if ending in ("empty", "missing") and last_call is not None and last_call.is_change and last_call.failed is False:
            is_last = False  # the tool may have delivered the answer
        confidence: Confidence = "certain" if is_last else "possible"
        node = next(iter(flow.answer_spans.get(span.span_id, ())), None)
        yield Finding(f"answer_{ending}", confidence, span.span_id, title, evidence, advice, node=node, ends_run=is_last)


CHECKS = (Check("answer_endings", endings, ("inferences",)),)
