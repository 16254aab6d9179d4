"""Claude Agent SDK: each question of ``can_use_tool`` is a review. Everything else is in OpenInference's spans.

The SDK calls the callback from the task that reads Claude Code's messages. The review belongs below the span where the program
receives these messages.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from functools import partial
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from llmtrace.content import to_json
from llmtrace.instrumentation._framework import APPROVED, EDITED, REJECTED, ReviewStep, Step, spanned
from llmtrace.instrumentation._patches import Patch, after, before
from llmtrace.model import Review, replace

LIBRARY, DISTRIBUTION = "claude_agent_sdk", "claude-agent-sdk"
SUPPORTED = ">=0.2.100,<1"

_contexts: weakref.WeakKeyDictionary[Any, Context] = weakref.WeakKeyDictionary()
"""By ``Query``: the context in which its messages are received."""


def _wrap_callback(_result: Any, query: Any, *_: Any) -> None:
    """Put our function around the callback of the program after a ``Query`` was made."""
    callback, owner = getattr(query, "can_use_tool", None), weakref.ref(query)
    if callback is None:
        return

    def ask(*args: Any, **kwargs: Any) -> Any:
        bound = partial(callback, *args, **kwargs)  # without arguments, or the callback would be kept for their names
        return spanned(lambda *_: _ask(owner(), *args))(bound, None, (), {})

    query.can_use_tool = ask


def _ask(query: Any, name: str, arguments: Any, context: Any) -> Step:
    """Begin a `Step` for the callback: (tool, input, context)."""
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


def _keep_context(query: Any, *_: Any) -> None:
    _contexts[query] = otel_context.get_current()


_QUERY = "claude_agent_sdk._internal.query"

PATCHES = (
    Patch(_QUERY, "Query.__init__", after(_wrap_callback)),
    Patch(_QUERY, "Query.receive_messages", before(_keep_context)),
)
