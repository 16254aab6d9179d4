"""A server of open models, such as vLLM, did not handle a tool call as the request suggests. `dropped`: the text has several
calls, and none arrived, because one was unreadable.

* Labels: `dropped`: warning; `unenforced`, `named_stop`, `stream_differs`: info
* On: the inference.
* Bad: `tool_choice` is `required`, and the call breaks its schema, because neither tool nor server says `strict`
  (`unenforced`).
* Good: A valid call; a call cut by the limit on output tokens.

`named_stop`: a named call came with finish reason `stop`. `stream_differs`: the server parsed the stream differently from the
whole answer. See docs/how_to/vllm.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from llmtrace.laws._answers import MOST_PLACES, has_call
from llmtrace.laws.base import Stateless
from llmtrace.model import Evaluation, Inference, JsonValue, Span, ToolCall
from llmtrace.model.operations import CUT
from llmtrace.reading.answer_endings import finish_reason
from llmtrace.text.patterns import lazy_pattern

_BLOCK = lazy_pattern(r"<tool_call>(.*?)(?:</tool_call>|$)", re.DOTALL)

_UNENFORCED = (
    "a call was required, but its schema not enforced: give the tool strict=True, or start the server with "
    "--tool-strict-level parameter"
)
_NAMED_STOP = "a named tool's call came with the finish reason `stop`: do not wait for `tool_calls`"


def check(span: Span) -> Iterable[Evaluation]:
    inference = span.operation
    if not isinstance(inference, Inference) or not inference.tools or inference.partial or span.failure is not None:
        return ()
    dropped = [_evaluation("dropped", text) for message in inference.output if (text := _dropped(message.text()))]
    # vLLM puts its own version into the fingerprint of its answers
    is_vllm = inference.provider == "vllm" or (inference.system_fingerprint or "").startswith("vllm-")
    return [*_check_vllm(span, inference), *dropped] if is_vllm else dropped


def _check_vllm(span: Span, inference: Inference) -> Iterator[Evaluation]:
    choice_of_tool = inference.parameters.get("tool_choice")
    is_named = isinstance(choice_of_tool, Mapping) and choice_of_tool.get("type") == "function"
    if (is_named or choice_of_tool == "required") and _breaks_lax_schema(span, inference):
        yield _evaluation("unenforced", _UNENFORCED)
    for choice, message in enumerate(inference.output):
        reason = finish_reason(inference, choice)
        if is_named and reason == "stop" and has_call(message):
            yield _evaluation("named_stop", _NAMED_STOP)
        if inference.stream and reason not in CUT:  # a cut answer loses the call with and without streaming
            calls = message.tool_calls()
            if text := _broken_in_stream(calls) if calls else _left_in_text(message.text()):
                yield _evaluation("stream_differs", text)


def _evaluation(label: str, explanation: str) -> Evaluation:
    return Evaluation(SIGNAL.name, "warning" if label == "dropped" else "info", explanation, label)


def _dropped(text: str) -> str | None:
    whole = sum(map(_is_call, islice(_BLOCK.findall(text), MOST_PLACES))) if text.count("<tool_call>") > 1 else 0
    return f"the text holds several calls, {whole} of them readable, and none came through" if whole else None


def _breaks_lax_schema(span: Span, inference: Inference) -> bool:
    """Return True if a call breaks the schema of a tool that is not strict."""
    lax = {tool.name for tool in inference.tools if not tool.strict}
    errors = (violation for violation in span.violations if violation.severity == "error" and violation.where == "arguments")
    return any(violation.tool in lax for violation in errors)


def _broken_in_stream(calls: tuple[ToolCall, ...]) -> str | None:
    broken = sum(isinstance(call.arguments, str) and _parse(call.arguments) is None for call in calls)
    text = f"streamed, {broken} of {len(calls)} calls came with arguments that are not JSON"
    return f"{text}; the whole answer would have left all of them in its text" if broken else None


def _left_in_text(text: str) -> str | None:
    blocks = list(islice(_BLOCK.findall(text), MOST_PLACES)) if "<tool_call>" in text else []
    if not blocks or not all(map(_is_call, blocks)):
        return None
    return f"streamed, {len(blocks)} readable calls were left in the text; the whole answer would have had them"


def _is_call(block: str) -> bool:
    value = _parse(block)
    return isinstance(value, dict) and isinstance(value.get("name"), str)


def _parse(text: str) -> JsonValue:
    """Parse JSON as the server's parser of whole answers does; None if that fails."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


SIGNAL = Stateless(
    "served_call",
    check,
    looks_at=(Inference,),
    advice="Start the server with the tool parser of this model, and send strict with each tool.",
)
