"""Finds the key of a span: agent, operation, model and prompt, or tool. Each key has its own baseline.

If a new prompt or model replaces another one, which had all of the last calls at this place, its key succeeds the other's key
and inherits the baseline. So a change that the new prompt causes is found, and the prompt is named as the cause. If prompts
vary from call to call, the prompt is left out of the key.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from llmtrace.fingerprints import fingerprint
from llmtrace.model import AgentInvocation, Custom, Inference, Span, ToolExecution, Trace, Workflow, replace
from llmtrace.semconv import SAME_CALL, SERVICE_NAME

VARIED: Final = "varies"
_SUCCEEDS: Final = 20
"""Number of calls in a row after which a key counts as the only one at its place, so that the next key succeeds it."""
_PROMPTS: Final = 12
_FEW: Final = 8
"""A place with more than `_PROMPTS` prompts, and fewer than this many calls for each, has prompts that vary."""


class Key(NamedTuple):
    agent: str | None
    """Name of the nearest agent or workflow around a model call, else of the service. For a tool, the service."""
    operation: str
    """Name of the span around a model call within its agent (a function), else the span's operation."""
    model: str | None = None
    """The requested model. The answering model is not part of the key, because it may change."""
    prompt: str | None = None
    """Fingerprint of the system prompt; ``varies`` if prompts vary from call to call."""
    tool: str | None = None

    def name(self) -> str:
        return json.dumps(self)

    def place(self) -> str:
        """Return the name of the key's place: agent and operation, or tool."""
        return f"{self._replace(model=None, prompt=None).name()} place"


class KeyedCall(NamedTuple):
    key: Key
    run: str
    """Id of the call's run: of the nearest agent or workflow span around it, else of the trace."""


def key_of(trace: Trace, span: Span) -> KeyedCall | None:
    """Return the key of a call. None for spans that are not monitored, and for a call that another span also records."""
    operation = span.operation
    if isinstance(operation, ToolExecution):
        _, _, run = _around(trace, span)
        return KeyedCall(Key(_service(span), "execute_tool", tool=operation.name), run)
    if not isinstance(operation, Inference) or SAME_CALL in span.attributes:
        return None
    if any(isinstance(inner.operation, Inference) for inner in trace.children(span)):
        return None  # the model call inside this one counts
    agent, step, run = _around(trace, span)
    digests = operation.fingerprint or fingerprint(replace(operation, tools=(), parameters={}))  # only the prompt's is needed
    return KeyedCall(Key(agent, step or operation.operation, operation.request_model, digests.system), run)


def _around(trace: Trace, span: Span) -> tuple[str | None, str | None, str]:
    step = None
    for above in trace.ancestors(span):
        if isinstance(above.operation, (AgentInvocation, Workflow)):
            return above.operation.name, step, above.trace_id + above.span_id
        if step is None and isinstance(above.operation, Custom):
            step = above.step
    return _service(span), step, span.trace_id


def _service(span: Span) -> str | None:
    service = span.resource.get(SERVICE_NAME)
    return str(service) if service else None


class Place:
    """The latest key at one place (agent and operation, or tool), to find which key succeeds which."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.state: dict[str, Any] = state or {"last": None, "row": 0, "calls": 0, "prompts": 0, "varied": False}

    def settle(self, key: Key, *, is_known: bool) -> tuple[Key, str, str | None]:
        """Count a call. Returns the key to use, its name, and the name of the key that it succeeds, or None.

        ``is_known``: True if the key has earlier calls.
        """
        state = self.state
        state["calls"] += 1
        if not is_known and not state["varied"]:
            state["prompts"] += 1
            state["varied"] = state["prompts"] > _PROMPTS and state["calls"] < _FEW * state["prompts"]
        if state["varied"] and key.prompt is not None:
            key = key._replace(prompt=VARIED)
        name = key.name()
        before = None
        if name == state["last"]:
            state["row"] += 1
        else:
            before = state["last"] if state["row"] >= _SUCCEEDS else None
            state["last"], state["row"] = name, 1
        return key, name, before
