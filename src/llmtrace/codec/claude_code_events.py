"""Creates spans from the log records of Claude Code, which sends spans only in a beta.

A record without a trace belongs to the turn with its ``prompt.id``. Each turn becomes a trace: an agent, a model call for each
``api_request`` or ``api_error``, and a tool for each ``tool_result``. Trace and span ids are digests of the ids of session and
prompt, so that all records of a turn get the same trace, whichever process reads them.

A record with a trace has the span id of the turn, though it is about a model call or a tool. Such a record is joined by its
subject: the id of the tool call or the request. A request without an id is known by its token counts and the time to its first
token, which the record and the span both have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from llmtrace import semconv as sc
from llmtrace.codec import fields
from llmtrace.model import Event, JsonValue, RawSpan, Scope

PREFIX: Final = "claude_code."
REDACTED: Final = "<REDACTED>"
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


def subject_of(span: RawSpan) -> str | None:
    """Return the subject of a span of Claude Code, which stands for a span id among log records; None for other spans."""
    values = span.attributes
    if span.name == f"{PREFIX}tool":
        return _subject("tool", values.get(sc.TOOL_CALL_ID) or values.get("tool_use_id"))
    if span.name != f"{PREFIX}llm_request":
        return None
    seconds = fields.as_seconds(values.get(sc.RESPONSE_TIME_TO_FIRST_CHUNK))
    first = fields.as_count(values.get("ttft_ms")) if seconds is None else round(seconds * 1000)
    counts = values.get(sc.USAGE_INPUT_TOKENS), values.get(sc.USAGE_OUTPUT_TOKENS)
    return _request(values.get("request_id") or values.get(sc.RESPONSE_ID), *counts, first)


def by_subject(records: Iterable[tuple[str, Event]]) -> Iterator[tuple[str, str, Event]]:
    """Yield the trace id, the subject and the record, for each record that has a trace and is about a model call or a tool.

    An answer without the id of its request belongs to the last request before it.
    """
    last: dict[tuple[str, JsonValue], str | None] = {}
    for trace_id, event in sorted(records, key=lambda record: record[1].time):
        values, subject = event.attributes, None
        turn = trace_id, values.get("prompt.id")
        if event.name == _TOOL:
            subject = _subject("tool", values.get("tool_use_id"))
        elif event.name in _CALLS:
            counts = _input_tokens(values)[0], fields.as_count(values.get("output_tokens"))
            subject = last[turn] = _request(values.get("request_id"), *counts, fields.as_count(values.get("ttft_ms")))
        elif event.name == _ANSWER:
            subject = _subject("request", values["request_id"]) if values.get("request_id") else last.get(turn)
        if subject is not None:
            yield trace_id, subject, event


def _request(request_id: JsonValue, total: JsonValue, output: JsonValue, first: int | None) -> str | None:
    is_known = request_id or not (total is None or output is None or first is None)
    return _subject("request", request_id or f"{total} {output} {first}") if is_known else None


def _subject(kind: str, key: JsonValue) -> str | None:
    return hashlib.sha256(f"{PREFIX}{kind} {key}".encode()).hexdigest()[:16] if key else None


def spans(trace_id: str, span_id: str, events: Sequence[Event], added: Sequence[Event]) -> Iterator[RawSpan]:
    """Return the spans of a turn that the records in ``added`` create or change. ``events``: all records of the turn so far.

    If the record of the prompt is not among ``events``, no span of the turn itself is returned: an earlier process may have
    made it.
    """
    prompt = next((event for event in events if event.name == _PROMPT), None)
    if prompt is not None:
        last = max(events, key=lambda event: event.time)
        yield _span("interaction", trace_id, span_id, None, prompt.time, last.time, prompt, _turn(prompt))
    answers = dict(_answers(events))
    changed = {id(event) for event in added}
    for event in events:
        answer = answers.get(id(event))
        if event.name not in (*_CALLS, _TOOL) or changed.isdisjoint((id(event), id(answer))):
            continue
        start = event.time - int((fields.as_seconds(event.attributes.get("duration_ms")) or 0) * 1e6)
        digest = hashlib.sha256(f"{span_id} {event.name} {event.time} {_key(event)}".encode()).hexdigest()
        if event.name == _TOOL:
            yield _span("tool", trace_id, digest[:16], span_id, start, event.time, event, _tool(event))
        else:
            yield _span("llm_request", trace_id, digest[:16], span_id, start, event.time, event, _call(event, answer))


def _answers(events: Sequence[Event]) -> Iterator[tuple[int, Event]]:
    """Yield the identity of each request and its answer. An answer without an id belongs to the last request before it."""
    calls: dict[str, Event] = {}
    last: Event | None = None
    for event in sorted(events, key=lambda event: event.time):
        if event.name in _CALLS:
            last = calls[_key(event)] = event
        elif event.name == _ANSWER:
            call = calls.get(_key(event)) if event.attributes.get("request_id") else last
            if call is not None:
                yield id(call), event


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


def _input_tokens(record: Mapping[str, JsonValue]) -> tuple[int | None, int | None, int | None]:
    """Return the number of all input tokens, and of those that were read from and written to the cache."""
    names = ("input_tokens", "cache_read_tokens", "cache_creation_tokens")
    uncached, cache_read, cache_write = (fields.as_count(record.get(name)) for name in names)
    return None if uncached is None else uncached + (cache_read or 0) + (cache_write or 0), cache_read, cache_write


def answer_of(events: Iterable[Event]) -> list[dict[str, Any]] | None:
    """Return the output messages of a model call from its log records, None if its answer is not recorded."""
    answers = [event.attributes.get("response") for event in events if event.name == _ANSWER]
    text = fields.as_text(answers[-1]) if answers else None
    return None if text in (None, REDACTED) else [{"role": "assistant", "parts": [{"type": "text", "content": text}]}]


def _call(event: Event, answer: Event | None) -> dict[str, Any]:
    record = event.attributes
    total, cache_read, cache_write = _input_tokens(record)
    return {
        sc.OPERATION_NAME: sc.CHAT,
        sc.REQUEST_MODEL: record.get("model"),
        sc.RESPONSE_ID: record.get("request_id"),
        sc.OUTPUT_MESSAGES: answer_of([] if answer is None else [answer]),
        sc.USAGE_INPUT_TOKENS: total,
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
