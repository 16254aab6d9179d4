"""The server's side of MCP: each request with content is a span of kind server.

Its parent is the trace context in the request's ``_meta``. The span that is current where the request is handled (of an HTTP
server, for example) is linked. The request is a run of its own, as it would be in a process of its own. A request that is
answered by asking for more input is a plain step: the execution is the one that comes again and gets an answer. Questions to a
person are reviews inside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmtrace import semconv
from llmtrace.instrumentation import _mcp_tools as tools
from llmtrace.instrumentation._framework import ReviewStep, Step, spanned
from llmtrace.instrumentation._patches import Patch
from llmtrace.model import Failure, JsonValue, ToolDefinition, ToolExecution, replace
from llmtrace.recorder import Recorder, active
from llmtrace.recorder.guard import guard

_SESSIONLESS = "2026-07-28"
"""First revision of the protocol without sessions. Revisions are dates, so they can be compared as texts."""
_INVALID_PARAMS = -32602


class _Serving(tools.RequestStep):
    def __init__(
        self, recorder: Recorder, server: Any, method: str, params: Mapping[str, Any], attributes: dict[str, JsonValue]
    ) -> None:
        context, links = tools.context_in(params.get("_meta"))
        super().__init__(recorder, server, method, params, attributes, kind="server", context=context, links=links)
        guard(tools.record_decisions, params.get("inputResponses"), self.context)

    def on_result(self, result: Any) -> None:
        if result is None:  # the handler of 1.x does not return its answer: see `_respond`. None is sent if the client cancels
            self.span.end(self.operation, failure=Failure("cancelled", "the client cancelled the request"))
            return
        answer = tools.wire(result)
        code, operation = answer.get("code"), self.operation
        if isinstance(code, int) and "message" in answer:
            self._refused(code, Failure(str(code), str(answer["message"])))
        elif isinstance(operation, ToolExecution):
            definition = guard(_definition, self.owner, operation.name)
            completed, failure = tools.answered(operation, answer, definition, self.context)
            self.span.end(completed, failure=failure)
        else:
            super().on_result(result)

    def on_error(self, error: BaseException) -> None:
        code = tools.code_of(error)
        if code is None and type(error).__name__ == "ValidationError":
            code = _INVALID_PARAMS
        self._refused(code, tools.failure_in_request(error), error)

    def _refused(self, code: int | None, failure: Failure, error: BaseException | None = None) -> None:
        """End the span of a request that was answered by an error; it is a failure unless the client caused it."""
        operation = self.operation
        if isinstance(operation, ToolExecution):
            operation = replace(operation, definition=guard(_definition, self.owner, operation.name))
        if code is not None:
            self.span.set({semconv.RPC_STATUS_CODE: str(code)})
        if code in tools.CLIENT_FAULTS:
            self.span.end(operation)
        else:
            self.span.end(operation, failure=failure, exception=error)


def _definition(server: Any, name: str) -> ToolDefinition | None:
    """Return the tool's definition as listed or as the server keeps it. No handler of the program is called."""
    definition = tools.listed(server, name)
    if definition is not None:
        return definition
    cached = getattr(server, "_tool_cache", {}).get(name)  # 1.x
    if cached is not None:
        tools.remember(server, [cached], complete=False)
        return tools.listed(server, name)
    entry = server.get_request_handler(tools.CALL) if hasattr(server, "get_request_handler") else None
    manager = getattr(getattr(getattr(entry, "handler", None), "__self__", None), "_tool_manager", None)
    tool = manager.get_tool(name) if manager is not None else None  # MCPServer of 2.x
    if tool is None:
        return None
    return ToolDefinition(tool.name, tool.parameters, tool.description, output=tool.output_schema)


# -- 2.x


def _on_request(runner: Any, arguments: Mapping[str, Any]) -> Step | None:
    recorder, dispatch, method = active(), arguments["dctx"], arguments["method"]
    if recorder is None or method not in tools.SPANS:
        return None
    connection = runner.connection
    attributes = _attributes(connection.protocol_version, connection.session_id, dispatch.request_id)
    if getattr(getattr(dispatch, "message_metadata", None), "request_context", None) is not None:
        attributes[semconv.NETWORK_TRANSPORT] = "tcp"
    return _Serving(recorder, runner.server, method, arguments["params"] or {}, attributes)


def _attributes(version: Any, session_id: Any, request_id: Any) -> dict[str, JsonValue]:
    attributes: dict[str, JsonValue] = {}
    if isinstance(version, str):
        attributes[semconv.MCP_PROTOCOL_VERSION] = version
    if isinstance(session_id, str) and not (isinstance(version, str) and version >= _SESSIONLESS):
        attributes[semconv.MCP_SESSION_ID] = session_id
    if request_id is not None:
        attributes[semconv.JSONRPC_REQUEST_ID] = str(request_id)
    return attributes


# -- 1.x


def _handle_request(server: Any, arguments: Mapping[str, Any]) -> Step | None:
    responder, request, session, *_ = arguments.values()
    recorder = active()
    if recorder is None or request.method not in tools.SPANS:
        return None
    client = getattr(session, "client_params", None)
    http: Any = getattr(getattr(responder, "message_metadata", None), "request_context", None)
    session_id = http.headers.get("mcp-session-id") if hasattr(http, "headers") else None
    attributes = _attributes(getattr(client, "protocolVersion", None), session_id, responder.request_id)
    if http is not None:
        attributes[semconv.NETWORK_TRANSPORT] = "tcp"
    step = _Serving(recorder, server, request.method, tools.wire(getattr(request, "params", None)) or {}, attributes)
    tools.answering[id(responder)] = step
    return step


def _respond(responder: Any, arguments: Mapping[str, Any]) -> Step | None:
    """End the step of a request once ``RequestResponder.respond`` has sent its answer."""
    step = tools.answering.get(id(responder))
    return None if step is None else Step(then=lambda _: step.on_result(arguments["response"]))


# -- what the server asks of the client


def _elicit(_session: Any, arguments: Mapping[str, Any]) -> Step:
    """Begin a `Step` for ``ServerSession.elicit_form`` and ``elicit_url``."""
    form = arguments.get("requested_schema") or arguments.get("requestedSchema")
    shown = {"url": arguments["url"]} if "url" in arguments else {"requestedSchema": form}
    review = tools.review_of({"message": arguments["message"], **shown}, arguments.get("elicitation_id"))
    return ReviewStep(review, tools.decide)


PATCHES = (
    *(Patch("mcp.server.session", f"ServerSession.elicit_{kind}", spanned(_elicit)) for kind in ("form", "url")),
    Patch("mcp.server.runner", "ServerRunner._on_request", spanned(_on_request)),
    Patch("mcp.server.lowlevel.server", "Server._handle_request", spanned(_handle_request)),
    Patch("mcp.shared.session", "RequestResponder.respond", spanned(_respond)),
)
