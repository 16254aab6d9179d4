"""What strikes one about a span at a glance. A signal says which of these traits it waits for, and is not called without them.

Law: a trait is there whenever a signal that waits for it could find anything; it may be there and nothing be found.
"""

from __future__ import annotations

from typing import Final

from llmtrace.model import (
    Embedding,
    Inference,
    Message,
    Reasoning,
    ServerToolCall,
    Span,
    Text,
    ToolCall,
    ToolExecution,
    ToolResult,
)
from llmtrace.model.operations import CALLED
from llmtrace.signals._results import failed

INFERENCE: Final = 1
EXECUTION: Final = 2
"""Of a tool."""
FAILED: Final = 4
"""It erred, or a tool was refused or answered with an error."""
VIOLATIONS: Final = 8
ATTRIBUTES: Final = 16
"""Of the program, or of an instrumentor."""
JOINED: Final = 32
"""An execution that says which call it answers."""
TEXT: Final = 64
"""In an answer."""
CALLS: Final = 128
ANSWER: Final = 256
"""A choice without a call."""
BLANK: Final = 512
"""No choice, or one that says nothing."""
OTHER: Final = 1024
"""A part that is no text, thought or call: a refusal, an image."""
BROKEN: Final = 2048
"""A call whose arguments are no JSON object."""
ODD_END: Final = 4096
"""A choice that ended otherwise than by stopping or calling."""
FORM: Final = 8192
"""The request asks for a form of the answer."""
RESULTS: Final = 16384
"""The request brings results of tools that the model has not seen yet."""
RETRIED: Final = 1 << 15
STREAMED: Final = 1 << 16
"""The first chunk was timed."""
SERVED: Final = 1 << 17
"""By vLLM."""
ALONE: Final = 1 << 18
"""It is all there is of its run."""
SYNTAX: Final = 1 << 19
"""A text in an answer may hold markup, code or JSON."""
UNCALLED: Final = 1 << 20
"""A choice ended by calling, as it says, and there is one without a call."""

STORM: Final = 3
"""Requests for one call from which it counts as retried."""
ANSWERED: Final = frozenset({"assistant", "model"})
_SAYS: Final[dict[type, int]] = {Text: TEXT, ToolCall: CALLS, ServerToolCall: CALLS, Reasoning: 0}
_ENDS: Final[dict[str | None, int]] = {None: 0, "": 0, "stop": 0, "end_turn": 0, **dict.fromkeys(CALLED, UNCALLED)}
"""By finish reason; any other is odd."""
_FORMS: Final = frozenset({"response_format", "text", "response_mime_type", "output_type"})


def traits_of(span: Span) -> int:
    operation = span.operation
    found = 0
    if span.violations:
        found |= VIOLATIONS
    if span.attributes:
        found |= ATTRIBUTES
    if span.failure is not None:
        found |= FAILED
    if type(operation) is Inference:
        return found | INFERENCE | _of_answer(operation) | _of_request(operation)
    if type(operation) is ToolExecution:
        found |= EXECUTION
        if operation.call_id is not None:
            found |= JOINED
        if failed(span, operation):
            found |= FAILED
    elif type(operation) is Embedding and (operation.attempts or 0) >= STORM:
        found |= RETRIED
    return found


def _of_answer(inference: Inference) -> int:
    if not inference.output:
        return BLANK
    found = 0
    for message in inference.output:
        found |= _of_message(message) | _ENDS.get(message.finish_reason, ODD_END)
    for reason in inference.finish_reasons:
        found |= _ENDS.get(reason, ODD_END)
    return found if found & ANSWER else found & ~UNCALLED


def _of_message(message: Message) -> int:
    said, blank = 0, True
    for part in message.parts:
        kind = _SAYS.get(type(part), OTHER)
        said |= kind
        if kind is TEXT:
            text: str = part.content  # type: ignore[union-attr,assignment]
            blank = blank and (not text or text.isspace())
            if _has_syntax(text):
                said |= SYNTAX
        elif type(part) is ToolCall and type(part.arguments) is str:
            said |= BROKEN
    if said & CALLS:
        return said
    return said | ANSWER | BLANK if blank and not said & OTHER else said | ANSWER


def _has_syntax(text: str) -> bool:
    if "<" in text or "[" in text or "{" in text or "`" in text or not text.isascii():
        return True
    return "functions." in text or text.rstrip().endswith((")", "]"))


def _of_request(inference: Inference) -> int:
    found = 0
    if inference.parameters and not _FORMS.isdisjoint(inference.parameters):
        found |= FORM
    if inference.attempts is not None and inference.attempts >= STORM:
        found |= RETRIED
    if inference.time_to_first_chunk is not None:
        found |= STREAMED
    fingerprint = inference.system_fingerprint
    if inference.provider == "vllm" or (fingerprint is not None and fingerprint.startswith("vllm-")):
        found |= SERVED
    for message in reversed(inference.input):
        if message.role in ANSWERED:
            break
        for part in message.parts:
            if type(part) is ToolResult:
                return found | RESULTS
    return found
