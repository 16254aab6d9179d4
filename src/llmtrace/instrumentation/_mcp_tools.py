"""Shared by the client and the server of MCP: listed tools, answers, and reviews.

mcp 1.x and 2.x spell fields differently (``inputSchema``, ``input_schema``); here all are read as on the wire.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from llmtrace import semconv
from llmtrace.content import to_json
from llmtrace.instrumentation._failures import failure_in_call
from llmtrace.instrumentation._framework import ANSWERED, PENDING, REJECTED, UNATTENDED, Step, record_review
from llmtrace.model import (
    TOOL_ERROR,
    Custom,
    Failure,
    JsonValue,
    Link,
    Review,
    ToolDefinition,
    ToolExecution,
    changes_by_hints,
    replace,
    trusted_by_hints,
)
from llmtrace.recorder import Recorder, Recording, keys
from llmtrace.recorder.guard import guard

_W3C = TraceContextTextMapPropagator()

CALL = "tools/call"
LIST = "tools/list"
SPANS = frozenset({CALL, LIST, "prompts/get", "prompts/list", "resources/read", "resources/list", "completion/complete"})
"""Methods that get a span; the others are internal to the protocol (initialize, ping, subscriptions …)."""
CLIENT_FAULTS = frozenset({-32700, -32600, -32601, -32602, -32002})
"""JSON-RPC codes of errors that the client caused."""

_listed: weakref.WeakKeyDictionary[Any, dict[str, ToolDefinition]] = weakref.WeakKeyDictionary()
"""The tools last listed, by client session or server."""


answering: weakref.WeakValueDictionary[int, Step] = weakref.WeakValueDictionary()
"""For mcp 1.x, by the id of the ``RequestResponder``: the `Step` of the request, which holds the responder."""


def remember(owner: Any, tools: Iterable[Any], *, complete: bool) -> None:
    """Remember the tools that ``owner`` listed. ``complete``: these are all tools, not one page of them."""
    definitions = {definition.name: definition for definition in map(_definition, tools)}
    _listed[owner] = definitions if complete else {**_listed.get(owner, {}), **definitions}


def listed(owner: Any, name: str) -> ToolDefinition | None:
    return _listed.get(owner, {}).get(name)


def wire(thing: Any) -> Any:
    """Return a model as the mapping that is sent over the wire; anything else unchanged."""
    dump = getattr(thing, "model_dump", None)
    return thing if dump is None else dump(by_alias=True, mode="json", exclude_none=True)


def _definition(tool: Any) -> ToolDefinition:
    fields = wire(tool)
    return ToolDefinition(
        fields["name"],
        fields.get("inputSchema"),
        fields.get("description"),
        output=fields.get("outputSchema"),
        changes=changes_by_hints(fields.get("annotations")),
        trusted=trusted_by_hints(fields.get("annotations")),
    )


def answered(
    execution: ToolExecution, answer: Any, definition: ToolDefinition | None, context: Context
) -> tuple[Custom | ToolExecution, Failure | None]:
    """Return the execution with the tool's answer (a CallToolResult as on the wire), and its failure.

    The result is the structured content if there is some, because the output schema describes it; otherwise the text, or the
    list of contents. An answer that asks for more input is not an execution: its questions are recorded in ``context``.
    """
    if asks_for_input(answer):
        guard(record_questions, answer, context)
        return Custom(execution.arguments, said_by(CALL, answer), has_result=True), None
    is_error = answer.get("isError") is True
    if is_error and definition is not None and definition.output is not None:
        definition = replace(definition, output=None)  # the schema is of a success
    structured = answer.get("structuredContent")
    contents = [_content(content) for content in answer.get("content") or ()]
    result = contents if structured is None or is_error else to_json(structured)
    if result is contents and all(isinstance(content, str) for content in contents):
        result = "\n".join(contents)
    failure = Failure(TOOL_ERROR, result if isinstance(result, str) else "") if is_error else None
    return replace(execution, result=result, has_result=True, definition=definition), failure


def asks_for_input(answer: Mapping[str, Any]) -> bool:
    """Return True if a server answers a request by asking for more input (an ``InputRequiredResult`` of July 2026)."""
    return answer.get("resultType") == "input_required"


def said_by(method: str, answer: Mapping[str, Any]) -> JsonValue:
    """Return the answer to a request other than a tool call; for a list of tools only their names."""
    if method == LIST:
        return {"tools": [tool.get("name") for tool in answer.get("tools") or ()]}
    return to_json({key: value for key, value in answer.items() if key != "_meta"})


def _content(part: Any) -> JsonValue:
    """Return text unchanged; bytes as their kind and size."""
    if not isinstance(part, Mapping):
        return to_json(part)
    if part.get("type") == "text":
        return part.get("text", "")
    data = part.get("data")
    if isinstance(data, str):
        return {**{name: to_json(value) for name, value in part.items() if name != "data"}, "size": len(data) * 3 // 4}
    return to_json(dict(part))


def context_in(meta: Any) -> tuple[Context, tuple[Link, ...]]:
    """Return the context in a request's ``_meta``, and a link to the current span if that is another.

    The context contains no run of this process, because the request may come from outside.
    """
    current_context = otel_context.get_current()
    carrier = {key: value for key, value in meta.items() if isinstance(value, str)} if isinstance(meta, Mapping) else {}
    values = dict(_W3C.extract(carrier, current_context))
    values.pop(keys.RECORDING, None)
    context = Context(values)
    ambient = trace.get_current_span(current_context).get_span_context()
    parent = trace.get_current_span(context).get_span_context()
    if not ambient.is_valid or ambient.span_id == parent.span_id:
        return context, ()
    return context, (Link(f"{ambient.trace_id:032x}", f"{ambient.span_id:016x}"),)


class RequestStep(Step):
    """A request with content, and its span. ``owner``: the session or server whose tools the request may list."""

    def __init__(
        self,
        recorder: Recorder,
        owner: Any,
        method: str,
        params: Mapping[str, Any],
        attributes: dict[str, JsonValue],
        **how: Any,
    ) -> None:
        """``params``: as on the wire. ``how``: more arguments of `Recorder.start`."""
        content = {key: to_json(value) for key, value in params.items() if key != "_meta"}
        attributes, name, target = {semconv.MCP_METHOD: method, **attributes}, method, params.get("name")
        self.owner = owner
        self.method = method
        self.params = params
        self.operation: Custom | ToolExecution = Custom(content or None)
        if method == CALL and isinstance(target, str):
            self.operation = ToolExecution(target, to_json(params.get("arguments") or {}))
            name = f"{method} {target}"
        elif method == "prompts/get" and target:
            attributes[semconv.PROMPT_NAME] = str(target)
            name = f"{method} {target}"
        elif method == "resources/read" and params.get("uri"):
            attributes[semconv.MCP_RESOURCE_URI] = str(params["uri"])  # not part of the name
        self.span = recorder.start(self.operation, name=name, attributes=attributes, **how)
        super().__init__(self.span.context)

    def on_result(self, result: Any) -> None:
        answer = wire(result)
        if self.method == LIST:
            is_page = bool(answer.get("nextCursor") or self.params.get("cursor"))
            remember(self.owner, answer.get("tools") or (), complete=not is_page)
        self.span.end(replace(self.operation, result=said_by(self.method, answer), has_result=True))

    def on_error(self, error: BaseException) -> None:
        end_failed(self.span, self.operation, error)


def end_failed(span: Recording, operation: Any, error: BaseException) -> None:
    """End the span of a request that raised ``error``."""
    code = code_of(error)
    if code is not None:
        span.set({semconv.RPC_STATUS_CODE: str(code)})
    span.end(operation, failure=guard(failure_in_request, error), exception=error)


def code_of(error: BaseException) -> int | None:
    code = getattr(getattr(error, "error", None), "code", None)
    return code if isinstance(code, int) else None


def failure_in_request(error: BaseException) -> Failure:
    """Return the failure of a request that raised ``error``. Its type is the peer's JSON-RPC code, if it sent one."""
    failure, code = failure_in_call(error), code_of(error)
    return failure if code is None else replace(failure, type=str(code))


