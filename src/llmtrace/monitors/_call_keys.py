"""Finds the key of a span: agent, operation, model, prompt, or tool. Each key is compared with its own past.

A prompt or a model that takes the place of another (which had made all of the last calls at this place) succeeds it: its key
inherits the baseline, so that what the new prompt changed is seen, and named. Where each call has a prompt of its own, the
prompt is left out of the key.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from llmtrace.fingerprints import fingerprint
from llmtrace.model import AgentInvocation, Custom, Inference, Span, ToolExecution, Trace, Workflow, replace
from llmtrace.semconv import SAME_CALL, SERVICE_NAME

VARIED: Final = "varies"
_SUCCEEDS: Final = 20
"""Calls in a row after which a key is the only one at its place, so that another one succeeds it."""
_PROMPTS: Final = 12
_FEW: Final = 8
"""A place with more than `_PROMPTS` prompts, and fewer than this many calls for each, has prompts that vary."""


class Key(NamedTuple):
    agent: str | None
    """The nearest agent or workflow around the call, else the service; of a tool, the service."""
    operation: str
    """The function around a model call within its agent, else what the span did."""
    model: str | None = None
    """The requested model. The model that answers may change."""
    prompt: str | None = None
    """Fingerprint of the system prompt; ``varies`` where it does."""
    tool: str | None = None

    def name(self) -> str:
        return json.dumps(self)

    def place(self) -> str:
        """Name of the place (agent and operation, or tool) at which it is."""
        return f"{self._replace(model=None, prompt=None).name()} place"


class KeyedCall(NamedTuple):
    key: Key
    run: str
    """Id of what the calls of one run have in common: the span of the agent or workflow around them, else the trace."""


def key_of(trace: Trace, span: Span) -> KeyedCall | None:
    """Return the key of a call. None for spans that are not monitored, and for a call that another span records as well."""
    operation = span.operation
    if isinstance(operation, ToolExecution):
        _, _, run = _around(trace, span)
        return KeyedCall(Key(_service(span), "execute_tool", tool=operation.name), run)
    if not isinstance(operation, Inference) or SAME_CALL in span.attributes:
        return None
    if any(isinstance(inner.operation, Inference) for inner in trace.children(span)):
        return None
    agent, step, run = _around(trace, span)
    digests = operation.fingerprint or fingerprint(replace(operation, tools=(), parameters={}))  # only the prompt's is wanted
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
    """The keys seen at one place (agent and operation), to find which key succeeds which."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.state: dict[str, Any] = state or {"last": None, "row": 0, "calls": 0, "prompts": 0, "varied": False}

    def settle(self, key: Key, *, is_known: bool) -> tuple[Key, str, str | None]:
        """The key to use, its name, and that of the one that it succeeds. ``is_known``: whether the key has calls already."""
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
