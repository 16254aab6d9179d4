"""Records LangGraph's interrupts, and the decisions of LangChain's ``HumanInTheLoopMiddleware``, as reviews.

An interrupt ends the run. The run that continues prepares the interrupted task again, with the interrupt and its answer among
the writes of the checkpoint. So the two are joined by the interrupt's id, even in another process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.context import Context

from llmtrace.content import to_json
from llmtrace.instrumentation._framework import ANSWERED, APPROVED, EDITED, PENDING, REJECTED, record_review
from llmtrace.instrumentation._langchain_messages import plain
from llmtrace.model import JsonValue, Review, replace

_NOBODY = "00000000-0000-0000-0000-000000000000"
"""Task id of an answer that does not name its interrupt."""
_DECISIONS = {"approve": APPROVED, "edit": EDITED, "reject": REJECTED, "respond": ANSWERED}


def record_interrupts(interrupts: Any, state: Any, context: Context) -> None:
    """Record the interrupts that a graph waits for. ``state``: the input of the node that interrupts."""
    for interrupt in interrupts if isinstance(interrupts, (list, tuple)) else ():
        for review in _reviews_of(interrupt, state):
            record_review(replace(review, decision=PENDING), context)


def record_answers(task: Any, writes: Iterable[Any], resume_map: Any, answered: set[str], context: Context) -> None:
    """Record the decisions on the interrupts of a task that continues. ``answered``: ids of those already recorded in this run.

    ``resume_map``: answers by the interrupt's id, if the program passed such a mapping. ``writes``: tuples (task, channel,
    value).
    """
    writes = list(writes)
    answer = next((value for owner, channel, value in writes if owner == _NOBODY and channel == "__resume__"), None)
    for owner, channel, interrupts in writes:
        if owner != task.id or channel != "__interrupt__" or not isinstance(interrupts, (list, tuple)):
            continue
        for interrupt in interrupts:
            by_id = isinstance(resume_map, Mapping) and interrupt.id in resume_map
            given = resume_map[interrupt.id] if by_id else answer
            if given is not None and interrupt.id not in answered:
                answered.add(interrupt.id)
                reviews = _reviews_of(interrupt, getattr(task, "input", None))
                decisions = given.get("decisions") if isinstance(given, Mapping) else None
                if not isinstance(decisions, list) or len(decisions) != len(reviews):
                    decisions = [given] * len(reviews)
                for review, decision in zip(reviews, decisions, strict=True):
                    record_review(_decided(review, decision), context)


def _decided(review: Review, answer: Any) -> Review:
    kind = answer.get("type") if isinstance(answer, Mapping) and review.tool is not None else None
    decision = _DECISIONS.get(kind) if isinstance(kind, str) else None
    if decision == EDITED:
        return replace(review, decision=decision, value=to_json((answer.get("edited_action") or {}).get("args")))
    if decision == ANSWERED:
        return replace(review, decision=decision, value=to_json(answer.get("message")))
    if decision is not None:
        note = answer.get("message")
        return replace(review, decision=decision, note=note if isinstance(note, str) else None)
    return replace(review, decision=ANSWERED, value=plain(answer))


def _reviews_of(interrupt: Any, state: Any) -> list[Review]:
    """Return one review for each tool call in the interrupt, or else one for the question."""
    value, review_id = getattr(interrupt, "value", None), getattr(interrupt, "id", None)
    review_id = review_id if isinstance(review_id, str) else None
    if isinstance(value, Mapping) and value.get("type") == "tool_approval":
        return [_of_call(value, review_id, value.get("tool_call_id"))]
    requests = value.get("action_requests") if isinstance(value, Mapping) else None
    if not isinstance(requests, list) or not all(isinstance(request, Mapping) for request in requests):
        question = value if isinstance(value, str) else "interrupt"
        return [Review(question, review_id, payload=None if isinstance(value, str) else plain(value))]
    calls = _tool_calls(state)
    return [_of_call(request, review_id, _take_call(calls, request)) for request in requests]


def _of_call(request: Mapping[str, Any], review_id: str | None, call_id: Any) -> Review:
    name, arguments = str(request.get("name")), to_json(request.get("args"))
    return Review(name, review_id, name, call_id if isinstance(call_id, str) else None, payload=arguments)


def _tool_calls(state: Any) -> list[Mapping[str, JsonValue]]:
    messages = state.get("messages") if isinstance(state, Mapping) else getattr(state, "messages", None)
    for message in reversed(messages or ()):
        calls = getattr(message, "tool_calls", None)
        if calls:
            return list(calls)
    return []


def _take_call(calls: list[Mapping[str, JsonValue]], request: Mapping[str, Any]) -> JsonValue:
    for call in calls:
        if call.get("name") == request.get("name") and call.get("args") == request.get("args"):
            calls.remove(call)
            return call.get("id")
    return None
