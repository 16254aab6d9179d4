"""Claude Agent SDK: each question of ``can_use_tool`` as a review. Everything else is in OpenInference's spans.

The SDK asks from the task that reads Claude Code's messages; the review belongs where the program receives them.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from functools import partial
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from llmtrace.content import to_json
from llmtrace.instrumentation._framework import Step, spanned
from llmtrace.instrumentation._patches import Patch
from llmtrace.instrumentation._reviews import APPROVED, EDITED, REJECTED, ReviewStep
from llmtrace.model import Review, replace
from llmtrace.recorder import active
from llmtrace.recorder.guard import guard

LIBRARY, DISTRIBUTION = "claude_agent_sdk", "claude-agent-sdk"
SUPPORTED = ">=0.2.100,<1"
"""Versions of the library that are tested."""

_contexts: weakref.WeakKeyDictionary[Any, Context] = weakref.WeakKeyDictionary()
"""By ``Query``: what is current where its messages are received."""


def _creating(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``Query()``: puts our function around the callback of the program."""
    result = wrapped(*args, **kwargs)
    callback = getattr(instance, "can_use_tool", None)
    if callback is not None and active() is not None:
        instance.can_use_tool = partial(_asked, callback, weakref.ref(instance))
    return result


def _asked(callback: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
    return spanned(_ask)(callback, query(), args, kwargs)


def _ask(query: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Step:  # noqa: ARG001
    """Open a `Step` for the callback: (tool, input, context)."""
    name, arguments, context = args
    call_id = getattr(context, "tool_use_id", None)
    review = Review(name, tool=name, call_id=call_id, payload=to_json(arguments))
    return ReviewStep(review, _decide, None if query is None else _contexts.get(query))


def _decide(review: Review, result: Any) -> Review:
    if getattr(result, "behavior", None) == "deny":
        return replace(review, decision=REJECTED, note=result.message or None)
    arguments = to_json(getattr(result, "updated_input", None))
    if not isinstance(arguments, Mapping) or arguments == review.payload:
        return replace(review, decision=APPROVED)
    return replace(review, decision=EDITED, value=arguments)


def _receiving(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``Query.receive_messages``."""
    if active() is not None:
        guard(_contexts.__setitem__, instance, otel_context.get_current())
    return wrapped(*args, **kwargs)


_QUERY = "claude_agent_sdk._internal.query"

PATCHES = (
    Patch(_QUERY, "Query.__init__", _creating),
    Patch(_QUERY, "Query.receive_messages", _receiving),
)
