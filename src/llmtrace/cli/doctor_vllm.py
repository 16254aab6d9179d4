"""The checks of ``llmtrace doctor --vllm URL``: does the server join our traces, and which useful flags are missing?

It sends one request, like an instrumented client, and requires a tool call. For some seconds it looks for the server's span: in
the store, and on OTLP's default ports if no other program listens there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from llmtrace.chat_endpoint import Response
from llmtrace.cli.doctor_checks import Finding
from llmtrace.cli.vllm_stats import Metrics, ask, root_of
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.errors import ConfigurationError, LlmtraceError, PortBusy
from llmtrace.external.ingest import Ingestor
from llmtrace.model import ToolDefinition
from llmtrace.receiver import Receiver
from llmtrace.receiver.receiver import GRPC_PORT, HTTP_PORT
from llmtrace.recorder.identity import Identity
from llmtrace.semconv import REQUEST_ID_MARK
from llmtrace.store import Store, open_store
from llmtrace.store.memory import MemoryStore
from llmtrace.validation.check_values import check_arguments
from llmtrace.validation.parse_arguments import parse_arguments

PATIENCE = 8.0
"""Seconds to wait for the server's span. vLLM sends its spans every five seconds."""
TOOL = {
    "type": "function",
    "function": {
        "name": "probe",
        "description": "Say how many.",
        "parameters": {
            "type": "object",
            "properties": {"count": {"type": "integer", "minimum": 0, "maximum": 9}},
            "required": ["count"],
            "additionalProperties": False,
        },
    },
}
_REQUEST = {"messages": [{"role": "user", "content": "Call the tool with 3."}], "max_tokens": 200, "seed": 0}
_TOOLS = "--enable-auto-tool-choice --tool-call-parser NAME"


def everything(url: str, store: str | None) -> Iterator[Finding]:
    """Run all checks of the server at ``url``. ``store``: the store to search for the server's span; default, as configured."""
    root = root_of(url)
    models = ask(f"{root}/v1/models")
    names = [model.get("id") for model in (models.json() or {}).get("data", ())] if models and models.status == 200 else []
    if not names:
        what = "does not answer" if models is None else f"answers {models.status} where its models are listed"
        yield Finding("wrong", "server", f"{root} {what}", "Start it (vllm serve MODEL), or give its own address.")
        return
    version_reply = ask(f"{root}/version")
    version = ((version_reply.json() if version_reply is not None else None) or {}).get("version")
    yield Finding("ok", "server", f"{root}: vLLM {version or 'of unknown version'}, model {names[0]}")
    identity = Identity()
    trace_id, span_id = identity.trace_id(), identity.span_id()
    with _listening(store) as stores:
        headers = {"traceparent": f"00-{trace_id}-{span_id}-01", "x-request-id": f"{REQUEST_ID_MARK}-{trace_id}-{span_id}"}
        chat, body = f"{root}/v1/chat/completions", {"model": names[0], **_REQUEST}
        reply = ask(chat, {**body, "tools": [TOOL], "tool_choice": "required"}, headers)
        has_tools = reply is None or reply.status != 400
        if not has_tools:
            reply = ask(chat, body, headers)
        yield from _answer(reply, has_tools, trace_id)
        if reply is not None and reply.status == 200:
            yield _arrival(stores, trace_id, span_id)
    metrics = ask(f"{root}/metrics")
    if metrics is not None and Metrics(metrics.text).total("vllm:num_requests_running") is not None:
        yield Finding("ok", "/metrics", f"can be read beside your traces: llmtrace stats --vllm {root}")
    else:
        yield Finding("note", "/metrics", "not available", "Start the server without --disable-log-stats.")


