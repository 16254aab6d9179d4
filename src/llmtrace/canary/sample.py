"""Measurements of one answer. The only content stored is its first word, and a short digest to see if two answers are equal."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any, Final

from llmtrace.canary.endpoint import Reply
from llmtrace.canary.probes import Probe
from llmtrace.model import JsonValue, ToolCall
from llmtrace.model.value import value
from llmtrace.text.refusals import declines
from llmtrace.validation.check_values import check_call, check_output, errors_in
from llmtrace.validation.parse_arguments import parse_arguments
from llmtrace.validation.tool_definitions import output_schema

_LONGEST: Final = 24


@value
class Sample:
    """Measurements of one answer. None: the question does not ask for it, or the endpoint does not report it."""

    first: str = ""
    """The first word; for a border probe, its token. For an answer that only calls a tool, ``call`` and the tool's name."""
    length: int = 0
    """Length in tokens as the endpoint counts them; in characters if it does not."""
    valid: bool | None = None
    """True if the answer has the form that the question asks for."""
    tool: str | None = None
    """Name of the first tool that was called; "" for none."""
    called: bool | None = None
    """True if a tool was called: the expected one, if there is one."""
    arguments: bool | None = None
    """True if every call names an offered tool and has valid arguments."""
    refused: bool = False
    """True if the endpoint says that the model refused, or that a filter stopped the answer."""
    declined: bool = False
    """True if the answer declines the request in words, as far as `text.refusals` reads them. Counted as a rate only."""
    per_second: float | None = None
    """Tokens per second."""
    digest: str = ""
    """Of the whole answer; empty in a baseline of an older llmtrace."""
    session: int = 0
    """Number of the session of a baseline in which it was asked."""


def measure(probe: Probe, reply: Reply, session: int = 0) -> Sample:
    text = reply.message.get("content")
    text = text if isinstance(text, str) else ""
    calls = _calls(reply.message.get("tool_calls"))
    word = text if probe.kind == "border" else next(iter(text.split(maxsplit=1)), "")
    if not word and calls:
        word = f"call {calls[0].name}"
    called = None
    if probe.tools:
        called = any(call.name == probe.tool or probe.tool is None for call in calls)
    definitions = probe.definitions()
    said = json.dumps([text, [[call.name, call.arguments] for call in calls]], sort_keys=True, default=repr)
    return Sample(
        word[:_LONGEST],
        reply.tokens if reply.tokens is not None else len(text),
        _has_form(text, probe.options.get("response_format")),
        (calls[0].name[:_LONGEST] if calls else "") if probe.tools else None,
        called,
        all(not errors_in(check_call(call, definitions)) for call in calls) if calls and probe.tools else None,
        bool(reply.message.get("refusal")) or reply.finish_reason == "content_filter",
        not calls and declines(text),
        round(reply.tokens / reply.seconds, 2) if reply.tokens and reply.seconds > 0 else None,
        blake2b(said.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest(),
        session,
    )


def _calls(items: Any) -> list[ToolCall]:
    calls = []
    for item in items if isinstance(items, list) else ():
        function = item.get("function") if isinstance(item, dict) else None
        if isinstance(function, dict):
            calls.append(ToolCall(str(function.get("name") or ""), parse_arguments(function.get("arguments")), item.get("id")))
    return calls


def _has_form(text: str, form: JsonValue) -> bool | None:
    if form is None:
        return None
    schema = output_schema(form)
    if schema is not None:
        return not errors_in(check_output(text, schema))
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
