"""What becomes visible to the model as a run goes on: each span taken apart into sources.

How "made up" is told from "copied": a source counts as evidence for a value unless it only repeats what the model had said
itself. Such echoes are the model's own earlier messages, the result of a call that had the value among its arguments, and
whatever appears while such a call is still running (the prompt of an agent that the call started).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from llmtrace import semconv
from llmtrace.lineage.context import Context
from llmtrace.lineage.history import OWN, History
from llmtrace.lineage.provenance import Origin
from llmtrace.lineage.sources import Source
from llmtrace.lineage.wanted import Wanted
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Inference,
    JsonValue,
    Memory,
    Message,
    Part,
    Reasoning,
    Retrieval,
    ServerToolCall,
    ServerToolResult,
    Span,
    Text,
    ToolCall,
    ToolExecution,
    ToolResult,
    Workflow,
    as_said,
)

REMEMBERED = 512
"""Calls and made-up values that a bounded run remembers; the oldest go first."""
SOURCES = 4096
CHARACTERS = 1 << 22
"""Sources, and characters of them, that a bounded run remembers."""
_ASKED = frozenset({"user", "system", "developer", "human"})
_HIDING_PARAMETERS = {
    "conversation": "the conversation is kept by the provider",
    "prompt": "the prompt is kept by the provider",
    "web_search_options": "the provider searched the web",
}
_NOTHING: frozenset[str] = frozenset()
_SOURCE = "llmtrace.lineage"
"""In the cache of a message whose only part is text: what was read out of it, for the next run."""
_CUT = (semconv.CONTENT_TRUNCATED, semconv.CONTENT_REDACTED, semconv.CONTENT_LEVEL)


@dataclass(slots=True)
class Call:
    """A call that the model asked for."""

    tool: str
    made_up: frozenset[str]
    """Keys of the ungrounded values among its arguments."""
    span_id: str | None = None
    """The execution, once it ended."""
    open: bool = True
    """No result was seen yet."""


class Visible:
    def __init__(self, *, bounded: bool, wanted: Wanted | None = None) -> None:
        self._most = REMEMBERED if bounded else None
        sources, characters = (SOURCES, CHARACTERS) if bounded else (None, None)
        self.context = Context(sources=sources, characters=characters, search=bounded, wanted=wanted)
        self.history = History(bounded=bounded)
        self._take = self.context.add if bounded else self._add
        self.sources: dict[tuple[str, str, str | None, int], Source] = {}
        """Unless bounded: by span, place, call and part, to look for a value inside later."""
        self.calls: dict[str, Call] = {}
        self._suspect: dict[str, Call] = {}
        """Of the calls those with made-up values that may not be answered yet."""
        self.made_up: dict[str, Origin] = {}
        """By key, where the model said an ungrounded value for the first time."""
        self.chosen: dict[str, None] = {}
        """The keys of what the model may have invented, and did: the name of a file that it writes."""
        self.hidden: dict[str, str] = {}
        """Why some context is not visible, each with the id of the span that shows it."""

    def remember_call(self, call_id: str, call: Call) -> None:
        self.calls[call_id] = call
        if self._most is not None and len(self.calls) > self._most:
            del self.calls[next(iter(self.calls))]
        if call.made_up:
            self._suspect[call_id] = call

    def remember_made_up(self, key: str, first: Origin) -> None:
        self.made_up[key] = first
        if self._most is not None and len(self.made_up) > self._most:
            del self.made_up[next(iter(self.made_up))]

    def remember_chosen(self, keys: Iterable[str]) -> None:
        self.chosen.update(dict.fromkeys(keys))
        while self._most is not None and len(self.chosen) > self._most:
            del self.chosen[next(iter(self.chosen))]

    def begun(self, span: Span) -> None:
        """What an agent or workflow was given when it began."""
        operation = span.operation
        if isinstance(operation, (AgentInvocation, Workflow)):
            for message in operation.input:
                if self.history.is_new(f"input {span.span_id}", message.parts):
                    self._see(span, message, f"input of {operation.name}")

    def ended(self, span: Span) -> None:
        """What a span that has ended shows to what comes after it; of an inference, what it was sent."""
        if span.attributes and any(span.attributes.get(name) for name in _CUT):
            self.hidden.setdefault("content was cut, redacted or left out", span.span_id)
        operation = span.operation
        if isinstance(operation, ToolExecution):
            self._execution(span, operation)
        elif isinstance(operation, Inference):
            self._request(span, operation)
        else:
            self._other(span, operation)

    def _request(self, span: Span, inference: Inference) -> None:
        if inference.parameters or inference.previous_response_id or not inference.input:
            self._hide(span, inference)
        for position, part in enumerate(inference.system):
            if self.history.is_new("system", (part,)):
                self._part(span, part, "system prompt", position, asked=True)
        self._see_all(span, self.history.new(inference.input))

    def look_again(self, span: Span) -> bool:
        """Unless thorough: before something is said to stand nowhere, look at what has so far been taken for seen in the last
        request. Gives whether that was needed."""
        replaced = list(self.history.replaced())
        self._see_all(span, replaced)
        return bool(replaced)

    def _see_all(self, span: Span, messages: Iterable[tuple[int, Message]]) -> None:
        live = self._most is not None
        for number, message in messages:
            if live and message.cache is not None and len(message.parts) == 1 and type(message.parts[0]) is Text:
                self._see_live(message, message.parts[0], message.cache)
            else:
                self._see(span, message, _name(number, message))

    def _hide(self, span: Span, inference: Inference) -> None:
        if inference.previous_response_id:
            self.hidden.setdefault("earlier responses are kept by the provider", span.span_id)
        if not inference.input and not inference.system:
            self.hidden.setdefault("the messages of an inference were not recorded", span.span_id)
        if not _HIDING_PARAMETERS.keys().isdisjoint(inference.parameters):
            for name in sorted(_HIDING_PARAMETERS.keys() & inference.parameters.keys()):
                self.hidden.setdefault(_HIDING_PARAMETERS[name], span.span_id)

    def _see(self, span: Span, message: Message, place: str) -> None:
        own = message.role in OWN
        for position, part in enumerate(map(as_said, message.parts)):
            if not (own and self.history.is_own(part)):
                self._part(span, part, place, position, asked=message.role in _ASKED, own=own)

    def _see_live(self, message: Message, part: Text, cache: dict[Any, Any]) -> None:
        """The same for a message of one text, where nobody will ask for its place."""
        own = message.role in OWN
        if own and self.history.is_own(part):
            return
        source = cache.get(_SOURCE)
        if source is None:
            source = cache[_SOURCE] = Source("", message.role, part.content, _NOTHING, message.role in _ASKED)
        if self.made_up:
            echo = frozenset(self.made_up) if own else self._running()
            source = source.echoing(echo) if echo else source
        self.context.add(source)

    def _part(
        self,
        span: Span,
        part: Part,
        place: str,
        position: int,
        *,
        asked: bool = False,
        own: bool = False,
    ) -> None:
        if isinstance(part, ToolResult):
            self._result(span, part)
        elif isinstance(part, Text):
            echo = frozenset(self.made_up) if own else self._running()
            self._add(Source(span.span_id, place, part.content, echo, asked and not echo, part=position))
        elif isinstance(part, ToolCall):
            self._earlier_call(span, part, place, position)
        elif not isinstance(part, Reasoning):
            self.opaque(span, part, place, position)

    def _earlier_call(self, span: Span, call: ToolCall, place: str, position: int) -> None:
        """A call that was made before this run began: what it says was given to this run."""
        if call.id is not None and call.id not in self.calls:
            self.remember_call(call.id, Call(call.name, frozenset()))
        self._add(Source(span.span_id, place, call.arguments, frozenset(self.made_up), part=position))

    def opaque(self, span: Span, part: Part, place: str, position: int = 0) -> None:
        """Parts of which some or all content is not visible. What is visible of them counts."""
        content: JsonValue
        if isinstance(part, (ServerToolCall, ServerToolResult)):
            self.hidden.setdefault("the provider ran a tool itself", span.span_id)
            content = part.server_tool_call_response if isinstance(part, ServerToolResult) else part.server_tool_call
        else:
            modality = getattr(part, "modality", None) or getattr(part, "type", None) or type(part).__name__.casefold()
            self.hidden.setdefault(f"a message holds content of type {modality}", span.span_id)
            content = next((getattr(part, name) for name in ("fields", "uri", "file_id") if hasattr(part, name)), None)
        if content:
            self._add(Source(span.span_id, place, content, self._running(), part=position))

    def _result(self, span: Span, part: ToolResult) -> None:
        call = self.calls.get(part.id) if part.id is not None else None
        if call is None:
            self._add(Source(span.span_id, "result of a tool", part.response, self._running(), call_id=part.id))
            return
        call.open = False
        if type(part.response) is str and self.history.is_known_result(part.id, part.response):
            return
        span_id = call.span_id or span.span_id
        source = Source(span_id, f"result of {call.tool}", part.response, call.made_up, call_id=part.id)
        if not self.history.is_known_result(part.id, source.text):
            self._add(source)

    def _execution(self, span: Span, execution: ToolExecution) -> None:
        call = self.calls.get(execution.call_id) if execution.call_id is not None else self._open_call(execution.name)
        echo = _NOTHING if call is None else call.made_up
        if call is not None:
            call.span_id, call.open = span.span_id, False
        place, content = f"result of {execution.name}", execution.result
        if not execution.has_result:
            if span.failure is None:
                return
            place, content = f"error of {execution.name}", span.failure.message
        source = Source(span.span_id, place, content, echo, call_id=execution.call_id)
        self.history.keep_result(execution.call_id, source.text)
        self._take(source)

    def _open_call(self, tool: str) -> Call | None:
        return next((call for call in reversed(self.calls.values()) if call.open and call.tool == tool), None)

    def _other(self, span: Span, operation: Any) -> None:
        """What other operations brought in. A model may have had a hand in it, so it is no evidence for what is made up."""
        if isinstance(operation, (AgentInvocation, Workflow)):
            self.begun(span)
            for part in (part for message in operation.output for part in message.parts):
                if isinstance(part, Text) and not self.history.is_own(part):
                    self._brought(span, f"answer of {operation.name}", part.content)
        elif isinstance(operation, Retrieval):
            self._brought(span, "retrieved documents", operation.documents)
        elif isinstance(operation, Memory):
            self._brought(span, "memory", operation.records)
        elif isinstance(operation, Custom):
            self._brought(span, f"result of {span.name}", operation.result)

    def _brought(self, span: Span, place: str, content: JsonValue) -> None:
        if content is not None:
            self._add(Source(span.span_id, place, content, frozenset(self.made_up)))

    def _add(self, source: Source) -> None:
        self.context.add(source)
        if self._most is None:
            self.sources.setdefault((source.span_id, source.place, source.call_id, source.part), source)

    def _running(self) -> frozenset[str]:
        """Made-up values of calls that have not been answered yet."""
        if not self._suspect:
            return _NOTHING
        answered = [key for key, call in self._suspect.items() if not call.open or self.calls.get(key) is not call]
        for key in answered:
            del self._suspect[key]
        return _NOTHING.union(*(call.made_up for call in self._suspect.values()))


def _name(number: int, message: Message) -> str:
    return "system prompt" if message.role in ("system", "developer") else f"message {number} ({message.role})"
