"""openai-agents: its traces, agents, tools, hand-offs and guardrails as spans.

The framework opens a span of its own for each step, and keeps the current one in a context variable, which it sets and resets
inside one coroutine. Our spans begin and end with the framework's, and are current where these are, but only inside that
coroutine (`_framework.spanned`).

The patches are on the functions that start and finish these spans. A trace processor would not do. It is lost when the program
calls ``set_trace_processors``. It gets nothing if the framework's own tracing is disabled, which is usual without an OpenAI
key. And it cannot make a span current. The program's own processors are not changed.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Mapping
from functools import partial
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from llmtrace import instrumentation, semconv
from llmtrace.content import to_json
from llmtrace.instrumentation._failures import failure_in_call
from llmtrace.instrumentation._framework import APPROVED, PENDING, REJECTED, Step, in_conversation, record_review, spanned
from llmtrace.instrumentation._openai_items import read_item
from llmtrace.instrumentation._openai_messages import arguments as read_arguments
from llmtrace.instrumentation._openai_messages import read_message
from llmtrace.instrumentation._openai_responses import read_response, read_response_usage
from llmtrace.instrumentation._patches import Patch, after, before
from llmtrace.instrumentation._stainless import members
from llmtrace.instrumentation._traced_functions import read_output
from llmtrace.model import (
    TOOL_ERROR,
    AgentInvocation,
    Custom,
    Failure,
    Inference,
    Message,
    Operation,
    Review,
    Text,
    ToolDefinition,
    ToolExecution,
    Workflow,
    replace,
)
from llmtrace.recorder import Recording, active, keys
from llmtrace.recorder.guard import guard
from llmtrace.recorder.recorded_outcome import find_answer, keep_outcome
from llmtrace.semconv import GUARDRAIL_TRIGGERED, MCP_TOOL_ERROR, PARTIAL

LIBRARY, DISTRIBUTION = "agents", "openai-agents"
SUPPORTED = ">=0.20,<1"
REDUNDANT_SCOPES = (
    "logfire.openai_agents",
    "openinference.instrumentation.openai_agents",
    "opentelemetry.instrumentation.openai_agents",
)


# -- what each kind of step is as an operation, from what the framework's own span says of it

_MASK = "Agent run"
"""Name of the span that the framework puts over the program's span if its own tracing is disabled for one run."""
MODELS = frozenset({"generation", "response"})
"""Kinds of steps that are model calls."""


def started(data: Any, run_input: Any) -> tuple[Operation, str | None] | None:
    """Return the operation of a new step, and its span's name if it is not the default; None for no span.

    ``data``: the framework's data of the step. ``run_input``: the input of the run.
    """
    kind = data.type
    if kind == "agent":
        return AgentInvocation(data.name, input=guard(read_input, run_input) or ()), None
    if kind == "function":
        return ToolExecution(data.name), None
    if kind == "handoff":
        return Custom({"from": data.from_agent}), "handoff"
    if kind == "guardrail":
        return Custom(), f"guardrail {data.name}"
    if kind == "custom" and data.name != _MASK and getattr(data, "data", {}).get("sdk_span_type") is None:
        return Custom(to_json(data.data) or None), data.name
    return (_started_inference(data), None) if kind in MODELS and not _seen_below(data) else None


def _started_inference(data: Any) -> Inference:
    model, settings = getattr(data, "model", None), getattr(data, "model_config", None) or {}
    maker = settings.get("model_impl")
    if maker == "litellm" and isinstance(model, str) and "/" in model:
        return Inference(model.partition("/")[0], request_model=model)
    is_openai = data.type == "response" or "base_url" in settings
    return Inference("openai" if is_openai else str(maker or "unknown"), request_model=model)


def read_input(run_input: Any) -> tuple[Message, ...]:
    if isinstance(run_input, str):
        return (Message("user", (Text(run_input),)),)
    return tuple(map(read_item, run_input)) if isinstance(run_input, (list, tuple)) else ()  # the state of a run that goes on


def ended(operation: Operation, data: Any, output: Any) -> Operation:
    """Return the complete operation. ``output``: the agent's final output, if it is known."""
    if isinstance(operation, (AgentInvocation, Workflow)):
        return replace(operation, output=read_output(output))
    if isinstance(operation, ToolExecution):
        return _execution(operation, data)
    if isinstance(operation, Inference):
        return _inference(operation, data)
    if data.type == "handoff":
        return Custom({"from": data.from_agent, "to": data.to_agent})
    if data.type == "guardrail":
        return Custom(result={"triggered": bool(data.triggered)}, has_result=True)
    return Custom(to_json(data.data) or None)


