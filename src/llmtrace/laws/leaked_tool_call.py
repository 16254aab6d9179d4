"""A tool call is in the answer's text, so the tool never runs. Or the text has a control token of the chat template.
`missing_call`: the finish reason announces a call, and the answer has none.

* Labels: `syntax`: certain; `missing_call`, `control_token`: possible. Each is a fact on the model call, too.
* Bad: The answer is `<tool_call>{"name": "look_up", …}</tool_call>`, or ends with `<|im_end|>`.
* Good: An answer about such syntax: in quotes, in a code fence, or because the user asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from llmtrace.laws._answers import MOST_PLACES, excerpt, fenced_blocks, has_call, is_quoted, user_mentions
from llmtrace.laws.base import Stateless
from llmtrace.laws.finding import Finding, finding_of
from llmtrace.model import Evaluation, Inference, JsonValue, Span
from llmtrace.model.operations import CALLED
from llmtrace.reading.answer_endings import finish_reason
from llmtrace.reading.ended_run import EndedRun
from llmtrace.reading.result_form import parse_json
from llmtrace.text.patterns import lazy_pattern

_CALL = lazy_pattern(
    r"<tool_calls?\b|<function=|<function_calls?\b|<invoke name=|<tool_use\b|<\|python_tag\|>|<\|tool_calls?|<｜tool"
    r"|\[TOOL_CALLS?\]|✿FUNCTION✿|```tool_code|\bfunctions\.(?=[\w-]+\s*[({:<])"
)
_CONTROL_TOKEN = lazy_pattern(r"<\|[a-zA-Z_]{2,40}\|>|</s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<｜[^｜\n]{2,40}｜>")
_MARKS = ("<", "[", "`", "✿", "functions.")
"""Every text that matches either pattern contains one of these."""
_REACH = 200
"""Characters after the beginning of a call's syntax within which the tool's name must occur."""
_WORD = lazy_pattern(r"[A-Za-z_][\w-]*")
_CODE_CALL = lazy_pattern(r"\[?([A-Za-z_]\w*)\(.*\)\]?", re.DOTALL)
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "input", "tool_input")


def check(span: Span) -> Iterable[Evaluation]:
    inference = span.operation
    if not isinstance(inference, Inference) or inference.partial or span.failure is not None:
        return ()
    return [
        evaluation for choice in range(len(inference.output)) if (evaluation := _check_choice(inference, choice)) is not None
    ]


def _check_choice(inference: Inference, choice: int) -> Evaluation | None:
    message = inference.output[choice]
    text = message.text()
    calls = has_call(message)
    if text and not calls and inference.tools and (place := _find_call(inference, text)) is not None:
        explanation = "the text holds the syntax of a tool call, and the answer has no call"
        return Evaluation(SIGNAL.name, "warning", explanation, "syntax", evidence={"text": excerpt(text, *place)})
    if not calls and finish_reason(inference, choice) in CALLED:
        explanation = "the finish reason says tool calls, and the answer has none"
        return Evaluation(SIGNAL.name, "warning", explanation, "missing_call")
    if text and any(mark in text for mark in _MARKS) and (place := _find_control_token(inference, text)) is not None:
        explanation = "the text holds a control token of the model's chat template"
        return Evaluation(SIGNAL.name, "warning", explanation, "control_token", evidence={"text": excerpt(text, *place)})
    return None


def _find_control_token(inference: Inference, text: str) -> tuple[int, int] | None:
    for match in islice(_CONTROL_TOKEN.finditer(text), MOST_PLACES):
        mark = match.group()
        is_struck_through = mark == "</s>" and "<s>" in text  # HTML for struck-through text
        if not is_struck_through and not is_quoted(text, match.start()) and not user_mentions(inference, mark):
            return match.span()
    return None


def _find_call(inference: Inference, text: str) -> tuple[int, int] | None:
    """Return the range of a call's syntax in the text, or None."""
    tools = {tool.name for tool in inference.tools}
    if any(mark in text for mark in _MARKS):
        for match in islice(_CALL.finditer(text), MOST_PLACES):
            words = _WORD.findall(text[match.end() : match.end() + _REACH])
            is_named = not is_quoted(text, match.start()) and not tools.isdisjoint(words)
            begins = match.group() != "functions." and not text[: match.start()].strip()
            if (is_named or begins) and not user_mentions(inference, match.group()):
                return match.span()
    if text.rstrip().endswith((")", ")]")):
        code = _CODE_CALL.fullmatch(text.strip())  # the whole text is a call in code
        if code is not None and code.group(1) in tools:
            return 0, len(text)
    if "{" in text and any(f'"{key}"' in text for key in _ARGUMENT_KEYS):
        return _find_json(inference, text, tools)
    return None


def _find_json(inference: Inference, text: str, tools: set[str]) -> tuple[int, int] | None:
    """Return the range of a call that is written as a JSON object, in a code fence or as the whole text; None without one."""
    if user_mentions(inference, "JSON") or user_mentions(inference, "json"):
        return None
    for block in (text, *islice(fenced_blocks(text), MOST_PLACES)):
        value = parse_json(block) if block.lstrip()[:1] in ("{", "[") else None
        if any(_is_call(item, tools) for item in (value if isinstance(value, list) else [value])):
            return text.index(block), text.index(block) + len(block)
    return None


def _is_call(value: JsonValue, tools: set[str]) -> bool:
    if not isinstance(value, dict):
        return False
    call = value["function"] if isinstance(value.get("function"), dict) else value
    has_arguments = any(isinstance(call.get(key), (dict, str)) for key in _ARGUMENT_KEYS)
    name = call.get("name") or call.get("tool") or call.get("tool_name") or call.get("function")
    return has_arguments and isinstance(name, str) and name in tools


class LeakedToolCall(Stateless):
    needs = ("content", "facts")

    def judge(self, run: EndedRun) -> Iterator[Finding]:
        for span, fact in run.facts:
            if fact.name == self.name:
                # the text of a call is proof that the tool did not run
                yield finding_of(span, fact, self.advice, run, "certain" if fact.label == "syntax" else "possible")


SIGNAL = LeakedToolCall(
    "leaked_tool_call",
    check,
    looks_at=(Inference,),
    when="words",
    advice="See that the server uses this model's tool parser and chat template; treat such text as a failed call.",
)