def _answer(reply: Response | None, has_tools: bool, trace_id: str) -> Iterator[Finding]:
    answer = reply.json() if reply is not None and reply.status == 200 else None
    if reply is None or not isinstance(answer, dict):
        what = "was not answered" if reply is None else f"was answered with {reply.status}"
        yield Finding(
            "wrong", "request", f"a chat request {what}", "The model may have no chat template: --chat-template FILE."
        )
        return
    if not has_tools:
        yield Finding("note", "tools", "requests with tools are refused", f"Start the server with {_TOOLS}.")
    else:
        yield _called(answer)
    has_times = isinstance(answer.get("metrics"), Mapping)
    yield _flag(has_times, "times", "--enable-per-request-metrics", "queue, first token and time per token on each span")
    details = (answer.get("usage") or {}).get("prompt_tokens_details")
    yield _flag(
        isinstance(details, Mapping), "cache", "--enable-prompt-tokens-details", "how much of a prompt came from the cache"
    )
    echoed = trace_id in reply.headers.get("x-request-id", "")
    yield _flag(
        echoed, "request id", "--enable-request-id-headers", "the id of each request in the answer's headers and in logs"
    )
    if trace_id not in str(answer.get("id")):
        yield Finding("note", "request id", "X-Request-Id does not reach the server: something in between removes it")


def _flag(on: bool, about: str, flag: str, adds: str) -> Finding:
    if on:
        return Finding("ok", about, f"{flag} is on: {adds}")
    return Finding("note", about, f"{flag} is off", f"It would add {adds}.")


def _called(answer: dict[str, Any]) -> Finding:
    """Check if the server enforced the tool's schema, as far as one call can show."""
    strict = 'Give each tool "strict": true, or start the server with --tool-strict-level parameter.'
    choice = (answer.get("choices") or [{}])[0]
    calls = (choice.get("message") or {}).get("tool_calls") or ()
    if not calls:
        where = "cut at its limit" if choice.get("finish_reason") == "length" else "without the call"
        return Finding("note", "tools", f"a tool call was required, but the answer came {where}", strict)
    definition = ToolDefinition("probe", TOOL["function"]["parameters"])  # type: ignore[index]
    arguments = parse_arguments((calls[0].get("function") or {}).get("arguments"))
    if check_arguments(arguments, definition):
        return Finding("note", "tools", "the tool call breaks the tool's schema: schemas are not enforced", strict)
    return Finding("ok", "tools", "the required tool call came and fits its schema")


@contextmanager
def _listening(url: str | None) -> Iterator[list[Store]]:
    """Yield the stores in which the server's span may arrive: one behind OTLP's default ports if they are free, and ``url``."""
    memory = MemoryStore()
    ingestor = Ingestor(memory, content=Content(Config()), quiet=3600.0)
    stores: list[Store] = [memory]
    with ExitStack() as stack:
        for http_port, grpc_port in ((HTTP_PORT, None), (None, GRPC_PORT)):
            with suppress(PortBusy, ConfigurationError):  # another receiver's store gets the span; or no gRPC is installed
                stack.enter_context(Receiver(ingestor, http_port=http_port, grpc_port=grpc_port))
        with suppress(LlmtraceError):
            stores.append(stack.enter_context(open_store(Config.read(store=url).store)))
        yield stores


def _arrival(stores: list[Store], trace_id: str, span_id: str) -> Finding:
    """Wait for the server's span."""
    began = time.monotonic()
    while (waited := time.monotonic() - began) < PATIENCE:
        for store in stores:
            with suppress(LlmtraceError):
                span = next((span for span in store.trace(trace_id).spans if span.parent_id == span_id), None)
                if span is not None:
                    by = ", by the id of the request, since the trace was lost on the way" if span.links else ""
                    text = f"the server's llm_request came after {waited:.1f} s and is our span's child{by}"
                    return Finding("ok", "span", text)
        time.sleep(0.2)
    return Finding(
        "note",
        "span",
        f"no llm_request of the server came within {PATIENCE:.0f} s",
        f"Run llmtrace receive, and start the server with --otlp-traces-endpoint http://THIS_HOST:{GRPC_PORT}: "
        "it would add the engine's side of each call to its trace.",
    )