def definition_of(tool: Any) -> ToolDefinition | None:
    schema = getattr(tool, "params_json_schema", None)
    if schema is None:
        return None
    strict = getattr(tool, "strict_json_schema", False) is True
    return ToolDefinition(tool.name, to_json(schema), getattr(tool, "description", None) or None, strict=strict)


def _execution(operation: ToolExecution, data: Any) -> ToolExecution:
    if data.input is None:  # the program told the framework to keep tools' data out of traces
        return replace(operation, definition=None)
    operation = replace(operation, arguments=read_arguments(data.input))
    if data.output is None:
        return operation
    result = to_json(data.output)
    if isinstance(result, dict) and result.keys() == {"type", "text"}:  # what an MCP server answered
        result = result["text"]
    return replace(operation, result=result, has_result=True)


def decisions_in(run_input: Any, config: Any) -> list[Review]:
    """Return the decisions on the calls that an interrupted run waits for, if ``run_input`` is its state.

    ``config``: of the run; it may exclude the data of tools from traces.
    """
    if not hasattr(run_input, "get_interruptions"):
        return []
    has_content = (config or sys.modules["agents"].RunConfig()).trace_include_sensitive_data
    decided = []
    for item in run_input.get_interruptions():
        call = item.raw_item if isinstance(item.raw_item, Mapping) else members(item.raw_item)
        call_id = call.get("call_id") or call.get("id")
        approved = run_input._context.is_tool_approved(item.tool_name, call_id)
        if approved is not None:
            note = None if approved else run_input._context.get_rejection_message(item.tool_name, call_id)
            payload, note = (read_arguments(call.get("arguments")), note) if has_content else (None, None)
            review = Review(item.tool_name, tool=item.tool_name, call_id=call_id, payload=payload, note=note)
            decided.append(replace(review, decision=APPROVED if approved else REJECTED))
    return decided


def _seen_below(data: Any) -> bool:
    """Return True if the SDK that makes the model's request is instrumented and records the inference."""
    settings = getattr(data, "model_config", None) or {}
    if settings.get("model_impl") == "litellm":
        return instrumentation.is_on("litellm")
    return (data.type == "response" or "base_url" in settings) and instrumentation.is_on("openai")


def _inference(operation: Inference, data: Any) -> Inference:
    if data.type == "response":
        fields = {} if data.response is None else read_response(members(data.response))
        fields.pop("failure", None)
        messages = guard(read_input, data.input) or ()
        answer_fields = {name: value for name, value in fields.items() if name in Inference.__dataclass_fields__}
        return replace(operation, **{"input": messages, "request_model": fields.get("response_model"), **answer_fields})
    settings: Mapping[str, Any] = data.model_config or {}
    parameters = {name: to_json(settings.get(name)) for name in ("temperature", "top_p", "max_tokens")}
    usage = read_response_usage(data.usage) if data.usage else None
    if usage is not None:  # the framework writes 0 for each detail that it does not know
        details = ("cache_read_input_tokens", "cache_write_input_tokens", "reasoning_output_tokens")
        usage = replace(usage, **{name: getattr(usage, name) or None for name in details})
    return replace(
        operation,
        operation=semconv.CHAT,
        input=tuple(map(read_message, data.input or ())),
        output=tuple(map(read_message, data.output or ())),
        usage=usage,
        parameters={name: value for name, value in parameters.items() if value is not None},
    )


# -- open steps

_SPAN = "llmtrace-agents-span"
"""Key in the context: the framework's id of the current span."""
_AGENT, _TOOL, _TRACE = "llmtrace-agents-agent", "llmtrace-agents-tool", "llmtrace-agents-trace"
"""Keys in the context: the innermost open agent, tool and trace."""
_OTHER_TOOL = "llmtrace-agents-other-tool"
"""Key in the context: set if the tool is not a function tool, but a shell, a computer …"""
_INPUT = "llmtrace-agents-input"
"""Key in the context: the input of the run."""
_DECISIONS = "llmtrace-agents-decisions"
"""Key in the context: reviews that were decided since the run was interrupted; empty once they are recorded."""
_DEFAULT_NAME = "Agent workflow"


