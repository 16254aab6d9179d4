"""openai-agents: its traces, agents, tools, hand-offs and guardrails as spans.

The framework opens a span of its own for each step, and keeps the current one in a context variable, which it sets and resets
in the course of one coroutine. Ours begin and end with them, and are current where theirs are, inside that coroutine alone
(`_framework.isolated`). That is done where those spans start and finish, and not by a trace processor: a processor is lost when
the program calls ``set_trace_processors``, sees nothing where the framework's own tracing is disabled, as it mostly is without
a key of OpenAI's, and cannot make a span the current one. The program's own processors stay as they are.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Mapping
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from llmtrace.instrumentation import _openai_agents_steps as steps
from llmtrace.instrumentation._failures import failure_in_call
from llmtrace.instrumentation._framework import Step, spanned
from llmtrace.instrumentation._patches import Patch
from llmtrace.model import TOOL_ERROR, AgentInvocation, Custom, Failure, JsonValue, Operation, ToolExecution, Workflow, replace
from llmtrace.recorder import Recording, active, keys
from llmtrace.recorder.guard import guard
from llmtrace.semconv import CONVERSATION_ID, GUARDRAIL_TRIGGERED, MCP_TOOL_ERROR, PARTIAL

LIBRARY, DISTRIBUTION = "agents", "openai-agents"
SUPPORTED = (0,)
"""Major versions of the library that are tested (0.24)."""

_SPAN = "llmtrace-agents-span"
"""In the context: the framework's id of the span that it belongs to."""
_AGENT, _TOOL, _TRACE = "llmtrace-agents-agent", "llmtrace-agents-tool", "llmtrace-agents-trace"
"""In the context: the innermost open agent, tool and trace."""
_INPUT = "llmtrace-agents-input"
"""In the context: what the run was given."""
_DEFAULT_NAME = "Agent workflow"
_KEPT = 10_000
"""Tokens of spans that were never reset; the oldest are forgotten."""


class _Open:
    """A step or trace of the framework's that is open. Without a recording it has no span; what is in it goes further up."""

    __slots__ = ("__weakref__", "before", "context", "failed", "invoked", "operation", "output", "recording")

    def __init__(self, context: Context) -> None:
        self.context = context
        self.recording: Recording | None = None
        self.operation: Operation | None = None
        self.output: Any = None
        self.invoked = False
        self.failed: BaseException | None = None
        """What the tool raised, which the framework turns into an answer for the model."""
        self.before = sys.exc_info()[1]
        """What was being handled when it started, and so is none of its failures."""


_open: weakref.WeakKeyDictionary[Any, _Open] = weakref.WeakKeyDictionary()
"""By the framework's span or trace."""
_by_id: weakref.WeakValueDictionary[str, _Open] = weakref.WeakValueDictionary()
_asked: weakref.WeakKeyDictionary[Any, Mapping[str, Any]] = weakref.WeakKeyDictionary()
"""What a trace was made with; one that is disabled does not keep it."""
_attached: dict[int, tuple[Any, Any]] = {}
"""The framework's token and ours, by the id of the first."""


# -- starting and finishing


