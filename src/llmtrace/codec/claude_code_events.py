"""Creates spans from the log records of Claude Code, which sends spans only in a beta.

A record without a trace belongs to the turn with its ``prompt.id``. Each turn becomes a trace: an agent, a model call for each
``api_request`` or ``api_error``, and a tool for each ``tool_result``. Trace and span ids are digests of the ids of session and
prompt, so that all records of a turn get the same trace, whichever process reads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from llmtrace import semconv as sc
from llmtrace.codec import fields
from llmtrace.model import Event, RawSpan, Scope

PREFIX: Final = "claude_code."
_PROMPT, _ANSWER, _TOOL = f"{PREFIX}user_prompt", f"{PREFIX}assistant_response", f"{PREFIX}tool_result"
_CALLS: Final = (f"{PREFIX}api_request", f"{PREFIX}api_error")
_SCOPE: Final = Scope("com.anthropic.claude_code.events")


def turn_of(event: Event) -> tuple[str, str] | None:
    """Return the trace and span id of the turn that a record belongs to, or None."""
    prompt = event.attributes.get("prompt.id")
    if not isinstance(prompt, str):
        return None
    digest = hashlib.sha256(f"{event.attributes.get('session.id')} {prompt}".encode()).hexdigest()
    return digest[:32], digest[32:48]


def spans(trace_id: str, span_id: str, events: Sequence[Event], added: Sequence[Event]) -> Iterator[RawSpan]:
    """Return the spans of a turn that the records in ``added`` create or change. ``events``: all records of the turn so far.

    If the record of the prompt is not among ``events``, no span of the turn itself is returned: an earlier process may have
    made it.
    """
    prompt = next((event for event in events if event.name == _PROMPT), None)
    if prompt is not None:
        last = max(events, key=lambda event: event.time)
        yield _span("interaction", trace_id, span_id, None, prompt.time, last.time, prompt, _turn(prompt))
    changed = {_key(event) for event in added}
    for event in events:
        if event.name not in (*_CALLS, _TOOL) or _key(event) not in changed:
            continue
        start = event.time - int((fields.as_seconds(event.attributes.get("duration_ms")) or 0) * 1e6)
        digest = hashlib.sha256(f"{span_id} {event.name} {event.time} {_key(event)}".encode()).hexdigest()
        if event.name == _TOOL:
            yield _span("tool", trace_id, digest[:16], span_id, start, event.time, event, _tool(event))
        else:
            answers = [answer for answer in events if answer.name == _ANSWER and _key(answer) == _key(event)]
            yield _span("llm_request", trace_id, digest[:16], span_id, start, event.time, event, _call(event, answers))


def _key(event: Event) -> str:
    """Return the id of the tool call or the request that a record is about."""
    return str(event.attributes.get("tool_use_id" if event.name == _TOOL else "request_id"))


def _span(
    kind: str,
    trace_id: str,
    span_id: str,
    parent_id: str | None,
    start: int,
    end: int,
    event: Event,
    attributes: Mapping[str, Any],
) -> RawSpan:
    has_failed = str(event.attributes.get("success")).lower() == "false" or event.name == _CALLS[1]
    error = event.attributes.get("error", "") if has_failed else None
    general = {"span.type": kind, sc.PROVIDER_NAME: "anthropic", sc.CONVERSATION_ID: event.attributes.get("session.id")}
    return RawSpan(
        trace_id,
        span_id,
        PREFIX + kind,
        start,
        end,
        parent_id,
        status="unset" if error is None else "error",
        status_message="" if error is None else str(error),
        attributes={name: value for name, value in {**general, **attributes}.items() if value is not None},
        scope=_SCOPE,
    )


def _turn(event: Event) -> dict[str, Any]:
    return {sc.OPERATION_NAME: sc.INVOKE_AGENT, "user_prompt": event.attributes.get("prompt")}


def _call(event: Event, answers: Sequence[Event]) -> dict[str, Any]:
    record = event.attributes
    names = ("input_tokens", "cache_read_tokens", "cache_creation_tokens")
    uncached, cache_read, cache_write = (fields.as_count(record.get(name)) for name in names)
    text = fields.as_text(answers[-1].attributes.get("response")) if answers else None
    message = [{"role": "assistant", "parts": [{"type": "text", "content": text}]}]
    return {
        sc.OPERATION_NAME: sc.CHAT,
        sc.REQUEST_MODEL: record.get("model"),
        sc.RESPONSE_ID: record.get("request_id"),
        sc.OUTPUT_MESSAGES: None if text in (None, "<REDACTED>") else message,
        sc.USAGE_INPUT_TOKENS: None if uncached is None else uncached + (cache_read or 0) + (cache_write or 0),
        sc.USAGE_OUTPUT_TOKENS: fields.as_count(record.get("output_tokens")),
        sc.USAGE_CACHE_READ: cache_read,
        sc.USAGE_CACHE_WRITE: cache_write,
        sc.COST_USD: fields.as_amount(record.get("cost_usd")),
        sc.ERROR_TYPE: record.get("status_code"),
        "ttft_ms": record.get("ttft_ms"),
    }


def _tool(event: Event) -> dict[str, Any]:
    record = event.attributes
    return {
        sc.OPERATION_NAME: sc.EXECUTE_TOOL,
        sc.TOOL_NAME: record.get("tool_name"),
        sc.TOOL_CALL_ID: record.get("tool_use_id"),
        sc.TOOL_CALL_ARGUMENTS: fields.as_object(record.get("tool_input")),
        sc.ERROR_TYPE: record.get("error_type"),
    }
