"""Splits each span into sources: the content that becomes visible to the model during a run.

A source is evidence for a value unless it is an echo, which only repeats a value that the model made up. Echoes are the result
of a call that had the value among its arguments, and all content that appears while such a call is open, such as the prompt of
an agent that the call started. The model's own earlier messages are not sources; if one is sent to another agent, it is no
evidence for the identifiers that nothing held when it was sent.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass, field

from llmtrace import semconv
from llmtrace.model.messages import (
    JsonValue,
    Message,
    Part,
    Reasoning,
    ServerToolResult,
    Text,
    ToolCall,
    ToolDefinition,
    ToolResult,
    refusal_as_text,
)
from llmtrace.model.operations import AgentInvocation, Custom, Inference, Memory, Retrieval, Review, ToolExecution, Workflow
from llmtrace.model.spans import Span
from llmtrace.reading.calls import MOST_CALLS, Call
from llmtrace.reading.message_history import ASSISTANT, SYSTEM, USER_ROLES, Seen, digest, remember
from llmtrace.reading.provenance import REVIEWED
from llmtrace.reading.read_values import IDENTIFIERS, LONGEST_TEXT, read_text, scalars
from llmtrace.reading.source_index import SourceIndex
from llmtrace.reading.sources import NO_ECHO, Source, Speaker, Trust
from llmtrace.reading.turns import Turn
from llmtrace.semconv import SCOPE_NAME

_HIDING_PARAMETERS = {
    "conversation": "the provider keeps the conversation",
    "prompt": "the provider keeps the prompt",
    "web_search_options": "the provider searched the web",
}
_MOST_OPEN = 256
"""Most calls without a result that are kept; beyond it, the oldest are dropped."""
_CUT = (semconv.CONTENT_TRUNCATED, semconv.CONTENT_REDACTED, semconv.CONTENT_LEVEL)


@dataclass(slots=True)
class SpanCalls:
    """What the timeline found out about a span: its turn, and the calls that it speaks of."""

    turn: Turn | None = None
    requested: dict[tuple[int, int], Call] = field(default_factory=dict[tuple[int, int], Call])
    """The calls that a model requested, by the index of the choice and of the part."""
    told: dict[tuple[int, int], Call] = field(default_factory=dict[tuple[int, int], Call])
    """The calls whose results a request contains, by the number of the message, counted from 1, and the index of the part."""
    executed: Call | None = None


NO_CALLS = SpanCalls()
NONE_TOLD: Mapping[int, Call] = {}
NONE_EARLIER: Mapping[str | None, ToolCall] = {}


def is_whole(span: Span) -> bool:
    """Return False if content of the span was cut, redacted or left out."""
    return not (span.attributes and any(span.attributes.get(name) for name in _CUT))


class VisibleContext:
    """Adds every new source of a run to an index."""

    def __init__(self, index: SourceIndex, *, limit: int | None = None) -> None:
        """``limit``: most values and messages that are kept; beyond it, the oldest are dropped, as are the oldest calls."""
        self._index, self._store, self._limit = index, index.add, limit
        self._most_calls = None if limit is None else MOST_CALLS
        self.seen = Seen(limit)
        self.ungrounded: dict[str, None] = {}
        """Keys of all ungrounded values among the arguments of calls."""
        self.hidden: dict[str, str] = {}
        """The reasons why some context is not visible, each with the id of the first span that shows it."""
        self._echoes: dict[Call, frozenset[str]] = {}
        """Keys of the ungrounded values among the arguments of a call."""
        self._trust: dict[Call, Trust] = {}
        """Calls whose tool returned text."""
        self._executions: dict[Call, str] = {}
        """Span ids of the executions so far."""
        self._open_calls: dict[Call, None] = {}
        """The calls of which no result was seen, and after which the model did not continue."""
        self._tools: tuple[ToolDefinition, ...] = ()

    def begin(self, span: Span) -> None:
        """Add the input of an agent or workflow that begins."""
        operation = span.operation
        if isinstance(operation, (AgentInvocation, Workflow)):
            for message in operation.input:
                if self.seen.add("input", span.span_id, *map(digest, message.parts)):
                    self._add_message(span, message, f"input of {operation.name}")

    def end(self, span: Span, calls: SpanCalls) -> None:
        """Add the content that an ended span makes visible to later spans. For an inference, this is its request."""
        if not is_whole(span):
            self.hidden.setdefault("content was cut, redacted or left out", span.span_id)
        operation = span.operation
        if isinstance(operation, Inference):
            self._add_request(span, operation, calls)
        elif isinstance(operation, ToolExecution):
            self._add_execution(span, operation, calls.executed)
        else:
            self._add_other(span)

    def add_output(self, span: Span, output: tuple[Message, ...], calls: SpanCalls) -> None:
        """Record the model's output as its own words."""
        for call in calls.requested.values():
            remember(self._open_calls, call, None, _MOST_OPEN)
        for choice, message in enumerate(output):
            for part in message.parts:
                part = refusal_as_text(part)
                self.seen.add("own", digest(part))
                if calls.turn is not None:
                    self.seen.add("own", calls.turn.conversation, digest(part))
                if not isinstance(part, (Text, ToolCall, Reasoning)):
                    self._add_opaque(span, part, f"answer {choice + 1}")

    def mark_ungrounded(self, call: Call, keys: Iterable[str]) -> None:
        """Record the keys of an ungrounded value among a call's arguments."""
        remember(self._echoes, call, self._echoes.get(call, NO_ECHO).union(keys), self._most_calls)
        for key in keys:
            remember(self.ungrounded, key, None, self._limit)

    def _add_request(self, span: Span, inference: Inference, calls: SpanCalls) -> None:
        self._note_hidden(span, inference)
        for position, part in enumerate(inference.system):
            if self.seen.add("system", digest(part)):
                self._add_part(span, part, "system prompt", position, self._open_echo(), "program")
        turn, earlier = calls.turn, dict[str | None, ToolCall]()
        assert turn is not None
        if self._open_calls and turn.previous is not None:  # the model continues after the calls of its answer before
            self._open_calls = {call: None for call in self._open_calls if call.asking_span != turn.previous}
        for number, message in turn.new:
            if not self.seen.add(message.role, *map(digest, message.parts)):
                continue
            place = "system prompt" if message.role in SYSTEM else f"message {number} ({message.role})"
            if message.role in ASSISTANT:
                earlier.update((call.id, call) for call in message.tool_calls())
            told = {position: call for (at, position), call in calls.told.items() if at == number}
            self._add_message(span, message, place, told, earlier, turn.conversation)
        # Most requests repeat the tools of the last one, which one comparison shows.
        for tool in inference.tools if inference.tools != self._tools else ():
            content = [tool.description, tool.parameters]
            source = Source(span.span_id, f"definition of {tool.name}", content, speaker="program", is_definition=True)
            if self.seen.add(source.place, source.text):
                self._store(source)
        self._tools = inference.tools

    def _note_hidden(self, span: Span, inference: Inference) -> None:
        """Note why some of what a model was sent is not visible."""
        if inference.previous_response_id:
            self.hidden.setdefault("the provider keeps earlier responses", span.span_id)
        if not inference.input:
            self.hidden.setdefault("the messages of an inference were not recorded", span.span_id)
        for name in sorted(_HIDING_PARAMETERS.keys() & inference.parameters.keys()) if inference.parameters else ():
            self.hidden.setdefault(_HIDING_PARAMETERS[name], span.span_id)

    def _add_message(
        self,
        span: Span,
        message: Message,
        place: str,
        told: Mapping[int, Call] = NONE_TOLD,
        earlier: Mapping[str | None, ToolCall] = NONE_EARLIER,
        conversation: int | None = None,
    ) -> None:
        """``told``: the calls whose results the message contains, by the index of the part. ``earlier``: by id, the calls in
        messages before it. ``conversation``: the one that the message belongs to, if it is known."""
        is_assistant = message.role in ASSISTANT
        speaker: Speaker = "program" if message.role in SYSTEM else "user" if message.role in USER_ROLES else "tool"
        # While a call is open, a "user" message may be a prompt that the model wrote for another agent.
        asking = [call for call in self._open_calls if call.id is not None] if speaker == "user" else []
        if is_assistant or asking:
            speaker = "model"
        for call in asking:
            self._mark_made_up(call)
        echo = self.ungrounded if is_assistant else self._open_echo()
        for position, part in enumerate(map(refusal_as_text, message.parts)):
            if isinstance(part, ToolResult):
                self._add_result(span, part, echo, told.get(position), earlier.get(part.id))
            elif not self.seen.has("own", digest(part)):
                self._add_part(span, part, place, position, echo, speaker)
            elif not is_assistant and isinstance(part, Text):
                if self.seen.has("own", conversation, digest(part)):  # the user repeats what the model said
                    self._add_part(span, part, place, position, echo, speaker)
                else:  # one agent's answer is another's message
                    echo_of_answer = self._made_up_in(part.content).union(self._open_echo())
                    self._add_part(span, part, place, position, echo_of_answer, "model")

    def _mark_made_up(self, call: Call) -> None:
        """Record the identifiers inside the texts of a call's arguments that nothing visible contains."""
        texts = [value for _, value in scalars(call.arguments) if isinstance(value, str)]
        keys = NO_ECHO.union(*map(self._made_up_in, texts)) - self._echoes.get(call, NO_ECHO)
        if keys:
            self.mark_ungrounded(call, keys)

    def _made_up_in(self, text: str) -> frozenset[str]:
        """Return the keys of the identifiers in the model's words that nothing visible contains, and of their missing parts."""
        readings = [reading.value for reading in read_text(text[:LONGEST_TEXT]) if reading.value.kind in IDENTIFIERS]
        found = [(value.keys[0], part) for value in readings if (part := self._index.missing_part(value))]
        return frozenset(key for keys in found for key in keys)

    def _add_result(
        self, span: Span, part: ToolResult, echo: Container[str], call: Call | None, requested: ToolCall | None
    ) -> None:
        """Add a tool's result from a message. ``requested``: the call as the same request shows it."""
        brought_by, tool, query = span.span_id, "a tool", None
        if call is not None:
            self._open_calls.pop(call, None)
            brought_by = self._executions.get(call, brought_by)
            tool, query, echo = call.tool, call.arguments, self._echoes.get(call, NO_ECHO)
        elif requested is not None and part.id is not None:
            tool, query, echo = requested.name, requested.arguments, NO_ECHO
        trust: Trust = "fields" if call is None else self._trust.get(call) or _declared(call.definition) or "fields"
        source = Source(brought_by, f"result of {tool}", part.response, echo, part.id, query=query, trust=trust)
        # The execution's span may have shown the same result already.
        if part.id is None or not self.seen.has("result", part.id, source.text):
            self._store(source)

    def _add_part(self, span: Span, part: Part, place: str, position: int, echo: Container[str], speaker: Speaker) -> None:
        if isinstance(part, Text):
            self._store(Source(span.span_id, place, part.content, echo, part=position, speaker=speaker))
        elif isinstance(part, ToolCall):  # requested before this run began, so it is part of the input
            self._store(Source(span.span_id, place, part.arguments, self.ungrounded, part=position, speaker="model"))
        elif not isinstance(part, Reasoning):
            self._add_opaque(span, part, place, position, speaker)

    def _add_opaque(self, span: Span, part: Part, place: str, position: int = 0, speaker: Speaker = "model") -> None:
        """Add a part whose content is only partly visible. Its fields become a source, except ``content``, such as an image."""
        name = re.sub("(?<=[a-z])(?=[A-Z])", " ", type(part).__name__).lower()
        kind = getattr(part, "modality", None) or getattr(part, "type", None) or name
        self.hidden.setdefault(f"a message holds content of type {kind}", span.span_id)
        fields = {name: content for name, content in asdict(part).items() if name != "content"}
        speaker = "tool" if isinstance(part, ServerToolResult) else speaker
        self._store(Source(span.span_id, place, fields, self._open_echo(), part=position, speaker=speaker))

    def _add_execution(self, span: Span, execution: ToolExecution, call: Call | None) -> None:
        if call is not None:
            self._open_calls.pop(call, None)
            remember(self._executions, call, span.span_id, self._most_calls)
        if not execution.has_result and span.failure is None:
            return
        error = None if execution.has_result or span.failure is None else span.failure.message
        place = f"{'result' if error is None else 'error'} of {execution.name}"
        content, echo = (
            execution.result if error is None else error,
            NO_ECHO if call is None else self._echoes.get(call, NO_ECHO),
        )
        trust = _trust(span, execution)
        source = Source(span.span_id, place, content, echo, execution.call_id, query=execution.arguments, trust=trust)
        if call is not None and trust != "fields":
            remember(self._trust, call, trust, self._most_calls)
        if execution.call_id is not None:
            self.seen.add("result", execution.call_id, source.text)
        self._store(source)

    def _add_other(self, span: Span) -> None:
        """Add the content of other operations.

        The model may have influenced it, so this content is not evidence for values that the model made up.
        """
        operation, brought = span.operation, dict[str, JsonValue]()
        speaker: Speaker = "tool"
        if isinstance(operation, (AgentInvocation, Workflow)):
            self.begin(span)
            texts = [part for message in operation.output for part in message.parts if isinstance(part, Text)]
            text = "\n".join([text.content for text in texts if not self.seen.has("own", digest(text))])
            brought, speaker = {f"answer of {operation.name}": text or None}, "model"
        elif isinstance(operation, Retrieval):
            brought = {"retrieved documents": operation.documents}
        elif isinstance(operation, Memory):
            brought = {"memory": operation.records}
        elif isinstance(operation, Review):
            brought, speaker = {REVIEWED: operation.value}, "user"
        elif isinstance(operation, Custom):
            brought = {f"result of {span.name}": operation.result}
        for place, content in brought.items():
            if content is not None:
                self._store(Source(span.span_id, place, content, self.ungrounded, speaker=speaker))

    def _open_echo(self) -> frozenset[str]:
        """Return the keys of the ungrounded values of open calls."""
        if not self._echoes:
            return NO_ECHO
        return NO_ECHO.union(*(self._echoes.get(call, NO_ECHO) for call in self._open_calls))


def _trust(span: Span, execution: ToolExecution) -> Trust:
    """Return what of a result is trusted: as the tool declares it; else nothing, if it returned text and llmtrace saw it run.

    A text is a text, also if it looks like JSON: whoever wrote a page may have given it that form. What other writers recorded
    is text in any case, so that there the form counts.
    """
    declared = _declared(execution.definition)
    if declared is not None:
        return declared
    return "none" if isinstance(execution.result, str) and span.scope.name == SCOPE_NAME else "fields"


def _declared(definition: ToolDefinition | None) -> Trust | None:
    """Return what of its results a tool declares to be trusted; None if it declares nothing."""
    if definition is None:
        return None
    if definition.trusted is not None:
        return "all" if definition.trusted else "none"
    output = definition.output
    if output is None:
        return None
    return "none" if isinstance(output, dict) and output.get("type") == "string" else "fields"
