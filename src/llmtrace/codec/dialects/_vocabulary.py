"""Translates roles, finish reasons, names and ids of other writers to one vocabulary.

Finish reasons that are translated also stay as an attribute. An empty answer of many tokens is removed, since the writer did
not record its text. A placeholder for a call id is removed, since the id joins an execution to its call. A random id in a name
is removed, since runs are compared by name.
"""

from __future__ import annotations

import re
from typing import Any, Final

from llmtrace import semconv as sc
from llmtrace.codec import fields
from llmtrace.codec.best_fields import says_nothing
from llmtrace.codec.finish_reasons import finish_reason
from llmtrace.codec.skills import with_skill
from llmtrace.model import AgentInvocation, Custom, FetchResponse, Inference, Message, Span, ToolExecution, Workflow, replace
from llmtrace.model.operations import CALLED

_ROLES: Final = {
    "human": "user",
    "ai": "assistant",
    "model": "assistant",
    **{role: role for role in ("system", "developer", "user", "assistant", "tool")},
}
_STANDARD_ROLES: Final = frozenset(_ROLES.values())
_PLACEHOLDER: Final = re.compile(r"[<(\[].*[>)\]]|none|null|unknown|undefined|n/a|", re.IGNORECASE)
"""``<not specified>`` (Google ADK) and the like."""
_UUID: Final = re.compile(
    r"[_\-:. ]?\b[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\b|_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)
"""A UUID and the separator before it: ``Crew_1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed.kickoff`` (CrewAI)."""
_AGENT_ID: Final = "gen_ai.agent.id"
_SESSION: Final = "session.id"
"""OpenTelemetry's general session id, which many programs use for the conversation."""
NO_MODEL: Final = frozenset({"", "none", "null", "unknown"})
_MOST_TOKENS_OF_NOTHING: Final = 8
"""Output tokens that an answer without text may have, at most: marks at its beginning and end."""


def use_standard_words(span: Span) -> Span:
    """Return another writer's span with roles, finish reasons, names and ids in the standard vocabulary."""
    operation = span.operation
    changes: dict[str, Any] = {}
    written: list[str] = []
    if isinstance(operation, (Inference, FetchResponse)):
        written = [word for reason in operation.finish_reasons for word in fields.as_texts(reason) or ()]
        changes["finish_reasons"] = tuple(map(finish_reason, written))
        written = written or [message.finish_reason for message in operation.output if message.finish_reason]
    if isinstance(operation, Inference):
        changes |= _of_inference(operation, changes["finish_reasons"])
    elif isinstance(operation, FetchResponse):
        changes["output"] = _with_standard_words(operation.output)
    elif isinstance(operation, (AgentInvocation, Workflow)):
        changes["input"] = _with_standard_words(operation.input)
        changes["output"] = _answers(operation)
        changes["name"] = _name(span, operation)
    elif isinstance(operation, ToolExecution):
        changes = _of_execution(operation)
    changes = {name: value for name, value in changes.items() if value != getattr(operation, name)}
    attributes = span.attributes
    if _SESSION in attributes and sc.CONVERSATION_ID not in attributes and not isinstance(operation, Custom):
        attributes = {sc.CONVERSATION_ID if key == _SESSION else key: value for key, value in attributes.items()}
        span = replace(span, attributes=attributes)
    conversation = attributes.get(sc.CONVERSATION_ID)
    if isinstance(conversation, str) and fields.is_response_id(conversation):
        attributes = {key: value for key, value in attributes.items() if key != sc.CONVERSATION_ID}
        span = replace(span, attributes=attributes)
    if not changes:
        return span
    if any(finish_reason(word) != word for word in written):
        attributes = {sc.RESPONSE_FINISH_REASONS: written, **attributes}
    return replace(span, operation=replace(operation, **changes), attributes=attributes)


def _of_execution(execution: ToolExecution) -> dict[str, Any]:
    known, call_id = with_skill(execution), execution.call_id
    is_placeholder = call_id is not None and _PLACEHOLDER.fullmatch(call_id.strip())
    return {"skill": known.skill, "skill_resource": known.skill_resource, "call_id": None if is_placeholder else call_id}


def _name(span: Span, operation: AgentInvocation | Workflow) -> str:
    name = operation.name
    if not name and isinstance(operation, AgentInvocation):
        name = fields.as_text(span.attributes.get(_AGENT_ID)) or span.name.removeprefix("invoke_agent").strip()
    return _UUID.sub("", name) or name


def _of_inference(inference: Inference, reasons: tuple[str, ...]) -> dict[str, Any]:
    changes: dict[str, Any] = {"input": _with_standard_words(inference.input), "output": _answers(inference)}
    if _is_unwritten(inference, reasons):
        changes["output"] = ()
    if (inference.response_model or "").lower() in NO_MODEL:
        changes["response_model"] = None
    first = next((message for message in inference.input if message.role.lower() in ("system", "developer")), None)
    if inference.system and first is not None and first.parts == inference.system:
        changes["system"] = ()  # some writers repeat the system instructions as a message
    return changes


def _answers(operation: Inference | AgentInvocation | Workflow) -> tuple[Message, ...]:
    """Return the output without messages that repeat the input: some writers record the whole conversation as output."""
    return _with_standard_words(tuple([message for message in operation.output if message not in operation.input]))


def _is_unwritten(inference: Inference, reasons: tuple[str, ...]) -> bool:
    """Return True if the answer is empty although it has many tokens, or although the model called tools."""
    if not inference.output or not says_nothing(inference.output):
        return False
    if not CALLED.isdisjoint(reasons):
        return True
    usage = inference.usage
    return usage is not None and (usage.output_tokens or 0) - (usage.reasoning_output_tokens or 0) > _MOST_TOKENS_OF_NOTHING


def _with_standard_words(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    return tuple([_renamed(message) for message in messages])


def _renamed(message: Message) -> Message:
    role = message.role if message.role in _STANDARD_ROLES else _ROLES.get(message.role.lower(), message.role)
    reason = None if message.finish_reason is None else finish_reason(message.finish_reason)
    if role == message.role and reason == message.finish_reason:
        return message
    return replace(message, role=role, finish_reason=reason)
