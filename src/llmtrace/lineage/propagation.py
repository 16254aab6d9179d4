"""How what was said and found travels through a trace: which spans fed a span, and which it infected.

Nodes are spans, edges lead from earlier to later. A path follows the values, from a result to the call in which one is used,
from there to the execution and its own result; and the words that one agent hands to another, be it by a prompt, by a tool
that runs an agent, or by an MCP server. That a model was merely sent a result is an edge too, yet no path goes on over it
unless asked to. Law: the number of edges is linear in the values, messages and spans; the same trace gives the same edges.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from llmtrace.lineage.conversations import Conversations
from llmtrace.lineage.history import History
from llmtrace.lineage.memory import Memory
from llmtrace.lineage.provenance import Origin, Use
from llmtrace.lineage.tracing import Lineage
from llmtrace.model import (
    AgentInvocation,
    FetchResponse,
    Inference,
    Message,
    Span,
    Text,
    ToolExecution,
    ToolResult,
    Trace,
    Workflow,
)
from llmtrace.model.value import value

Via: TypeAlias = Literal["value", "given", "call", "handed", "returned", "told", "vanished"]
"""``value``: a value out of the source's result stands in what the target said, or one that the source made up. ``given``: it
stands in a message that the source was sent first. ``call``: the source asked for this execution. ``handed``: the source's
words went to another agent, or its call started what the target is part of. ``returned``: the source ran within the target, and
its answer may be in the target's. ``told``: the target was sent the source's words or result. ``vanished``: it was no longer
sent what the source was."""

SHORTEST_QUOTE = 40
"""Characters from which on words that stand inside another prompt count as handed on."""
_RECENT = 8
_EVERY, _NONE = "*", ""


@value
class Edge:
    source: str
    """Id of the span that it leads from; the same as ``target`` where a value was given in the very request."""
    target: str
    via: Via
    use: Use | None = None
    """The value, as the target used it."""
    origin: Origin | None = None
    """Where it stands."""
    call_id: str | None = None
    """Of a call, of a value in one, and of what a call started: which."""
    lost: int = 0
    """Of what vanished: how many messages."""


@value
class Reached:
    span_id: str
    edge: Edge
    """The one by which it is reached first."""
    distance: int
    """Edges on the way."""


class Propagation:
    """The edges of a trace. ``uses``, ``memory``: what a thorough `Lineage` and a `Memory` say of it."""

    def __init__(self, trace: Trace, uses: Iterable[Use], memory: Memory) -> None:
        self.edges: tuple[Edge, ...] = (
            *_of_values(trace, uses),
            *_of_calls(trace),
            *_of_messages(trace, memory.conversations),
            *(Edge(loss.before, loss.span_id, "vanished", lost=loss.lost) for loss in memory.losses if loss.before),
        )
        self._into: dict[str, list[Edge]] = defaultdict(list)
        self._out_of: dict[str, list[Edge]] = defaultdict(list)
        for edge in self.edges:
            self._into[edge.target].append(edge)
            self._out_of[edge.source].append(edge)

    def into(self, span_id: str) -> tuple[Edge, ...]:
        """The edges that lead straight to a span, of every kind."""
        return tuple(self._into.get(span_id, ()))

    def out_of(self, span_id: str) -> tuple[Edge, ...]:
        """The edges that lead straight from a span, of every kind."""
        return tuple(self._out_of.get(span_id, ()))

    def upstream(self, span_id: str, *, told: bool = False) -> tuple[Reached, ...]:
        """What fed a span, the nearest first: each span once. ``told``: also what the models were merely sent."""
        return tuple(self._reach(span_id, back=True, told=told))

    def downstream(self, span_id: str, *, told: bool = False) -> tuple[Reached, ...]:
        """What a span infected, the nearest first: each span once. ``told``: also where it was merely sent to a model."""
        return tuple(self._reach(span_id, back=False, told=told))

    def _reach(self, start: str, *, back: bool, told: bool) -> Iterator[Reached]:
        """Breadth first. A wrong value in one call of an inference says nothing of its other calls: so with each span goes
        through which of its calls the path came (None for its words)."""
        ways: dict[str, set[str | None]] = {start: {_EVERY}}
        queue = deque(((start, 0),))
        while queue:
            at, distance = queue.popleft()
            for edge in self._into.get(at, ()) if back else self._out_of.get(at, ()):
                if not _leads_on(edge, ways[at], first=at == start, back=back, told=told):
                    continue
                other = edge.source if back else edge.target
                way = _way_back(edge) if back else _way_on(edge)
                if other not in ways:
                    ways[other] = set()
                    yield Reached(other, edge, distance + 1)
                elif way in ways[other]:
                    continue
                ways[other].add(way)
                queue.append((other, distance + 1))


def _way_on(edge: Edge) -> str | None:
    return edge.call_id if edge.via == "value" else _EVERY


def _way_back(edge: Edge) -> str | None:
    if edge.via == "value":
        return _NONE if _is_made_up(edge) else _EVERY
    return edge.call_id if edge.via in ("call", "handed") else None


def _leads_on(edge: Edge, ways: set[str | None], *, first: bool, back: bool, told: bool) -> bool:
    if edge.via == "told":
        return told
    if edge.via in ("given", "vanished"):  # the end of every way back
        return back and first
    if back:
        return edge.via != "value" or _EVERY in ways or edge.call_id in ways
    if edge.via == "value":  # what another model made up is not infected
        return first or not _is_made_up(edge)
    return _EVERY in ways or edge.call_id in ways


def _is_made_up(edge: Edge) -> bool:
    return edge.use is not None and edge.use.provenance.first is not None


@dataclass(slots=True)
class Traced:
    """The lineage of a whole trace."""

    lineage: Lineage
    uses: list[Use]
    """Every value that a model said, in order of time."""
    propagation: Propagation


def traced(trace: Trace) -> Traced:
    """Where every value of a trace came from, and how it travelled."""
    lineage, memory = Lineage(spans=trace.spans), Memory(trace)
    uses: list[Use] = []
    for span, ended in moments(trace):
        if not ended:
            lineage.begun(span)
            continue
        if isinstance(span.operation, Inference):
            memory.sent(span, span.operation)
        elif isinstance(span.operation, ToolExecution):
            memory.tasks.executed(span.operation)
        uses += lineage.add(span)
    return Traced(lineage, uses, Propagation(trace, uses, memory))


def moments(trace: Trace) -> list[tuple[Span, bool]]:
    """Every span at its begin, if it was given something then, and at its end (True), in order of time."""
    found = [((span.start, 0, span.sequence or 0), span, False) for span in trace.spans if _is_given(span)]
    found += [((span.end, 1, span.sequence or 0), span, True) for span in trace.spans if span.end is not None]
    found.sort(key=lambda moment: moment[0])
    return [(span, ended) for _, span, ended in found]


def _is_given(span: Span) -> bool:
    return isinstance(span.operation, (AgentInvocation, Workflow)) and bool(span.operation.input)


# -- values


def _of_values(trace: Trace, uses: Iterable[Use]) -> Iterator[Edge]:
    said = {span.span_id for span in trace.spans if isinstance(span.operation, (Inference, AgentInvocation, Workflow))}
    for use in uses:
        provenance, made = use.provenance, set[str]()
        for origin in (provenance.earliest, provenance.latest, *provenance.inputs):
            if origin is not None and origin.span_id not in made:
                made.add(origin.span_id)
                given = origin.span_id in said and origin.call_id is None and not origin.place.startswith("answer ")
                if given or origin.span_id != use.span_id:
                    yield Edge(origin.span_id, use.span_id, "given" if given else "value", use, origin, use.call_id)
        first = provenance.first
        if first is not None and first.span_id != use.span_id:
            yield Edge(first.span_id, use.span_id, "value", use, first, use.call_id)


# -- calls, and what runs within them


_HOLDERS = (ToolExecution, AgentInvocation, Workflow)


def _of_calls(trace: Trace) -> Iterator[Edge]:
    asked: dict[str, str] = {}
    for span in trace.spans:
        if isinstance(span.operation, (Inference, FetchResponse)):
            for message in span.operation.output:
                asked.update((call.id, span.span_id) for call in message.tool_calls() if call.id is not None)
    starts: dict[str, tuple[str, str]] = {}
    """For each execution, and all that runs within it, who asked for it by which call."""
    for span in trace.spans:
        operation = span.operation
        if isinstance(operation, ToolExecution) and operation.call_id is not None and operation.call_id in asked:
            starts[span.span_id] = asked[operation.call_id], operation.call_id
            yield Edge(asked[operation.call_id], span.span_id, "call", call_id=operation.call_id)
    yield from _of_nesting(trace, starts)


def _of_nesting(trace: Trace, starts: dict[str, tuple[str, str]]) -> Iterator[Edge]:
    """What runs within an execution was started by who asked for that; what it answers becomes part of the result."""
    holders: dict[str, Span] = {}
    """For each span the innermost execution, agent or workflow around it."""
    for _, span in trace.walk():
        parent = trace.parent(span)
        if parent is None:
            continue
        holder = parent if isinstance(parent.operation, _HOLDERS) else holders.get(parent.span_id)
        if holder is None:
            continue
        holders[span.span_id] = holder
        start = starts.get(holder.span_id)
        if start is not None and span.span_id not in starts:
            starts[span.span_id] = start
            yield Edge(start[0], span.span_id, "handed", call_id=start[1])
        if _answers(span, holder):
            yield Edge(span.span_id, holder.span_id, "returned")


def _answers(span: Span, holder: Span) -> bool:
    """An agent, a workflow, an inference that gave words and asked for nothing, or within an execution another one."""
    operation = span.operation
    if isinstance(operation, Inference):
        return bool(operation.output) and not any(message.tool_calls() for message in operation.output)
    if isinstance(operation, ToolExecution):
        return isinstance(holder.operation, ToolExecution)
    return isinstance(operation, (AgentInvocation, Workflow))


# -- messages


def _of_messages(trace: Trace, conversations: Conversations) -> Iterator[Edge]:
    speakers = _Speakers()
    executions: dict[str, str] = {}
    histories: dict[str, History] = {}
    for span, ended in moments(trace):
        operation = span.operation
        if isinstance(operation, (AgentInvocation, Workflow)) and not ended:
            texts = (part.content for message in operation.input for part in message.parts if isinstance(part, Text))
            yield from _handed(speakers, texts, span)
        elif isinstance(operation, ToolExecution) and operation.call_id is not None:
            executions[operation.call_id] = span.span_id
        elif isinstance(operation, Inference):
            conversation = conversations.of(span, operation)
            history = histories.setdefault(conversation.name, History(bounded=False))
            told = [message for _, message in history.new(operation.input, conversation.before)]
            yield from _told(told, executions, span)
            texts = (part.content for message in told for part in message.parts if isinstance(part, Text))
            yield from _handed(speakers, texts, span)
            speakers.said(span, operation.output)


def _told(messages: Iterable[Message], executions: dict[str, str], span: Span) -> Iterator[Edge]:
    for part in (part for message in messages for part in message.parts):
        if isinstance(part, ToolResult) and part.id in executions:
            yield Edge(executions[part.id], span.span_id, "told", call_id=part.id)


def _handed(speakers: _Speakers, texts: Iterable[str], span: Span) -> Iterator[Edge]:
    for speaker in {speaker.span_id: speaker for text in texts for speaker in speakers.of(text)}.values():
        if speaker.span_id != span.span_id:
            yield Edge(speaker.span_id, span.span_id, "told" if speaker.parent_id == span.parent_id else "handed")


class _Speakers:
    """Who said which words; the last ones are looked for inside longer texts too."""

    def __init__(self) -> None:
        self._by_text: dict[str, Span] = {}
        self._recent: deque[tuple[str, Span]] = deque(maxlen=_RECENT)

    def said(self, span: Span, output: Iterable[Message]) -> None:
        for part in (part for message in output for part in message.parts):
            text = part.content.strip() if isinstance(part, Text) else ""
            if text:
                self._by_text[text] = span
                if len(text) >= SHORTEST_QUOTE:
                    self._recent.append((text, span))

    def of(self, text: str) -> list[Span]:
        whole = self._by_text.get(text.strip())
        if whole is not None:
            return [whole]
        return [span for words, span in self._recent if len(words) < len(text) and words in text]
