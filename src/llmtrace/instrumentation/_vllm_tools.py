"""Tool calls that stand in the text of an answer, since ``LLM.chat`` gives text and no calls.

Read by vLLM's own parser of the model, where the program names it (``LLMTRACE_VLLM_TOOL_PARSER``), else in the Hermes form,
``<tool_call>{"name": …, "arguments": …}</tool_call>``. Law: nothing is repaired. A call keeps the raw text of its arguments, to
be judged; a block of which not even the name can be read stays text, and is a leaked call.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from pydantic_core import from_json

from llmtrace.model import Part, Text, ToolCall
from llmtrace.validation.parse_arguments import parse_arguments

_BLOCK = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
_SAID = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(.*?)\s*\}\s*', re.DOTALL)


class CallReader:
    """Reads the calls of one request's answers."""

    __slots__ = ("_parser", "_tokenizer", "_tools")

    def __init__(self, tools: Sequence[Any], tokenizer: Any = None, parser: str = "") -> None:
        """``tools``: as the program gave them. ``parser``: name of a parser of vLLM, which needs the tokenizer."""
        self._tools = tools
        self._tokenizer = tokenizer
        self._parser = parser

    def read(self, text: str) -> tuple[Part, ...]:
        """Read text and tool calls of an answer, in order."""
        if self._parser:
            return tuple(_by_vllm(self._parser, self._tokenizer, self._tools, text))
        return tuple(hermes(text))


def hermes(text: str) -> Iterator[Part]:
    """Read a text with tool calls in the Hermes form."""
    place = 0
    for number, block in enumerate(_BLOCK.finditer(text)):
        call = _call(block.group(1), number)
        if call is None:
            continue
        before = text[place : block.start()].strip("\n")
        if before:
            yield Text(before)
        yield call
        place = block.end()
    rest = text[place:] if not place else text[place:].strip("\n")
    if rest:
        yield Text(rest)


def _call(block: str, number: int) -> ToolCall | None:
    match = _SAID.fullmatch(block)
    if match is not None:
        try:
            name = json.loads(match.group(1))
        except ValueError:
            return None
        return ToolCall(name, parse_arguments(match.group(2)), f"call_{number}")
    try:
        call = from_json(block)
    except (TypeError, ValueError):  # TypeError: half a surrogate pair as it is
        return None
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return None
    arguments = call.get("arguments", call.get("parameters"))
    return ToolCall(call["name"], arguments if isinstance(arguments, dict) else json.dumps(arguments), f"call_{number}")


def _by_vllm(parser: str, tokenizer: Any, tools: Sequence[Any], text: str) -> Iterator[Part]:
    """Read the text with vLLM's own ``--tool-call-parser``, and load that if needed."""
    parsers = sys.modules.get("vllm.tool_parsers") or import_module("vllm.tool_parsers")
    protocol = import_module("vllm.entrypoints.openai.chat_completion.protocol")
    offered = [protocol.ChatCompletionToolsParam(**tool) if isinstance(tool, dict) else tool for tool in tools]
    request = protocol.ChatCompletionRequest(messages=[], model="", tools=offered)
    tool_parser = parsers.ToolParserManager.get_tool_parser(parser)(tokenizer, offered)
    answer = tool_parser.extract_tool_calls(text, request=request)
    if answer.content:
        yield Text(answer.content)
    for number, call in enumerate(answer.tool_calls):
        yield ToolCall(call.function.name, parse_arguments(call.function.arguments), call.id or f"call_{number}")
