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
from llmtrace.instrumentation._framework import ReviewStep, Step, ToolStep, spanned
from llmtrace.instrumentation._patches import Patch, after, changing
from llmtrace.model import Custom, JsonValue, ToolExecution, replace
from llmtrace.recorder import Recording, active, current
from llmtrace.recorder.guard import guard
from llmtrace.recorder.recorded_outcome import keep_outcome

LIBRARY, DISTRIBUTION = "mcp", "mcp"
SUPPORTED = ">=1.23,<3"


class _Execution(Step):
    def __init__(self, session: Any, name: str, recording: Recording) -> None:
        Step.__init__(self, recording.context)
        self.session = session
        self.name = name
        self.recording = recording
        _open_calls.setdefault(session, weakref.WeakSet()).add(self)

    def repeats(self) -> None:
        """Treat calls of this tool inside this one as its rounds."""
        self.context = otel_context.set_value(_CALL_IN_ROUNDS, self, self.context)

    def asked(self) -> None:
        self.recording.set({semconv.MCP_ROUNDS: self.recording.attributes.get(semconv.MCP_ROUNDS, 0) + 1})


_open_calls: weakref.WeakKeyDictionary[Any, weakref.WeakSet[_Execution]] = weakref.WeakKeyDictionary()
"""By session; may still contain calls that have ended."""
_CALL_IN_ROUNDS = otel_context.create_key("llmtrace-mcp-call")


class _ToolCall(_Execution, ToolStep):
    """A call of a tool with a span of its own."""

    def __init__(self, session: Any, recording: Recording, execution: ToolExecution) -> None:
        super().__init__(session, execution.name, recording)
        self.operation = execution
        self.answer()

    def returned(self, result: Any) -> None:
        answer = tools.wire(result)
        if tools.asks_for_input(answer):
            guard(tools.record_questions, answer, self.context)
            self.recording.end(Custom(self.operation.arguments, tools.said_by(tools.CALL, answer), has_result=True))
            return
        definition = tools.listed(self.session, self.name)
        execution, failure = guard(tools.answered, self.operation, answer, definition) or (self.operation, None)
        self.end(execution, result, failure)

    def raised(self, error: BaseException) -> None:
        execution = replace(self.operation, definition=tools.listed(self.session, self.name))
        guard(keep_outcome, self.recording, execution, raised=error)
        _fail(self.recording, execution, error)


class _Covered(_Execution):
    """A call of a tool inside the span of the tool's execution, which is ended by its owner."""

    def returned(self, result: Any) -> None:
        answer = tools.wire(result)
        if tools.asks_for_input(answer):
            self.asked()
        if answer.get("isError") is True:
            self.recording.set({semconv.MCP_TOOL_ERROR: True})


class _Round(Step):
    """One of several calls that the library makes until the server answers. The span of the whole call records errors."""

    def __init__(self, call: _Execution) -> None:
        super().__init__()
        self._call = call

    def returned(self, result: Any) -> None:
        if tools.asks_for_input(tools.wire(result)):
            self._call.asked()


class _Request(Step):
    def __init__(self, session: Any, method: str, params: dict[str, JsonValue], recording: Recording) -> None:
        super().__init__(recording.context)
        self._session = session
        self._method = method
        self._params = params
        self._recording = recording

    def returned(self, result: Any) -> None:
        answer = tools.wire(result)
        if self._method == tools.LIST:
            more = bool(answer.get("nextCursor") or self._params.get("cursor"))
            tools.remember(self._session, result.tools, complete=not more)
        self._recording.end(Custom(self._params or None, tools.said_by(self._method, answer), has_result=True))

    def raised(self, error: BaseException) -> None:
        _fail(self._recording, Custom(self._params or None), error)


class _Greeting(Step):
    """``initialize``, which gets no span. It has the protocol version, which mcp 1.x does not keep."""

    def __init__(self, session: Any) -> None:
        super().__init__()
        self._session = session

    def returned(self, result: Any) -> None:
        _versions[self._session] = tools.wire(result).get("protocolVersion")


_versions: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def _fail(recording: Recording, operation: Any, error: BaseException) -> None:
    code = tools.code_of(error)
    if code is not None:
        recording.set({semconv.RPC_STATUS_CODE: str(code)})
    recording.end(operation, failure=guard(tools.failure_in_request, error), exception=error)


