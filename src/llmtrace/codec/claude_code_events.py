"""Spans made of the log records of Claude Code, which sends spans only in a beta.

A record without a trace belongs to the turn that its ``prompt.id`` names. Each turn becomes a trace: an agent, a model call for
each ``api_request`` or ``api_error``, a tool for each ``tool_result``. The ids are derived from those of the session and the
prompt, so records of one turn meet in one trace, whichever receiver reads them.
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
    """The trace and span id of the turn that a record belongs to; None if it belongs to none."""
    prompt = event.attributes.get("prompt.id")
    if not isinstance(prompt, str):
        return None
    digest = hashlib.sha256(f"{event.attributes.get('session.id')} {prompt}".encode()).hexdigest()
    return digest[:32], digest[32:48]


def spans(trace_id: str, span_id: str, events: Sequence[Event], added: Sequence[Event]) -> Iterator[RawSpan]:
    """The spans of a turn that are new or changed since ``added`` arrived. ``events``: all that are known of the turn.

    The turn itself is left out if its beginning is not known: the records may have been read by an earlier process.
    """
    prompt = next((event for event in events if event.name == _PROMPT), None)
    if prompt is not None:
        last = max(events, key=lambda event: event.time)
        yield _span("interaction", trace_id, span_id, None, prompt.time, last.time, prompt, _turn(prompt))
    changed = {_key(event) for event in added}
    for event in events:
        if event.name not in (*_CALLS, _TOOL) or _key(event) not in changed:
            continue
        start = event.time - int((fields.as_number(event.attributes.get("duration_ms")) or 0) * 1e6)
        digest = hashlib.sha256(f"{span_id} {event.name} {event.time} {_key(event)}".encode()).hexdigest()
        if event.name == _TOOL:
            yield _span("tool", trace_id, digest[:16], span_id, start, event.time, event, _tool(event))
        else:
            answer = [one for one in events if one.name == _ANSWER and _key(one) == _key(event)]
            yield _span("llm_request", trace_id, digest[:16], span_id, start, event.time, event, _call(event, answer))


def _key(event: Event) -> str:
    """What names a call among the records of its turn: the id of the tool call or of the request."""
    own = event.attributes
    return str(own.get("tool_use_id") if event.name == _TOOL else own.get("request_id"))


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


def _call(event: Event, answer: Sequence[Event]) -> dict[str, Any]:
    own = event.attributes
    names = ("input_tokens", "cache_read_tokens", "cache_creation_tokens")
    sent, cached, written = (fields.as_count(own.get(name)) for name in names)
    text = fields.as_text(answer[-1].attributes.get("response")) if answer else None
    message = [{"role": "assistant", "parts": [{"type": "text", "content": text}]}]
    return {
        sc.OPERATION_NAME: sc.CHAT,
        sc.REQUEST_MODEL: own.get("model"),
        sc.RESPONSE_ID: own.get("request_id"),
        sc.OUTPUT_MESSAGES: None if text in (None, "<REDACTED>") else message,
        sc.USAGE_INPUT_TOKENS: None if sent is None else sent + (cached or 0) + (written or 0),
        sc.USAGE_OUTPUT_TOKENS: fields.as_count(own.get("output_tokens")),
        sc.USAGE_CACHE_READ: cached,
        sc.USAGE_CACHE_WRITE: written,
        sc.COST_USD: fields.as_number(own.get("cost_usd")),
        sc.ERROR_TYPE: own.get("status_code"),
        "ttft_ms": own.get("ttft_ms"),
    }


def _tool(event: Event) -> dict[str, Any]:
    own = event.attributes
    return {
        sc.OPERATION_NAME: sc.EXECUTE_TOOL,
        sc.TOOL_NAME: own.get("tool_name"),
        sc.TOOL_CALL_ID: own.get("tool_use_id"),
        sc.TOOL_CALL_ARGUMENTS: fields.as_object(own.get("tool_input")),
        sc.ERROR_TYPE: own.get("error_type"),
    }