def _starting(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``start()`` of a span."""
    if active() is not None and instance not in _open:
        guard(_start, instance)
    return wrapped(*args, **kwargs)


def _start(span: Any) -> None:
    data = span.span_data
    one = _Open(_context(span))
    begun = steps.started(data, one.context.get(_INPUT))
    if begun is not None:
        _record(one, *begun)
    if data.type not in steps.MODELS:  # these are open across the steps of a generator: they are never the current ones
        _open_by(span, one, span.span_id)
        if isinstance(one.operation, AgentInvocation):
            one.context = otel_context.set_value(_AGENT, one, one.context)
        elif isinstance(one.operation, ToolExecution):
            one.context = otel_context.set_value(_TOOL, one, one.context)
    elif one.recording is not None:
        _open[span] = one


def _record(one: _Open, operation: Operation, name: str | None) -> None:
    recorder = active()
    if recorder is not None:
        one.operation = operation
        one.recording = recorder.start(operation, name=name, context=one.context)
        one.context = one.recording.context


def _open_by(thing: Any, one: _Open, own_id: Any) -> None:
    _open[thing] = one
    if own_id != "no-op":
        _by_id[own_id] = one
        one.context = otel_context.set_value(_SPAN, own_id, one.context)


def _context(span: Any) -> Context:
    """What is current, which follows the framework's own current span; unless its parent is known to be another one."""
    here = otel_context.get_current()
    parent_id = span.parent_id or span.trace_id
    parent = _by_id.get(parent_id)
    return here if parent is None or here.get(_SPAN) == parent_id else parent.context


def _finishing(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``finish()`` of a span."""
    guard(_finish, instance)
    return wrapped(*args, **kwargs)


def _finish(span: Any) -> None:
    one = _open.pop(span, None)
    recording = None if one is None else one.recording
    if one is None or recording is None or one.operation is None:
        return
    data = span.span_data
    operation = steps.ended(one.operation, data, one.output)
    if data.type == "guardrail":
        recording.set({GUARDRAIL_TRIGGERED: bool(data.triggered)})
    if isinstance(operation, ToolExecution) and not one.invoked and span.error is None:
        operation = _waiting(operation, one)
    if one.failed is not None and isinstance(operation, ToolExecution):
        failure = guard(failure_in_call, one.failed)
        kept = operation.arguments is not None  # else the program told the framework to keep tools' data out of traces
        recording.end(operation, failure=failure if kept or failure is None else Failure(failure.type))
    else:
        wrong = _reported(span.error) or _answered_wrong(operation, recording)
        _end(one, recording, operation, wrong)


def _waiting(operation: ToolExecution, one: _Open) -> ToolExecution:
    """The tool was not run, and nothing is wrong: a person is to approve the call first."""
    recorder = active()
    if recorder is not None:
        asked: dict[str, JsonValue] = {"tool": operation.name, "arguments": operation.arguments}
        recorder.start(Custom({"value": asked}), name="interrupt", context=one.context).end()
    return replace(operation, executed=operation.definition is None, has_result=False, result=None)


def _reported(error: Mapping[str, Any] | None) -> Failure | None:
    """The failure that the framework notes on its span, having handled the exception."""
    if error is None:
        return None
    data = error.get("data") or {}
    return Failure(TOOL_ERROR if "tool_name" in data else "agent_error", str(data.get("error") or error.get("message") or ""))


def _answered_wrong(operation: Operation, recording: Recording) -> Failure | None:
    """The failure of a tool of an MCP server's, which the framework hands to the model as any other answer."""
    if not isinstance(operation, ToolExecution) or MCP_TOOL_ERROR not in recording.attributes:
        return None
    return Failure(TOOL_ERROR, operation.result if isinstance(operation.result, str) else "")


def _end(one: _Open, recording: Recording, operation: Operation, reported: Failure | None) -> None:
    raised = sys.exc_info()[1]
    if raised is one.before:
        raised = None
    if isinstance(raised, GeneratorExit):
        recording.set({PARTIAL: True})
        recording.end(operation)
    elif raised is not None:
        recording.end(operation, failure=guard(failure_in_call, raised), exception=raised)
    else:
        recording.end(operation, failure=reported)


# -- traces


def _creating(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """Wrapper for the function that makes a trace."""
    made = wrapped(*args, **kwargs)
    if active() is not None:
        guard(_note_trace, made, {**dict(zip(("name", "trace_id", "group_id"), args, strict=False)), **kwargs})
    return made


def _note_trace(made: Any, asked: Mapping[str, Any]) -> None:
    _asked[made] = asked


def _starting_trace(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``start()`` of a trace."""
    if active() is not None and instance not in _open:
        guard(_start_trace, instance)
    return wrapped(*args, **kwargs)


def _start_trace(trace: Any) -> None:
    asked = _asked.get(trace, {})
    name, group = asked.get("name") or trace.name, asked.get("group_id") or getattr(trace, "group_id", None)
    one = _Open(otel_context.get_current())
    if group is not None:
        known: Any = one.context.get(keys.ATTRIBUTES) or {}
        one.context = otel_context.set_value(keys.ATTRIBUTES, {CONVERSATION_ID: str(group), **known}, one.context)
    if name != _DEFAULT_NAME or keys.RECORDING not in one.context:  # else the program has its own around the run
        said = guard(steps.read_input, one.context.get(_INPUT)) or ()
        _record(one, Workflow(str(name), input=said), None)
    _open_by(trace, one, trace.trace_id)
    one.context = otel_context.set_value(_TRACE, one, one.context)


def _finishing_trace(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``finish()`` of a trace."""
    guard(_finish_trace, instance)
    return wrapped(*args, **kwargs)


def _finish_trace(trace: Any) -> None:
    one = _open.pop(trace, None)
    if one is not None and one.recording is not None and isinstance(one.operation, Workflow):
        _end(one, one.recording, replace(one.operation, output=steps.read_output(one.output)), None)


# -- what is current


def _setting(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """Wrapper for the function that makes a span or trace of the framework's the current one: ours with it."""
    token = wrapped(*args, **kwargs)
    thing = args[0] if args else next(iter(kwargs.values()), None)
    if thing is not None and active() is not None:
        guard(_attach, token, thing)
    return token


def _attach(token: Any, thing: Any) -> None:
    one = _open.get(thing)
    if one is None:
        return
    if len(_attached) >= _KEPT:
        _attached.pop(next(iter(_attached)), None)
    _attached[id(token)] = token, otel_context.attach(one.context)


def _resetting(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """Wrapper for the function that undoes that."""
    tokens = _attached.pop(id(args[0] if args else kwargs.get("token")), None)
    if tokens is not None:
        Recording.detach(tokens[1])
    return wrapped(*args, **kwargs)


# -- what the framework's spans do not say


class _Given:
    """Makes what a run is given known to the agents in it; a `Step` that only sets the context."""

    def __init__(self, given: Any) -> None:
        self.context = otel_context.set_value(_INPUT, given)

    def returned(self, result: Any) -> None:
        """The agent's span has ended by itself."""

    def raised(self, error: BaseException) -> None:
        """The agent's span has ended by itself."""


def _run(runner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Step:  # noqa: ARG001
    return _Given(args[1] if len(args) > 1 else kwargs.get("input"))


def _run_streamed(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Wrapper for the function that starts a task in which the run goes on."""
    step = guard(_run, instance, args, kwargs) if active() is not None else None
    if step is None:
        return wrapped(*args, **kwargs)
    token = otel_context.attach(step.context)
    try:
        return wrapped(*args, **kwargs)
    finally:
        Recording.detach(token)


def _final(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """Wrapper for the hooks on the final output."""
    if active() is not None:
        guard(_note_output, args[3] if len(args) > 3 else kwargs.get("final_output"))
    return wrapped(*args, **kwargs)


def _note_output(output: Any) -> None:
    for key in (_AGENT, _TRACE):
        one = otel_context.get_value(key)
        if isinstance(one, _Open):
            one.output = output


def _invoking(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """Wrapper for the function that runs a function tool."""
    if active() is not None:
        guard(_note_tool, kwargs.get("function_tool"))
    return wrapped(*args, **kwargs)


def _note_tool(tool: Any) -> None:
    one = otel_context.get_value(_TOOL)
    if isinstance(one, _Open) and isinstance(one.operation, ToolExecution):
        one.invoked = True
        one.operation = replace(one.operation, definition=steps.definition_of(tool) or one.operation.definition)


def _failing(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """Wrapper for the function that makes an answer of what a tool raised."""
    one = otel_context.get_value(_TOOL) if active() is not None else None
    if isinstance(one, _Open):
        one.failed = kwargs.get("error")
    return wrapped(*args, **kwargs)


def _told_of_call(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """Wrapper for what is made for a tool before it may run: it knows the call's id, and the agent with its tools."""
    if active() is not None:
        names = ("context", "tool_call_id", "tool_call", "agent")
        guard(_note_call, {**dict(zip(names, args, strict=False)), **kwargs})
    return wrapped(*args, **kwargs)


def _note_call(said: Mapping[str, Any]) -> None:
    one = otel_context.get_value(_TOOL)
    if not isinstance(one, _Open) or not isinstance(one.operation, ToolExecution) or one.operation.call_id is not None:
        return
    name = one.operation.name
    tools = getattr(said.get("agent"), "tools", None) or ()
    tool = next((each for each in tools if getattr(each, "name", None) == name), None)
    one.operation = replace(one.operation, call_id=said.get("tool_call_id"), definition=steps.definition_of(tool))


_SPANS, _TRACES, _SCOPE = "agents.tracing.spans", "agents.tracing.traces", "agents.tracing.scope"
_TOOLS = ("agents.tool", "agents.run_internal.tool_execution")
"""The second has names of the first's as its own."""

PATCHES = (
    *(Patch(_SPANS, f"{kind}.start", _starting) for kind in ("SpanImpl", "NoOpSpan")),
    *(Patch(_SPANS, f"{kind}.finish", _finishing) for kind in ("SpanImpl", "NoOpSpan")),
    *(Patch(_TRACES, f"{kind}.start", _starting_trace) for kind in ("TraceImpl", "NoOpTrace", "ReattachedTrace")),
    *(Patch(_TRACES, f"{kind}.finish", _finishing_trace) for kind in ("TraceImpl", "NoOpTrace", "ReattachedTrace")),
    Patch("agents.tracing.provider", "DefaultTraceProvider.create_trace", _creating),
    *(Patch(_SCOPE, f"Scope.set_current_{kind}", _setting) for kind in ("span", "trace")),
    *(Patch(_SCOPE, f"Scope.reset_current_{kind}", _resetting) for kind in ("span", "trace")),
    Patch("agents.run", "AgentRunner.run", spanned(_run, inside=True)),
    Patch("agents.run", "AgentRunner.run_streamed", _run_streamed),
    Patch("agents.run_internal.turn_resolution", "run_final_output_hooks", _final),
    Patch("agents.run_internal.run_loop", "run_final_output_hooks", _final),
    *(Patch(module, "_invoke_function_tool_with_metadata", _invoking) for module in _TOOLS),
    *(Patch(module, "invoke_function_tool", _invoking) for module in _TOOLS),
    *(Patch(module, "maybe_invoke_function_tool_failure_error_function", _failing) for module in _TOOLS),
    Patch("agents.tool_context", "ToolContext.from_agent_context", _told_of_call),
)