def _call_tool(session: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Step | None:
    name: str = args[0] if args else kwargs["name"]
    call: Any = otel_context.get_value(_CALL_IN_ROUNDS)
    if call is not None and call.session is session and call.name == name and call.recording.is_open:
        return _Round(call)
    is_again = any(kwargs.get(key) is not None for key in ("input_responses", "request_state"))
    return _execution(session, name, args, kwargs, is_again=is_again)


def _call_until_answered(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Step | None:
    """Begin a `Step` for ``Client.call_tool`` of mcp 2.x."""
    name: str = args[0] if args else kwargs["name"]
    step = _execution(client.session, name, args, kwargs, is_again=False)
    if step is not None:
        step.repeats()
    return step


def _execution(session: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], *, is_again: bool) -> _Execution | None:
    recorder = active()
    if recorder is None:
        return None
    raw_arguments = args[1] if len(args) > 1 else kwargs.get("arguments")
    arguments = {} if raw_arguments is None else to_json(raw_arguments)
    attributes = _attributes(session, tools.CALL)
    outer = _execution_around(name, arguments, is_again=is_again)
    call: _Execution
    if outer is not None:
        outer.set(attributes)
        call = _Covered(session, name, outer)
    else:
        execution = ToolExecution(name, arguments)
        title = f"{tools.CALL} {name}"
        recording = recorder.start(execution, name=title, kind="client", attributes=attributes, can_be_answered=True)
        call = _ToolCall(session, recording, execution)
    guard(tools.record_decisions, kwargs.get("input_responses"), call.context)
    return call


def _execution_around(name: str, arguments: JsonValue, *, is_again: bool) -> Recording | None:
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
    same = operation.name == name or operation.name.endswith(("_" + name, "." + name, "/" + name, ":" + name, "-" + name))
    return recording if same or (arguments and operation.arguments == arguments) else None


def _attributes(session: Any, method: str) -> dict[str, JsonValue]:
    version = getattr(session, "protocol_version", None) or _versions.get(session)
    return {semconv.MCP_METHOD: method, **({semconv.MCP_PROTOCOL_VERSION: version} if isinstance(version, str) else {})}


def _send_request(session: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Step | None:
    recorder = active()
    if recorder is None:
        return None
    request = args[0] if args else kwargs["request"]
    request = getattr(request, "root", request)  # 1.x wraps the request in a union
    method = getattr(request, "method", None)
    if method == "initialize":
        return _Greeting(session)
    if method not in tools.SPANS or method == tools.CALL:
        return None
    params = tools.wire(getattr(request, "params", None)) or {}
    attributes = _attributes(session, method)
    name = tools.describe(method, params, attributes)
    content = {key: to_json(value) for key, value in params.items() if key != "_meta"}
    return _Request(session, method, content, recorder.start(Custom(content), name=name, kind="client", attributes=attributes))


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
    """Wrapper for mcp 2.x's own span of a request: suppressed if ours is open."""
    recording = current() if active() is not None else None
    attributes: Mapping[str, Any] = kwargs.get("attributes") or {}
    if (
        recording is None
        or recording.attributes.get(semconv.MCP_METHOD) != attributes.get(semconv.MCP_METHOD)
        or recording.kind == "server"
    ):
        return wrapped(*args, **kwargs)
    if semconv.JSONRPC_REQUEST_ID in attributes:
        recording.set({semconv.JSONRPC_REQUEST_ID: str(attributes[semconv.JSONRPC_REQUEST_ID])})
    return nullcontext(trace.INVALID_SPAN)


# -- what the server asks of the client


class _Elicitation(ReviewStep):
    """A question of the server in mcp 1.x, where the handler does not return the answer."""

    answer: Any = None

    def returned(self, result: Any) -> None:  # noqa: ARG002
        super().returned(self.answer)


def _context_of_request(session: Any, meta: Any, *, is_review: bool) -> Context:
    """Return the context of a server's request. A review belongs to the session's call, if only one is open; otherwise the
    request's ``_meta`` decides."""
    calls = [call for call in _open_calls.get(session, ()) if call.recording.is_open] if is_review else []
    return calls[0].context if len(calls) == 1 else tools.context_in(meta)[0]


def _server_request(session: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Step | None:
    """Begin a `Step` for a request of the server in mcp 2.x, which a callback of the program answers: (dispatch context,
    method, params)."""
    _, method, params = (*args, *(kwargs[name] for name in ("dctx", "method", "params")[len(args) :]))
    meta, is_review = (params or {}).get("_meta"), method == tools.ELICIT
    return Step(_context_of_request(session, meta, is_review=is_review)) if meta or is_review else None


def _ask(session: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Step | None:  # noqa: ARG001
    """Begin a `Step` for a question of the server in mcp 2.x, by a request or in an ``InputRequiredResult``: (context,
    request)."""
    context, request = (*args, *(kwargs[name] for name in ("ctx", "request")[len(args) :]))
    if getattr(request, "method", None) != tools.ELICIT:
        return None
    return ReviewStep(tools.review_of(tools.wire(request.params), context.request_id), tools.decide)


def _asked_old(session: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Step | None:  # noqa: ARG001
    """Begin a `Step` for a request of the server in mcp 1.x: (responder)."""
    if not args:
        return None
    request, meta = getattr(args[0].request, "root", args[0].request), tools.wire(getattr(args[0], "request_meta", None))
    if getattr(request, "method", None) != tools.ELICIT:
        return Step(tools.context_in(meta)[0]) if meta else None
    context = _context_of_request(session, meta, is_review=True)
    step = tools.answering[args[0]] = _Elicitation(
        tools.review_of(tools.wire(request.params), args[0].request_id), tools.decide, context
    )
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
    Patch("mcp.shared.jsonrpc_dispatcher", "otel_span", _own_span),  # 2.x
    *_mcp_server.PATCHES,
)