class _Open:
    """An open step or trace of the framework. Without a recording it has no span, and its children go below an outer span."""

    __slots__ = ("__weakref__", "before", "context", "failed", "invoked", "operation", "output", "recording", "rejected")

    def __init__(self, context: Context) -> None:
        self.context = context
        self.recording: Recording | None = None
        self.operation: Operation | None = None
        self.output: Any = None
        self.invoked = False
        self.rejected = False
        """True if a person, or a standing decision, rejected the tool's call."""
        self.failed: BaseException | None = None
        """The tool's exception, which the framework turns into an answer for the model."""
        self.before = sys.exc_info()[1]
        """The exception that was being handled when the step started; it is not a failure of the step."""


_open: weakref.WeakKeyDictionary[Any, _Open] = weakref.WeakKeyDictionary()
"""By the framework's span or trace."""
_by_id: weakref.WeakValueDictionary[str, _Open] = weakref.WeakValueDictionary()
_trace_options: weakref.WeakKeyDictionary[Any, Mapping[str, Any]] = weakref.WeakKeyDictionary()
"""The options that a trace was made with; a disabled trace does not store them."""
_attached: dict[int, tuple[Any, Any]] = {}
"""The framework's token and ours, by the id of the framework's. Some are never reset: beyond `_KEPT`, the oldest go."""
_KEPT = 10_000


def _start(span: Any, *_: Any) -> None:
    if span in _open:
        return
    data = span.span_data
    step = _Open(_context(span))
    begun = started(data, step.context.get(_INPUT))
    if data.type == "function":  # some versions run the tools of a run that goes on before its agent
        _record_decisions(step.context)
    if begun is not None:
        _record(step, *begun)
    if data.type not in MODELS:  # these are open across the steps of a generator: they are never the current ones
        _open_by(span, step, span.span_id)
        if isinstance(step.operation, AgentInvocation):
            step.context = otel_context.set_value(_AGENT, step, step.context)
            _record_decisions(step.context)
        elif isinstance(step.operation, ToolExecution):
            step.context = otel_context.set_value(_TOOL, step, step.context)
    elif step.recording is not None:
        _open[span] = step


def _record(step: _Open, operation: Operation, name: str | None) -> None:
    recorder = active()
    if recorder is not None:
        step.operation = operation
        can_be_answered = step.context.get(_OTHER_TOOL) is None
        step.recording = recorder.start(operation, name=name, context=step.context, can_be_answered=can_be_answered)
        step.context = step.recording.context


def _open_by(thing: Any, step: _Open, own_id: Any) -> None:
    _open[thing] = step
    if own_id != "no-op":
        _by_id[own_id] = step
        step.context = otel_context.set_value(_SPAN, own_id, step.context)


def _context(span: Any) -> Context:
    """Return the context to start in: the current one, unless the span's parent is another open step."""
    current_context, parent_id = otel_context.get_current(), span.parent_id or span.trace_id
    parent = _by_id.get(parent_id)
    return current_context if parent is None or current_context.get(_SPAN) == parent_id else parent.context


def _finish(thing: Any, *_: Any) -> None:
    """End the span of a step or trace."""
    step = _open.pop(thing, None)
    recording = None if step is None else step.recording
    if step is None or recording is None or step.operation is None:
        return
    data, error = getattr(thing, "span_data", None), getattr(thing, "error", None)
    operation = ended(step.operation, data, step.output)
    if getattr(data, "type", None) == "guardrail":
        recording.set({GUARDRAIL_TRIGGERED: bool(getattr(data, "triggered", False))})
    wrong = None
    if error is not None:  # what the framework noted on its span after it handled the exception
        details = error.get("data") or {}
        text = str(details.get("error") or error.get("message") or "")
        wrong = Failure(TOOL_ERROR if "tool_name" in details else "agent_error", text)
    if not isinstance(operation, ToolExecution):
        _end(step, recording, operation, wrong)
    elif step.rejected:
        recording.end(replace(operation, executed=False))
    elif not step.invoked and error is None:
        recording.end(_waiting(operation, step))
    elif step.failed is not None:
        failure = guard(failure_in_call, step.failed)
        has_arguments = operation.arguments is not None  # else the program told the framework to keep tools' data out of traces
        recording.end(operation, failure=failure if has_arguments or failure is None else Failure(failure.type))
    else:
        if wrong is None and MCP_TOOL_ERROR in recording.attributes:  # which the framework passes to the model as an answer
            wrong = Failure(TOOL_ERROR, operation.result if isinstance(operation.result, str) else "")
        _end(step, recording, operation, wrong)


