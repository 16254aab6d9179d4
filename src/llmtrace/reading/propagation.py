"""How values and words travel through a trace: which spans fed a span, and which spans it fed.

Nodes are spans, and edges lead from earlier to later ones. A path follows a value from a result to the call that uses it, then
to the execution and its result. It also follows words that one agent hands to another, by a prompt or by a tool that runs an
agent. Content that a model was sent, but did not visibly use, is followed only on request (``include_sent``).

Law: the number of edges is linear in the values, messages and spans.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from llmtrace.model import AgentInvocation, Inference, Message, Span, Text, ToolExecution, ToolResult, Trace, Workflow
from llmtrace.model.value import value
from llmtrace.reading.lineage import Lineage
from llmtrace.reading.lost_messages import LostMessages
from llmtrace.reading.message_history import Conversations, MessageHistory
from llmtrace.reading.moments import CallJoins, moments
from llmtrace.reading.provenance import Origin, ValueUse

Via: TypeAlias = Literal["value", "given", "call", "handed", "returned", "told", "vanished"]
"""How the target depends on the source.

* ``value``: the target used a value from the source's result, or a value that the source made up.
* ``given``: the value is in a message, and the source was the first inference that was sent this message.
* ``call``: the source requested this execution.
* ``handed``: the source's words went to another agent, or its call started the target.
* ``returned``: the source ran within the target and answered.
* ``told``: the target was sent the source's words or result.
* ``vanished``: the target was no longer sent messages that the source was sent.
"""

SHORTEST_QUOTE, _MOST_QUOTED = 40, 8
"""Shortest quotation, in characters, that counts as handed on; number of newest texts that are searched for in a prompt."""
_ANY_CALL, _NO_CALL = "*", ""


@value
class Edge:
    """A dependency of one span on another."""

    source: str
    """Span id. The same as ``target`` if a value was given in the target's own request."""
    target: str
    via: Via
    use: ValueUse | None = None
    origin: Origin | None = None
    """The place of the value."""
    call_id: str | None = None
    """The call itself, the call that holds the value, or the call that started the target."""
    lost: int = 0
    """Number of messages that vanished."""


@value
class Reached:
    """A span that a search found."""

    span_id: str
    edge: Edge
    """The first edge that led to the span."""
    distance: int
    """Number of edges from the start."""


class Propagation:
    """The edges of a trace."""

    def __init__(self, lineage: LineageResult) -> None:
        lost_messages = lineage.lost_messages
        self.edges: tuple[Edge, ...] = (
            *_value_edges(lineage.trace, lineage.uses),
            *_call_edges(lineage.trace),
            *_message_edges(lineage.moments, lost_messages.conversations),
            *(Edge(loss.before, loss.span_id, "vanished", lost=loss.lost) for loss in lost_messages.losses if loss.before),
        )
        self._into: dict[str, list[Edge]] = defaultdict(list)
        self._out_of: dict[str, list[Edge]] = defaultdict(list)
        for edge in self.edges:
            self._into[edge.target].append(edge)
            self._out_of[edge.source].append(edge)

    def into(self, span_id: str) -> tuple[Edge, ...]:
        """Return the edges of every kind that end at a span."""
        return tuple(self._into.get(span_id, ()))

    def upstream(self, span_id: str, *, include_sent: bool = False) -> tuple[Reached, ...]:
        """Return the spans that fed a span, the nearest first, each once.

        ``include_sent``: also follow content that a model was only sent.
        """
        return tuple(self._reach(span_id, back=True, include_sent=include_sent))

    def downstream(self, span_id: str, *, include_sent: bool = False) -> tuple[Reached, ...]:
        """Return the spans that a span fed, the nearest first, each once.

        ``include_sent``: also follow content that a model was only sent.
        """
        return tuple(self._reach(span_id, back=False, include_sent=include_sent))

    def _reach(self, start: str, *, back: bool, include_sent: bool) -> Iterator[Reached]:
        """Search breadth first.

        A wrong value in one call of an inference does not affect its other calls. So the search records through which calls it
        reached a span, and may visit a span once for each call.
        """
        calls: dict[str, set[str | None]] = {start: {_ANY_CALL}}
        queue = deque(((start, 0),))
        while queue:
            span_id, distance = queue.popleft()
            for edge in self._into.get(span_id, ()) if back else self._out_of.get(span_id, ()):
                if not _leads_on(edge, calls[span_id], is_start=span_id == start, back=back, include_sent=include_sent):
                    continue
                neighbour = edge.source if back else edge.target
                call = _call_back(edge) if back else edge.call_id if edge.via == "value" else _ANY_CALL
                if neighbour not in calls:
                    calls[neighbour] = set()
                    yield Reached(neighbour, edge, distance + 1)
                elif call in calls[neighbour]:
                    continue
                calls[neighbour].add(call)
                queue.append((neighbour, distance + 1))


def _call_back(edge: Edge) -> str | None:
    if edge.via == "value":
        return _NO_CALL if _is_invented(edge) else _ANY_CALL
    return edge.call_id if edge.via in ("call", "handed") else None


def _leads_on(edge: Edge, calls: set[str | None], *, is_start: bool, back: bool, include_sent: bool) -> bool:
    if edge.via == "told":
        return include_sent
    if edge.via in ("given", "vanished"):  # the user's words have no earlier source
        return back and is_start
    if back:  # a value leads back only if the search came through the call that contains it
        return edge.via != "value" or _ANY_CALL in calls or edge.call_id in calls
    if edge.via == "value":  # a value that another inference invented did not come from the start
        return is_start or not _is_invented(edge)
    return _ANY_CALL in calls or edge.call_id in calls


