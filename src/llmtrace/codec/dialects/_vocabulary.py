"""The roles and finish reasons of other writers in one vocabulary; what was written instead stays an attribute.

An empty text in place of an answer of many tokens is an answer that the writer did not write, not an empty one.
"""

from __future__ import annotations

from typing import Any, Final

from llmtrace import semconv as sc
from llmtrace.codec import fields
from llmtrace.codec.dialects._message_shapes import ROLES
from llmtrace.model import AgentInvocation, FetchResponse, Inference, Message, Span, Text, Workflow, replace

_ROLES: Final = {**ROLES, **{role: role for role in ("system", "developer", "user", "assistant", "tool")}}
_REASONS: Final = {
    "tool_call": "tool_calls",
    "toolcalls": "tool_calls",
    "toolcall": "tool_calls",
    "tool_use": "tool_calls",
    "tool_execution": "tool_calls",
    "function_call": "tool_calls",
    "end_turn": "stop",
    "eos": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "content_filtered": "content_filter",
}
"""Finish reasons of providers and frameworks that have a word of the conventions' own. All others stay, in lower case."""


_MOST_TOKENS_OF_NOTHING: Final = 8
"""Output tokens that an empty answer may have: the marks at its beginning and end."""


def finish_reason(written: str) -> str:
    """A finish reason in the conventions' words: ``STOP``, ``end_turn`` and ``FinishReason.STOP`` are ``stop``."""
    word = written.strip().rpartition(".")[2].lower().replace("-", "_").replace(" ", "_")
    return _REASONS.get(word, word)


def use_standard_words(span: Span) -> Span:
    """The span of another writer with its roles and finish reasons in the words that everything reads."""
    operation = span.operation
    if not isinstance(operation, (Inference, FetchResponse, AgentInvocation, Workflow)):
        return span
    changes: dict[str, Any] = {}
    for name in ("input", "output"):
        messages: tuple[Message, ...] = getattr(operation, name, ())
        if any(_is_odd(message) for message in messages):
            changes[name] = tuple([_renamed(message) for message in messages])
    written: list[str] = []
    if isinstance(operation, (Inference, FetchResponse)):
        written = [word for reason in operation.finish_reasons for word in fields.as_texts(reason) or ()]
        reasons = tuple(map(finish_reason, written))
        if reasons != operation.finish_reasons:
            changes["finish_reasons"] = reasons
        written = written or [message.finish_reason for message in operation.output if message.finish_reason]
    if isinstance(operation, Inference) and _is_unwritten(operation):
        changes["output"] = ()
    if not changes:
        return span
    attributes = span.attributes
    if any(finish_reason(word) != word for word in written):
        attributes = {sc.RESPONSE_FINISH_REASONS: written, **attributes}
    return replace(span, operation=replace(operation, **changes), attributes=attributes)


def _is_unwritten(inference: Inference) -> bool:
    usage = inference.usage
    if usage is None or (usage.output_tokens or 0) - (usage.reasoning_output_tokens or 0) <= _MOST_TOKENS_OF_NOTHING:
        return False
    parts = [part for message in inference.output for part in message.parts]
    return bool(parts) and all(isinstance(part, Text) and not part.content for part in parts)


def _is_odd(message: Message) -> bool:
    return _renamed(message) is not message


def _renamed(message: Message) -> Message:
    role = message.role if message.role in _ROLES.values() else _ROLES.get(message.role.lower(), message.role)
    reason = None if message.finish_reason is None else finish_reason(message.finish_reason)
    if role == message.role and reason == message.finish_reason:
        return message
    return replace(message, role=role, finish_reason=reason)
