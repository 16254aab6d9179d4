"""Traps of servers of open models (vLLM and its like), where a tool call is not what the request made it look like.

``unenforced``: a call was required or its tool named, and it breaks the tool's schema: the server held the model to the form of
a call, not to the schema, because neither the tool nor the server says ``strict``. ``dropped``: the text holds several calls,
whole ones among them, and none came through, since one could not be read. ``named_stop``: a named call came with the finish
reason ``stop``, so a program that waits for ``tool_calls`` misses it. ``stream_differs``: the server reads a stream as it comes
and a whole answer at its end, with other code, and of this text the two make something else: a call came by the stream whose
arguments are no JSON, which the whole answer would have left in its text; or the stream left calls in the text that can be read
from one end to the other, as the whole answer would have read them. The faulty calls themselves are `invalid_tool_call`'s and
`leaked_tool_call`'s; this says why they came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from llmtrace.model import Evaluation, Inference, JsonValue, Span, ToolCall
from llmtrace.signals import Signal, Stateless
from llmtrace.signals._answers import CUT, PLACES, finish_reason, has_call
from llmtrace.signals._json import NOT_JSON, read_json
from llmtrace.signals._traits import SERVED, SYNTAX

_BLOCK = re.compile(r"<tool_call>(.*?)(?:</tool_call>|$)", re.DOTALL)


def check(span: Span) -> Iterable[Evaluation]:
    inference = span.operation
    if not isinstance(inference, Inference) or not inference.tools or inference.partial or span.failure is not None:
        return ()
    return _check(span, inference)


def _check(span: Span, inference: Inference) -> Iterator[Evaluation]:
    asked = inference.parameters.get("tool_choice")
    if _is_served(inference) and (asked == "required" or _is_named(asked)) and _broken(span, inference):
        explanation = (
            "a call was required, but its schema not enforced: give the tool strict=True, or start the server with "
            "--tool-strict-level parameter"
        )
        yield Evaluation(SIGNAL.name, "info", explanation, "unenforced")
    if inference.stream and _is_served(inference):
        yield from _by_the_stream_only(inference)
    for choice, message in enumerate(inference.output):
        if has_call(message):
            if _is_served(inference) and _is_named(asked) and finish_reason(inference, choice) == "stop":
                explanation = "a named tool's call came with the finish reason `stop`: do not wait for `tool_calls`"
                yield Evaluation(SIGNAL.name, "info", explanation, "named_stop")
        elif (text := message.text()).count("<tool_call>") > 1:
            whole = sum(map(_is_whole, islice(_BLOCK.finditer(text), PLACES)))
            if whole:
                explanation = (
                    f"the text holds several calls, {whole} of them whole, and one that cannot be read: none came through"
                )
                yield Evaluation(SIGNAL.name, "warning", explanation, "dropped")


def _by_the_stream_only(inference: Inference) -> Iterator[Evaluation]:
    """Where the answer was cut, both ways lose the call; `truncated_output` tells of that."""
    for choice, message in enumerate(inference.output):
        if finish_reason(inference, choice) in CUT:
            continue
        calls = [part for part in message.parts if type(part) is ToolCall]
        broken = sum(isinstance(call.arguments, str) and not _is_json(call.arguments) for call in calls)
        blocks = () if calls else tuple(islice(_BLOCK.finditer(message.text()), PLACES))
        if broken:
            explanation = (
                f"streamed, {broken} of {len(calls)} calls came with arguments that are no JSON; the whole answer would have "
                "left all of them in its text"
            )
        elif blocks and all(map(_is_whole, blocks)):
            explanation = f"streamed, {len(blocks)} readable calls were left in the text; the whole answer would have had them"
        else:
            continue
        yield Evaluation(SIGNAL.name, "info", explanation, "stream_differs")


def _is_json(arguments: str) -> bool:
    """As the server's parser of whole answers reads it."""
    try:
        json.loads(arguments)
    except (ValueError, RecursionError):
        return False
    return True


def _is_served(inference: Inference) -> bool:
    """vLLM puts its own version into the fingerprint of its answers."""
    return inference.provider == "vllm" or (inference.system_fingerprint or "").startswith("vllm-")


def _is_named(asked: JsonValue) -> bool:
    return isinstance(asked, Mapping) and asked.get("type") == "function"


def _broken(span: Span, inference: Inference) -> bool:
    """A call breaks the schema of a tool that is not strict."""
    lax = {tool.name for tool in inference.tools if not tool.strict}
    return any(one.where == "arguments" and one.severity == "error" and one.tool in lax for one in span.violations)


def _is_whole(block: re.Match[str]) -> bool:
    value = read_json(block.group(1))
    return value is not NOT_JSON and isinstance(value, dict) and isinstance(value.get("name"), str)


_ADVICE = "Start the server with the tool parser of this model, and send strict with each tool."

SIGNAL: Signal = Stateless("served_call", check, looks_at=(Inference,), waits_for=SYNTAX | SERVED, advice=_ADVICE)
