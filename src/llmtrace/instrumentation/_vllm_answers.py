"""Builds vLLM's answers from its outputs of any kind. The state can be read at any moment.

An engine's outputs contain everything so far (``CUMULATIVE``), or only new parts (``DELTA``), or there is one complete output
(``FINAL_ONLY``). Law: in each case, text and tokens are counted once, for each choice.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, TypeAlias

from pydantic_core import from_json

from llmtrace import semconv
from llmtrace.instrumentation._logprobs import Confidence
from llmtrace.instrumentation._provider import Fields
from llmtrace.instrumentation._streams import Reader
from llmtrace.model import JsonValue, Message, Part, Text, ToolCall, Usage
from llmtrace.recorder.guard import guard
from llmtrace.validation.parse_arguments import parse_arguments

# -- tool calls in the text of an answer
#
# ``LLM.chat`` gives text and no calls. They are read by vLLM's own parser of the model, where the program names it
# (``LLMTRACE_VLLM_TOOL_PARSER``), else in the Hermes form, ``<tool_call>{"name": …, "arguments": …}</tool_call>``. Law: nothing
# is repaired. A call keeps the raw text of its arguments, to be judged; a block of which not even the name can be read stays
# text, and is a leaked call.


_BLOCK = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
_SAID = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(.*?)\s*\}\s*', re.DOTALL)


CallReader: TypeAlias = Callable[[str], Iterator[Part]]
"""Reads a text with the calls in it: `read_hermes`, or `read_by_vllm` for a parser, the tokenizer and the tools."""


def read_hermes(text: str) -> Iterator[Part]:
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


def read_by_vllm(parser: str, tokenizer: Any, tools: Sequence[Any], text: str) -> Iterator[Part]:
    """Read the text with vLLM's own ``--tool-call-parser``; loads the parser if needed."""
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


logger = logging.getLogger("llmtrace")

ABORTED = "abort"


class _Choice:
    __slots__ = ("finish", "logprobs", "stop", "text", "tokens")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.tokens: list[int] = []
        self.logprobs: list[Any] = []
        self.finish: str | None = None
        self.stop: int | str | None = None

    def add(self, output: Any) -> None:
        self.text.append(output.text)
        self.tokens.extend(output.token_ids)
        if output.logprobs is not None:
            self.logprobs.extend(output.logprobs)
        self.finish = output.finish_reason or self.finish
        self.stop = self.stop if output.stop_reason is None else output.stop_reason

    def add_logprobs(self, confidence: Confidence, number: int) -> None:
        for token, alternatives in zip(self.tokens, self.logprobs, strict=False):
            chosen = alternatives.get(token)
            if chosen is not None:
                confidence.add(number, chosen.decoded_token or "", chosen.logprob)


class OutputReader(Reader):
    """`Reader` of ``RequestOutput``s. ``calls``: reads tool calls from the text, if tools were offered. ``is_stream``: the
    program gets several outputs for one prompt."""

    __slots__ = ("_calls", "_choices", "_delta", "_is_stream", "_last", "_latest")

    def __init__(self, *, delta: bool = False, calls: CallReader | None = None, is_stream: bool = True) -> None:
        self._delta = delta
        self._is_stream = is_stream
        self._calls = calls
        self._choices: defaultdict[int, _Choice] = defaultdict(_Choice)
        self._last: Any = None
        self._latest: dict[int, Any] = {}
        """By choice, the last cumulative output, which is only read at the end."""

    def feed(self, output: Any) -> None:
        self._last = output
        if output.finished and output.metrics is None:
            hint_once()
        for sequence in output.outputs:
            if self._delta:
                self._choices[sequence.index].add(sequence)
            else:
                self._latest[sequence.index] = sequence

    def fields(self) -> Fields:
        last = self._last
        kind: Fields = {} if self._is_stream else {"stream": False, "chunks": None}
        if last is None:
            return kind
        for index, output in self._latest.items():
            choice = self._choices[index] = _Choice()
            choice.add(output)
        choices = [self._choices[index] for index in sorted(self._choices)]
        texts = ["".join(choice.text) for choice in choices]
        output, confidence = [], Confidence()
        for number, (choice, text) in enumerate(zip(choices, texts, strict=True)):
            plain = (Text(text),) if text else ()
            parts = plain if self._calls is None else guard(tuple, self._calls(text))
            output.append(Message("assistant", plain if parts is None else parts, finish_reason=choice.finish))
            guard(choice.add_logprobs, confidence, number)
        reasons = tuple([choice.finish or ("error" if last.finished else "") for choice in choices])
        fields: Fields = {
            "output": tuple(output),
            "usage": Usage(
                None if last.prompt_token_ids is None else len(last.prompt_token_ids),
                sum([len(choice.tokens) for choice in choices]),
                cache_read_input_tokens=last.num_cached_tokens,
                cache_write_input_tokens=getattr(last, "num_cache_creation_tokens", None) or None,
            ),
            "attributes": {**timings(last.metrics), **confidence.attributes(texts)},
        }
        # the stop string or token that ended each choice, if it is not the model's own end token
        stops = [str(choice.stop) for choice in choices if choice.stop is not None]
        if stops:
            fields["attributes"][semconv.ENGINE_STOP_REASONS] = stops
        if all(reasons):
            fields["finish_reasons"] = reasons
        if last.finished:
            fields["partial"] = ABORTED in reasons
        fields |= kind
        return fields


def timings(metrics: Any) -> dict[str, JsonValue]:
    """Return a request's times in seconds as the engine measured them; nothing without metrics."""
    if metrics is None:
        return {}
    queued, scheduled = metrics.queued_ts, metrics.scheduled_ts
    first, last, tokens = metrics.first_token_ts, metrics.last_token_ts, metrics.num_generation_tokens
    times: dict[str, JsonValue] = {}
    if queued and scheduled >= queued:
        times[semconv.ENGINE_QUEUE] = scheduled - queued
    if scheduled and first >= scheduled:
        times[semconv.ENGINE_PREFILL] = first - scheduled
    if first and last >= first:
        times[semconv.ENGINE_DECODE] = last - first
        if tokens > 1:
            times[semconv.ENGINE_PER_TOKEN] = (last - first) / (tokens - 1)
    if metrics.first_token_latency:
        times[semconv.ENGINE_FIRST_TOKEN] = metrics.first_token_latency
    if getattr(metrics, "num_preemptions", 0):
        times[semconv.ENGINE_PREEMPTIONS] = metrics.num_preemptions
    return times


_hinted = False


def hint_once() -> None:
    """Log once that the engine keeps no request metrics, and how to turn them on."""
    global _hinted
    if not _hinted:
        _hinted = True
        logger.warning(
            "llmtrace: this vLLM engine keeps no request metrics, so its spans lack queue, prefill and decode times. "
            "Make it with LLM(..., disable_log_stats=False) to have them."
        )
