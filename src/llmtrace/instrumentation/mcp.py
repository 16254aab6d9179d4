"""The Model Context Protocol: client and server, mcp 1.x and 2.x, over any transport.

Both sides of a call are joined by the trace context in the request's ``_meta``. The server's schemas validate arguments and
result in line. Our spans replace those that mcp 2.x opens itself. `_mcp_server` has the server's side. This file has the
client's side: ``ClientSession.call_tool``, and other requests with content.

A tool call is an execution of the tool, of kind client. Inside an execution of the same tool (by a framework that passes the
call on) it adds to that span. A server may ask for more input before it answers (``InputRequiredResult``). ``Client.call_tool``
then calls again, and all of this is one execution, which waited, with a review for each question to a person. If the program
calls again itself, each earlier call is a plain step, and the last one is the execution.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import wrapt
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context

from llmtrace import semconv
from llmtrace.content import to_json
from llmtrace.instrumentation import _mcp_server
from llmtrace.instrumentation import _mcp_tools as tools
from llmtrace.instrumentation._framework import ReviewStep, Step, spanned
from llmtrace.instrumentation._patches import Patch, after, changing
from llmtrace.model import JsonValue, ToolExecution, replace
from llmtrace.recorder import Recording, active, current
from llmtrace.recorder.functions import FixedContext
from llmtrace.recorder.guard import guard
from llmtrace.recorder.recorded_outcome import find_answer, keep_outcome

LIBRARY, DISTRIBUTION = "mcp", "mcp"
SUPPORTED = ">=1.23,<3"


class _ToolCall(Step):
    """A call of a tool: a span, or a part of the execution around it, which somebody else ends (then ``execution`` is None)."""

    def __init__(self, session: Any, name: str, span: Recording, execution: ToolExecution | None) -> None:
        super().__init__(span.context)
        self.session = session
        self.name = name
        self.span = span
        self.execution = execution
        if execution is not None:
            self.body = find_answer(span, execution)
        _open_calls.setdefault(session, weakref.WeakSet()).add(self)

    def repeats(self) -> None:
        """Treat calls of this tool inside this one as its rounds."""
        self.recording = FixedContext(otel_context.set_value(_CALL_IN_ROUNDS, self, self.context))

    def count_round(self, result: Any) -> None:
        """Count an answer of the server, if it asks for more input."""
        if tools.asks_for_input(tools.wire(result)):
            self.span.set({semconv.MCP_ROUNDS: self.span.attributes.get(semconv.MCP_ROUNDS, 0) + 1})

    def on_result(self, result: Any) -> None:
        answer = tools.wire(result)
        if self.execution is not None:
            definition = tools.listed(self.session, self.name)
            answered = guard(tools.answered, self.execution, answer, definition, self.context)
            operation, failure = answered or (self.execution, None)
            if isinstance(operation, ToolExecution):
                guard(keep_outcome, self.span, operation, returned=result)
            self.span.end(operation, failure=failure)
            return
        self.count_round(answer)
        if answer.get("isError") is True:
            self.span.set({semconv.MCP_TOOL_ERROR: True})

    def on_error(self, error: BaseException) -> None:
        if self.execution is not None:
            execution = replace(self.execution, definition=tools.listed(self.session, self.name))
            guard(keep_outcome, self.span, execution, raised=error)
            tools.end_failed(self.span, execution, error)


_open_calls: weakref.WeakKeyDictionary[Any, weakref.WeakSet[_ToolCall]] = weakref.WeakKeyDictionary()
"""By session; may still contain calls that have ended."""
_CALL_IN_ROUNDS = otel_context.create_key("llmtrace-mcp-call")


_versions: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
"""By session: the protocol version, which mcp 1.x does not keep."""


def _call_tool(session: Any, arguments: Mapping[str, Any]) -> Step | None:
    call: Any = otel_context.get_value(_CALL_IN_ROUNDS)
    is_round = call is not None and call.session is session and call.name == arguments["name"] and call.span.is_open
    # the span of the whole call records errors of its rounds
    return Step(then=call.count_round) if is_round else _execution(session, arguments)


def _call_until_answered(client: Any, arguments: Mapping[str, Any]) -> Step | None:
    """Begin a `Step` for ``Client.call_tool`` of mcp 2.x."""
    step = _execution(client.session, arguments)
    if step is not None:
        step.repeats()
    return step


def _execution(session: Any, arguments: Mapping[str, Any]) -> _ToolCall | None:
    recorder = active()
    if recorder is None:
        return None
    name, responses = arguments["name"], arguments.get("input_responses")
    execution = ToolExecution(name, {} if arguments.get("arguments") is None else to_json(arguments["arguments"]))
    attributes = {semconv.MCP_METHOD: tools.CALL, **_attributes(session)}
    is_again = responses is not None or arguments.get("request_state") is not None
    outer = _execution_around(execution, is_again=is_again)
    if outer is not None:
        outer.set(attributes)
        call = _ToolCall(session, name, outer, None)
    else:
        title = f"{tools.CALL} {name}"
        span = recorder.start(execution, name=title, kind="client", attributes=attributes, can_be_answered=True)
        call = _ToolCall(session, name, span, execution)
    guard(tools.record_decisions, responses, call.context)
    return call


def _execution_around(execution: ToolExecution, *, is_again: bool) -> Recording | None:
    """Return the open execution of the same tool around this call, unless it has made a call already (not ``is_again``).

    Frameworks put the server's name before the tool's (``files_read``). A wrapper may use another name, but passes on its own
    arguments.
    """
    recording = current()
    if recording is None or recording.kind == "server" or (semconv.MCP_METHOD in recording.attributes and not is_again):
        return None
    operation = recording.operation
    if not isinstance(operation, ToolExecution):
        return None
    name = execution.name
    same = operation.name == name or operation.name.endswith(("_" + name, "." + name, "/" + name, ":" + name, "-" + name))
    return recording if same or (execution.arguments and operation.arguments == execution.arguments) else None


def _attributes(session: Any) -> dict[str, JsonValue]:
    version = getattr(session, "protocol_version", None) or _versions.get(session)
    return {semconv.MCP_PROTOCOL_VERSION: version} if isinstance(version, str) else {}


def _send_request(session: Any, arguments: Mapping[str, Any]) -> Step | None:
    recorder = active()
    if recorder is None:
        return None
    request = getattr(arguments["request"], "root", arguments["request"])  # 1.x wraps the request in a union
    method = getattr(request, "method", None)
    if method == "initialize":
        return Step(then=lambda result: _versions.update({session: tools.wire(result).get("protocolVersion")}))
    if method not in tools.SPANS or method == tools.CALL:
        return None
    params = tools.wire(getattr(request, "params", None)) or {}
    return tools.RequestStep(recorder, session, method, params, _attributes(session), kind="client")


# -- the trace context in params._meta


class _Carrying(wrapt.ObjectProxy):  # type: ignore[type-arg]  # not generic at run time before wrapt 2
    """Proxy of a request of mcp 1.x with the trace context in its ``_meta``, unless the program set one."""

    def model_dump(self, *args: Any, **kwargs: Any) -> Any:
        data = self.__wrapped__.model_dump(*args, **kwargs)
        params = guard(_with_context, data.get("params"))
        return data if params is None else {**data, "params": params}


def _with_context(params: Any) -> dict[str, Any] | None:
    """Return the parameters of a request with the trace context of the open one; None if there is none."""
    recording = current()
    headers = recording.headers() if recording is not None else None
    return {**(params or {}), "_meta": {**headers, **((params or {}).get("_meta") or {})}} if headers else None


def _carrying_old(_instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Add the trace context to the request of ``BaseSession.send_request`` of mcp 1.x."""
    if active() is None:
        return None
    if args:
        return (_Carrying(args[0]), *args[1:]), kwargs
    return ((), {**kwargs, "request": _Carrying(kwargs["request"])}) if "request" in kwargs else None