# -- elicitations as reviews
#
# The server asks a person something in the middle of a call. ``accept`` is an answer; ``decline`` and ``cancel`` are
# rejections. Until July 2026 the server sends a request of its own, and waits; since then it answers the call with its
# questions, by key, and the call comes again with the answers.


ELICIT = "elicitation/create"
_DECISIONS = {"accept": ANSWERED, "decline": REJECTED, "cancel": REJECTED}
_FORM = frozenset({"requestedSchema", "url"})


def review_of(params: Mapping[str, Any], review_id: Any) -> Review:
    """Return the pending review of an elicitation. ``params``: as on the wire."""
    form = {name: to_json(value) for name, value in params.items() if name in _FORM}
    return Review(
        str(params.get("message") or "elicitation"), None if review_id is None else str(review_id), payload=form or None
    )


def decide(review: Review, result: Any) -> Review:
    """Add the client's answer: an ElicitResult, or an error if nobody can be asked."""
    answer = wire(result)
    if not isinstance(answer, Mapping):
        return review
    action = answer.get("action")
    if action in _DECISIONS:
        value = to_json(answer.get("content")) if action == "accept" else None
        return replace(review, decision=_DECISIONS[action], value=value, note="dismissed" if action == "cancel" else None)
    return replace(review, decision=UNATTENDED, note=str(answer["message"])) if "message" in answer else review


def record_questions(answer: Mapping[str, Any], context: Context) -> None:
    """Record the questions of a server before it answers a call (an ``InputRequiredResult`` as on the wire)."""
    for key, request in (answer.get("inputRequests") or {}).items():
        if request.get("method") == ELICIT:
            record_review(replace(review_of(request.get("params") or {}, key), decision=PENDING), context)


def record_decisions(responses: Any, context: Context) -> None:
    """Record the answers that a call contains, by key. An earlier round has the questions."""
    for key, response in responses.items() if isinstance(responses, Mapping) else ():
        answer = wire(response)
        if isinstance(answer, Mapping) and answer.get("action") in _DECISIONS:
            record_review(decide(Review(str(key), str(key)), answer), context)