def _is_invented(edge: Edge) -> bool:
    return edge.use is not None and edge.use.provenance.first is not None


@dataclass
class LineageResult:
    """The lineage of a whole trace."""

    trace: Trace
    moments: list[tuple[Span, bool]]
    """The spans in causal order, see `llmtrace.reading.moments`."""
    lineage: Lineage
    lost_messages: LostMessages

    @cached_property
    def uses(self) -> list[ValueUse]:
        """All values that a model put into a call or an answer, in order of time."""
        return [use for span, is_end in self.moments if is_end for use in self.lineage.uses(span.span_id)]

    @cached_property
    def propagation(self) -> Propagation:
        """The path of each value through the trace."""
        return Propagation(self)


def analyze(trace: Trace) -> LineageResult:
    """Find the origin of every value of a trace, and its path through the trace."""
    result = LineageResult(trace, moments(trace.spans), Lineage(trace.spans), LostMessages(trace))
    for span, is_end in result.moments:
        if is_end:
            result.lost_messages.add(span)
            result.lineage.add(span)
        else:
            result.lineage.begin(span)
    return result


def _value_edges(trace: Trace, uses: Iterable[ValueUse]) -> Iterator[Edge]:
    speakers = {span.span_id for span in trace.spans if isinstance(span.operation, (Inference, AgentInvocation, Workflow))}
    for use in uses:
        provenance = use.provenance
        origins = {origin.span_id: origin for origin in (provenance.latest, provenance.earliest) if origin is not None}
        for origin in origins.values():
            # The place is in the request of an inference or the input of an agent, not in a result or an answer.
            is_given = origin.span_id in speakers and origin.call_id is None and not origin.place.startswith("answer ")
            if is_given or origin.span_id != use.span_id:
                yield Edge(origin.span_id, use.span_id, "given" if is_given else "value", use, origin, use.call_id)
        first = provenance.first
        if first is not None and first.span_id != use.span_id:
            yield Edge(first.span_id, use.span_id, "value", use, first, use.call_id)


def _call_edges(trace: Trace) -> Iterator[Edge]:
    joins = CallJoins(trace.spans)
    starts: dict[str, tuple[str, str | None]] = {}
    """For each execution and every span inside it: the inference that requested the execution, and the id of the call."""
    for span in trace.spans:
        pair = joins.find(span)
        if pair is not None:
            starts[span.span_id] = pair[0].span_id, pair[1].id
            yield Edge(pair[0].span_id, span.span_id, "call", call_id=pair[1].id)
    holders: dict[str, Span] = {}
    """For each span: the innermost execution, agent or workflow around it."""
    for _, span in trace.walk():
        holder = trace.parent(span)
        if holder is not None and not isinstance(holder.operation, (ToolExecution, AgentInvocation, Workflow)):
            holder = holders.get(holder.span_id)
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
    """Return True if a span's output may be the answer of its holder.

    This is so for an agent, a workflow, an inference that requested no tool, and an execution directly inside another one.
    """
    operation = span.operation
    if isinstance(operation, Inference):
        return bool(operation.output) and not any(message.tool_calls() for message in operation.output)
    is_nested = isinstance(operation, ToolExecution) and isinstance(holder.operation, ToolExecution)
    return is_nested or isinstance(operation, (AgentInvocation, Workflow))


def _message_edges(spans: Iterable[tuple[Span, bool]], conversations: Conversations) -> Iterator[Edge]:
    speakers = _Speakers()
    executions: dict[str, str] = {}
    histories: dict[str, MessageHistory] = defaultdict(MessageHistory)
    for span, is_end in spans:
        operation = span.operation
        if isinstance(operation, (AgentInvocation, Workflow)) and not is_end:
            yield from speakers.edges_to(span, operation.input)
        elif isinstance(operation, ToolExecution) and operation.call_id is not None:
            executions[operation.call_id] = span.span_id
        elif isinstance(operation, Inference):
            history = histories[conversations.name_of(span, operation)]
            messages = [message for _, message in history.new_messages(operation.input)]
            for part in (part for message in messages for part in message.parts):
                if isinstance(part, ToolResult) and part.id in executions:
                    yield Edge(executions[part.id], span.span_id, "told", call_id=part.id)
            yield from speakers.edges_to(span, messages)
            speakers.add(span, operation.output)


class _Speakers:
    """Finds the inference that answered with a text. The newest texts are also searched for inside longer texts."""

    def __init__(self) -> None:
        self._by_text: dict[str, Span] = {}
        self._newest: deque[tuple[str, Span]] = deque(maxlen=_MOST_QUOTED)

    def add(self, span: Span, output: Iterable[Message]) -> None:
        for text in _texts(output):
            self._by_text[text] = span
            if len(text) >= SHORTEST_QUOTE:
                self._newest.append((text, span))

    def edges_to(self, span: Span, messages: Iterable[Message]) -> Iterator[Edge]:
        """Yield an edge to ``span`` from each inference whose words these messages contain."""
        speakers: dict[str, Span] = {}
        for text in _texts(messages):
            whole = self._by_text.get(text)
            quoted = [speaker for quote, speaker in self._newest if len(quote) < len(text) and quote in text]
            speakers.update({speaker.span_id: speaker for speaker in (quoted if whole is None else [whole])})
        for speaker in speakers.values():
            if speaker.span_id != span.span_id:  # siblings belong to one agent, which is sent its own words again
                yield Edge(speaker.span_id, span.span_id, "told" if speaker.parent_id == span.parent_id else "handed")


def _texts(messages: Iterable[Message]) -> list[str]:
    return [
        part.content.strip()
        for message in messages
        for part in message.parts
        if isinstance(part, Text) and part.content.strip()
    ]