def _carrying_direct(_instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Add the trace context to the request of ``DirectDispatcher.send_raw_request``, to which mcp 2.x itself adds none."""
    params = _with_context(args[1]) if active() is not None and len(args) > 1 else None
    return None if params is None else ((args[0], params, *args[2:]), kwargs)


def _own_span(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """Wrapper for the function that opens mcp 2.x's own span of a request, on either side: suppressed if ours is open."""
    span = current() if active() is not None else None
    attributes: Mapping[str, Any] = kwargs.get("attributes") or {}
    is_server = kwargs.get("kind") is trace.SpanKind.SERVER
    if (
        span is None
        or (span.kind == "server") is not is_server
        or span.attributes.get(semconv.MCP_METHOD) != attributes.get(semconv.MCP_METHOD)
    ):
        return wrapped(*args, **kwargs)
    if semconv.JSONRPC_REQUEST_ID in attributes:
        span.set({semconv.JSONRPC_REQUEST_ID: str(attributes[semconv.JSONRPC_REQUEST_ID])})
    return nullcontext(trace.INVALID_SPAN)


# -- what the server asks of the client


def _context_of_request(session: Any, meta: Any, *, is_review: bool) -> Context:
    """Return the context of a server's request. A review belongs to the session's call, if only one is open; otherwise the
    request's ``_meta`` decides."""
    calls = [call for call in _open_calls.get(session, ()) if call.span.is_open] if is_review else []
    return calls[0].context if len(calls) == 1 else tools.context_in(meta)[0]


def _server_request(session: Any, arguments: Mapping[str, Any]) -> Step | None:
    """Begin a `Step` for a request of the server in mcp 2.x, which a callback of the program answers."""
    meta, is_review = (arguments["params"] or {}).get("_meta"), arguments["method"] == tools.ELICIT
    return Step(_context_of_request(session, meta, is_review=is_review)) if meta or is_review else None


def _ask(_session: Any, arguments: Mapping[str, Any]) -> Step | None:
    """Begin a `Step` for a question of the server in mcp 2.x, by a request or in an ``InputRequiredResult``."""
    request = arguments["request"]
    if getattr(request, "method", None) != tools.ELICIT:
        return None
    return ReviewStep(tools.review_of(tools.wire(request.params), arguments["ctx"].request_id), tools.decide)


def _asked_old(session: Any, arguments: Mapping[str, Any]) -> Step | None:
    """Begin a `Step` for a request of the server in mcp 1.x."""
    responder = arguments["responder"]
    request, meta = getattr(responder.request, "root", responder.request), tools.wire(getattr(responder, "request_meta", None))
    if getattr(request, "method", None) != tools.ELICIT:
        return Step(tools.context_in(meta)[0]) if meta else None
    context = _context_of_request(session, meta, is_review=True)
    review = tools.review_of(tools.wire(request.params), responder.request_id)
    step = tools.answering[id(responder)] = ReviewStep(review, tools.decide, context)
    return step


_SESSION = "mcp.client.session"

PATCHES = (
    Patch("mcp.shared.session", "BaseSession.send_request", changing(_carrying_old)),  # 1.x; before the class that inherits it
    Patch("mcp.client.client", "Client.call_tool", spanned(_call_until_answered)),  # 2.x
    Patch(_SESSION, "ClientSession.call_tool", spanned(_call_tool)),
    Patch(_SESSION, "ClientSession.send_request", spanned(_send_request)),
    Patch(_SESSION, "ClientSession._on_request", spanned(_server_request)),  # 2.x
    Patch(_SESSION, "ClientSession.dispatch_input_request", spanned(_ask)),  # 2.x
    Patch(_SESSION, "ClientSession._received_request", spanned(_asked_old)),  # 1.x
    Patch(
        _SESSION,
        "ClientSession._absorb_tool_listing",
        after(
            lambda result, session, _, kwargs: tools.remember(session, result.tools, complete=kwargs.get("complete") is True)
        ),
    ),  # 2.x: every listing goes through it, cached ones too
    Patch("mcp.shared.direct_dispatcher", "DirectDispatcher.send_raw_request", changing(_carrying_direct)),  # 2.x
    *(Patch(module, "otel_span", _own_span) for module in ("mcp.shared.jsonrpc_dispatcher", "mcp.server._otel")),  # 2.x
    *_mcp_server.PATCHES,
)