def _waiting(operation: ToolExecution, step: _Open) -> ToolExecution:
    operation = replace(operation, has_result=False, result=None)
    if operation.definition is None:
        return operation
    name, call_id = operation.name, operation.call_id
    record_review(Review(name, tool=name, call_id=call_id, payload=operation.arguments, decision=PENDING), step.context)
    return replace(operation, executed=False)


def _record_decisions(context: Context) -> None:
    """Record the decisions on waiting calls, at the first agent or tool of a continued run."""
    decisions: Any = context.get(_DECISIONS)
    while decisions:
        record_review(decisions.pop(0), context)


def _end(step: _Open, recording: Recording, operation: Operation, reported: Failure | None) -> None:
    raised = sys.exc_info()[1]
    if raised is step.before:
        raised = None
    if isinstance(raised, GeneratorExit):
        recording.set({PARTIAL: True})
        recording.end(operation)
    elif raised is not None:
        recording.end(operation, failure=guard(failure_in_call, raised), exception=raised)
    else:
        recording.end(operation, failure=reported)


def _note_trace(trace: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    _trace_options[trace] = {**dict(zip(("name", "trace_id", "group_id"), args, strict=False)), **kwargs}


def _start_trace(trace: Any, *_: Any) -> None:
    if trace in _open:
        return
    options = _trace_options.get(trace, {})
    name, group = options.get("name") or trace.name, options.get("group_id") or getattr(trace, "group_id", None)
    step = _Open(in_conversation(otel_context.get_current(), group))
    if name != _DEFAULT_NAME or keys.RECORDING not in step.context:  # else the program has its own around the run
        messages = guard(read_input, step.context.get(_INPUT)) or ()
        _record(step, Workflow(str(name), input=messages), None)
    _open_by(trace, step, trace.trace_id)
    step.context = otel_context.set_value(_TRACE, step, step.context)


# -- what is current


def _attach(token: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Make our span current when a span or trace of the framework becomes current."""
    thing = args[0] if args else next(iter(kwargs.values()), None)
    wrapped = getattr(thing, "wrapped", None)
    if wrapped is not None:  # by Logfire, which makes it current before it starts
        (_start if hasattr(wrapped, "span_data") else _start_trace)(wrapped)
        thing = wrapped
    step = None if thing is None else _open.get(thing)
    if step is None:
        return
    if len(_attached) >= _KEPT:
        _attached.pop(next(iter(_attached)), None)
    _attached[id(token)] = token, otel_context.attach(step.context)


def _detach(_instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    tokens = _attached.pop(id(args[0] if args else kwargs.get("token")), None)
    if tokens is not None:
        Recording.detach(tokens[1])


# -- what the framework's spans do not say


def _run(_runner: Any, arguments: Mapping[str, Any]) -> Step:
    """Put a run's input into the context for the agents in it, whose spans end by themselves, and its conversation."""
    run_input, config = arguments.get("input"), arguments.get("run_config")
    context = otel_context.set_value(_INPUT, run_input)
    context = otel_context.set_value(_DECISIONS, guard(decisions_in, run_input, config), context)
    return Step(in_conversation(context, getattr(config, "group_id", None) or _session_id(arguments.get("session"))))


def _session_id(session: Any) -> str | None:
    """Return the id of a session that stores the messages of a conversation; one of a service may not have it yet."""
    try:
        session_id = session.session_id
    except Exception:
        return None
    return session_id if isinstance(session_id, str) and session_id else None


def _note_output(_instance: Any, arguments: Mapping[str, Any]) -> None:
    for key in (_AGENT, _TRACE):
        step: Any = otel_context.get_value(key)
        if step is not None:
            step.output = arguments.get("final_output")


class _Invocation(Step):
    """The run of a function tool; the framework's span around it ends the recording."""

    def __init__(self, span: Recording, operation: ToolExecution) -> None:
        super().__init__()
        self._keep = partial(keep_outcome, span, operation)
        self.body = find_answer(span, operation)

    def on_result(self, result: Any) -> None:
        self._keep(returned=result)

    def on_error(self, error: BaseException) -> None:
        self._keep(raised=error)


def _invoke(_instance: Any, arguments: Mapping[str, Any]) -> Step | None:
    """Begin a `Step` for the function that runs a function tool. It may call another function that is also wrapped."""
    step: Any = otel_context.get_value(_TOOL)
    if step is None or step.invoked:
        return None
    step.invoked = True
    definition = definition_of(arguments.get("function_tool")) or step.operation.definition
    step.operation = replace(step.operation, definition=definition)
    return _Invocation(step.recording, replace(step.operation, arguments=read_arguments(arguments.get("arguments"))))


def _failing(_instance: Any, arguments: Mapping[str, Any]) -> None:
    """Note a tool's exception before the framework turns it into an answer."""
    step: Any = otel_context.get_value(_TOOL)
    if step is not None:
        step.failed = arguments.get("error")


def _rejecting(*_: Any) -> None:
    """Note that a call was rejected, when the framework makes the answer for it, inside the tool's span."""
    step: Any = otel_context.get_value(_TOOL)
    if step is not None:
        step.rejected = True


def _note_call(_instance: Any, arguments: Mapping[str, Any]) -> None:
    """Read the arguments from which a tool's context is made: the call's id, and the agent with its tools."""
    step: Any = otel_context.get_value(_TOOL)
    if step is None or step.operation.call_id is not None:
        return
    tools = getattr(arguments.get("agent"), "tools", None) or ()
    tool = next((candidate for candidate in tools if getattr(candidate, "name", None) == step.operation.name), None)
    step.operation = replace(step.operation, call_id=arguments.get("tool_call_id"), definition=definition_of(tool))


_SPANS, _TRACES, _SCOPE = "agents.tracing.spans", "agents.tracing.traces", "agents.tracing.scope"
_KINDS_OF_SPANS, _KINDS_OF_TRACES = ("SpanImpl", "NoOpSpan"), ("TraceImpl", "NoOpTrace", "ReattachedTrace")
_TOOLS = ("agents.tool", "agents.run_internal.tool_execution")
"""The second module has imported the functions of the first, so both names are patched."""

PATCHES = (
    *(Patch(_SPANS, f"{kind}.start", before(_start)) for kind in _KINDS_OF_SPANS),
    *(Patch(_TRACES, f"{kind}.start", before(_start_trace)) for kind in _KINDS_OF_TRACES),
    *(Patch(_SPANS, f"{kind}.finish", before(_finish, always=True)) for kind in _KINDS_OF_SPANS),
    *(Patch(_TRACES, f"{kind}.finish", before(_finish, always=True)) for kind in _KINDS_OF_TRACES),
    Patch("agents.tracing.provider", "DefaultTraceProvider.create_trace", after(_note_trace)),
    *(Patch(_SCOPE, f"Scope.set_current_{kind}", after(_attach)) for kind in ("span", "trace")),
    *(Patch(_SCOPE, f"Scope.reset_current_{kind}", before(_detach, always=True)) for kind in ("span", "trace")),
    Patch("agents.run", "AgentRunner.run", spanned(_run)),
    Patch("agents.run", "AgentRunner.run_streamed", spanned(_run)),  # it starts a task, in which the run goes on
    Patch("agents.run_internal.turn_resolution", "run_final_output_hooks", spanned(_note_output)),
    Patch("agents.run_internal.run_loop", "run_final_output_hooks", spanned(_note_output)),
    *(Patch(module, "_invoke_function_tool_with_metadata", spanned(_invoke)) for module in _TOOLS),
    *(Patch(module, "invoke_function_tool", spanned(_invoke)) for module in _TOOLS),
    Patch(
        "agents.run_internal.tool_actions",
        "with_tool_function_span",
        spanned(lambda *_: Step(otel_context.set_value(_OTHER_TOOL, True))),
    ),
    *(Patch(module, "maybe_invoke_function_tool_failure_error_function", spanned(_failing)) for module in _TOOLS),
    Patch("agents.run_internal.tool_execution", "resolve_approval_rejection_message", spanned(_rejecting)),
    Patch("agents.tool_context", "ToolContext.from_agent_context", spanned(_note_call)),
)
