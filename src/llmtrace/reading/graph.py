"""The graph of a run: how values and words travel between its steps, and between its spans.

An edge leads from an earlier span to a later one. A path follows a value from a result to the call that uses it, then to the
execution and its result. It also follows words that one agent hands to another, by a prompt or by a tool that runs an agent.
Content that a model was sent, but did not visibly use, is followed only on request (``include_sent``). `Graph.reach` follows
values from step to step.

Law: the number of edges is linear in the values, messages and spans.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Literal, TypeAlias

from llmtrace.model import (
    AgentInvocation,
    FetchResponse,
    Inference,
    JsonValue,
    Message,
    Span,
    Text,
    ToolExecution,
    ToolResult,
    Trace,
    Workflow,
)
from llmtrace.model.value import value
from llmtrace.reading.calls import Call, Step
from llmtrace.reading.ended_run import EndedRun
from llmtrace.reading.lineage import Lineage
from llmtrace.reading.order import moments
from llmtrace.reading.provenance import Origin, ValueUse
from llmtrace.reading.read import read_run

Via: TypeAlias = Literal["value", "given", "same value", "call", "handed", "returned", "told", "vanished"]
"""How the target depends on the source.

* ``value``: the target used a value from the source's result, or a value that the source made up.
* ``given``: the value is in a message, and the source was the first inference that was sent this message.
* ``same value``: the source used the value before. Only between steps.
* ``call``: the source requested this execution.
* ``handed``: the source's words went to another agent, or its call started the target.
* ``returned``: the source ran within the target and answered.
* ``told``: the target was sent the source's words or result.
* ``vanished``: the target was no longer sent messages that the source was sent.
"""

SHORTEST_QUOTE, _MOST_QUOTED = 40, 8
"""Shortest quotation, in characters, that counts as handed on; number of newest texts that are searched for in a prompt."""
_ANY_CALL, _NO_CALL = "*", ""
"""In place of the id of a call: the search reached a span through all its calls, or through none."""
_SPEAKERS = (Inference, FetchResponse, AgentInvocation, Workflow)


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
class Flow:
    """A value that flows from one step to a later one."""

    source: Step
    target: Step
    use: ValueUse
    """The value, as the target used it."""
    origin: Origin | None = None
    """Place of the value in the source; None if the source only used the value before."""


@value
class Reached:
    """A span that a search found."""

    span_id: str
    edge: Edge
    """The first edge that led to the span."""
    distance: int
    """Number of edges from the start."""


class Graph:
    """The steps of a run, with the lineage of every value."""

    def __init__(self, trace: Trace, run: EndedRun, agents: Mapping[str, str]) -> None:
        """``agents``: of the trace, see `agent_names`."""
        self.trace, self.run = trace, run
        self.steps = run.timeline.steps
        for step in self.steps:
            step.agent = agents.get(step.said_in, "")

    @property
    def lineage(self) -> Lineage:
        return self.run.timeline.lineage

    @cached_property
    def uses(self) -> list[ValueUse]:
        """All values that a model put into a call or an answer, in order of time."""
        speakers = (span for span, has_ended in self._moments if has_ended and isinstance(span.operation, _SPEAKERS))
        return [use for span in speakers for use in self.lineage.uses(span.span_id)]

    @cached_property
    def uses_by_step(self) -> Mapping[Step, list[ValueUse]]:
        return {step: uses for step in self.steps if (uses := self.run.uses(step))}

    # -- between steps

    @cached_property
    def flows(self) -> Mapping[Step, list[Flow]]:
        """The values that flow on, by the step that they flow from."""
        flows: dict[Step, list[Flow]] = defaultdict(list)
        last_use: dict[str, Step] = {}
        """The last step that used a value, by the value's key."""
        for step, uses in self.uses_by_step.items():
            for use in uses:
                for flow in self._flows_to(step, use, last_use.get(use.key)):
                    flows[flow.source].append(flow)
            # only now, so that a value that the step uses twice is linked to an earlier step both times
            last_use.update((use.key, step) for use in uses)
        return flows

    def _flows_to(self, step: Step, use: ValueUse, before: Step | None) -> Iterator[Flow]:
        if use.provenance.status == "unknown":
            return
        sources: list[Step] = []
        for origin in (use.provenance.latest, use.provenance.earliest):
            source = self.run.timeline.source_of(origin) if origin is not None else None
            # both origins may be in the same source
            if source is not None and source.position < step.position and not _is_own_words(source) and source not in sources:
                sources.append(source)
                yield Flow(source, step, use, origin)
        if before is not None:
            yield Flow(before, step, use)

    def reach(self, start: Step, keys: Iterable[str] = ()) -> dict[Step, Flow | None]:
        """Return every step that a value of ``start`` flows into, with the flow that reached it first (None for ``start``).

        All values of results are followed. A value that is only used again is followed if it is one of ``keys``, or if it was
        followed on the way.
        """
        reached: dict[Step, Flow | None] = {start: None}
        flowing = set(keys)
        queue = deque((start,))
        while queue:
            for flow in self.flows.get(queue.popleft(), ()):
                if flow.target not in reached and (flow.origin is not None or flow.use.key in flowing):
                    reached[flow.target] = flow
                    flowing.add(flow.use.key)
                    queue.append(flow.target)
        return reached

    def outcome_after(self, step: Step | None) -> Step | None:
        """Return the outcome as seen from ``step``: the last step of the run if ``step`` comes after the outcome."""
        outcome = self.run.outcome
        return outcome if step is None or outcome is None or step.position <= outcome.position else self.run.steps[-1]

    # -- between spans

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        lost = [(turn, turn.previous) for turn in self.run.timeline.turns.values() if turn.is_loss]
        return (
            *self._value_edges(),
            *self._call_edges(),
            *self._message_edges(),
            *(Edge(before, turn.span_id, "vanished", lost=len(turn.lost)) for turn, before in lost if before is not None),
        )

    @cached_property
    def _by_target(self) -> Mapping[str, list[Edge]]:
        return _grouped((edge.target, edge) for edge in self.edges)

    @cached_property
    def _by_source(self) -> Mapping[str, list[Edge]]:
        return _grouped((edge.source, edge) for edge in self.edges)

    def into(self, span_id: str) -> tuple[Edge, ...]:
        """Return the edges of every kind that end at a span."""
        return tuple(self._by_target.get(span_id, ()))

    def upstream(self, span_id: str, *, include_sent: bool = False) -> tuple[Reached, ...]:
        """Return the spans that fed a span, the nearest first, each once.

        ``include_sent``: also follow content that a model was only sent.
        """
        return tuple(self._search(span_id, back=True, include_sent=include_sent))

    def downstream(self, span_id: str, *, include_sent: bool = False) -> tuple[Reached, ...]:
        """Return the spans that a span fed, the nearest first, each once.

        ``include_sent``: also follow content that a model was only sent.
        """
        return tuple(self._search(span_id, back=False, include_sent=include_sent))

    def _search(self, start: str, *, back: bool, include_sent: bool) -> Iterator[Reached]:
        """Search breadth first.

        A wrong value in one call of an inference does not affect its other calls. So the search records through which calls it
        reached a span, and may visit a span once for each call.
        """
        calls: dict[str, set[str | None]] = {start: {_ANY_CALL}}
        queue = deque(((start, 0),))
        edges = self._by_target if back else self._by_source
        while queue:
            span_id, distance = queue.popleft()
            for edge in edges.get(span_id, ()):
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

    @cached_property
    def _moments(self) -> list[tuple[Span, bool]]:
        return moments(self.run.spans)

    def _value_edges(self) -> Iterator[Edge]:
        speakers = {
            span.span_id for span in self.run.spans if isinstance(span.operation, (Inference, AgentInvocation, Workflow))
        }
        for use in self.uses:
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

    def _call_edges(self) -> Iterator[Edge]:
        starts: dict[str, tuple[str, str | None]] = {}
        """For each execution and every span inside it: the inference that requested the execution, and the id of the call."""
        for span_id, call in self.run.timeline.calls.executions():
            if call.asking_span is not None:
                starts[span_id] = call.asking_span, call.id
                yield Edge(call.asking_span, span_id, "call", call_id=call.id)
        holders: dict[str, Span] = {}
        """For each span: the innermost execution, agent or workflow around it."""
        for _, span in self.trace.walk():
            holder = self.trace.parent(span)
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

    def _message_edges(self) -> Iterator[Edge]:
        speakers, timeline = _Speakers(), self.run.timeline
        for span, has_ended in self._moments:
            operation = span.operation
            if isinstance(operation, (AgentInvocation, Workflow)) and not has_ended:
                yield from speakers.edges_to(span, operation.input)
            elif isinstance(operation, Inference) and span.span_id in timeline.turns:
                turn = timeline.turns[span.span_id]
                messages = [message for _, message in turn.new]
                for part in (part for message in messages for part in message.parts):
                    if isinstance(part, ToolResult) and part.id is not None:
                        call = timeline.calls.find(part.id, conversation=turn.conversation)
                        if call is not None and call.execution is not None:
                            yield Edge(call.execution.span_id, span.span_id, "told", call_id=part.id)
                yield from speakers.edges_to(span, messages)
                speakers.add(span, operation.output)


def analyze(trace: Trace) -> Graph:
    """Find the origin of every value of a trace, and its path through the trace, also from one run of it to another."""
    return Graph(trace, read_run(trace.spans, trace), agent_names(trace))


def arguments_of(step: Step) -> JsonValue:
    """Return the arguments of a call; None for a turn of the user and an answer."""
    return step.arguments if isinstance(step, Call) else None


def _is_own_words(step: Step) -> bool:
    """Return True for a call that did not run and that no person answered: its result can only repeat the model's arguments."""
    return isinstance(step, Call) and (step.is_held_back or not (step.executed or step.decision == "answered"))


def agent_names(trace: Trace) -> Mapping[str, str]:
    """Return the name of the innermost agent around each span, by span id. An agent's own span counts as inside it."""
    names: dict[str, str] = {}
    for _, span in trace.walk():
        above = names.get(span.parent_id or "", "")
        names[span.span_id] = span.operation.name if isinstance(span.operation, AgentInvocation) else above
    return names


def _grouped(pairs: Iterable[tuple[str, Edge]]) -> Mapping[str, list[Edge]]:
    groups: dict[str, list[Edge]] = defaultdict(list)
    for span_id, edge in pairs:
        groups[span_id].append(edge)
    return groups


def _call_back(edge: Edge) -> str | None:
    """Return the call of the source through which a search back goes on: its id, `_ANY_CALL`, or `_NO_CALL`."""
    if edge.via == "value":
        return _NO_CALL if _is_invented(edge) else _ANY_CALL
    return edge.call_id if edge.via in ("call", "handed") else None


def _leads_on(edge: Edge, calls: set[str | None], *, is_start: bool, back: bool, include_sent: bool) -> bool:
    """Return True if a search follows an edge. ``calls``: the calls through which it reached the span."""
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
    """Return True if no message or result contained the value before a model wrote it."""
    return edge.use is not None and edge.use.provenance.first is not None


def _answers(span: Span, holder: Span) -> bool:
    """Return True if a span's output may be the answer of its holder.

    This is so for an agent, a workflow, an inference that requested no tool, and an execution directly inside another one.
    """
    operation = span.operation
    if isinstance(operation, Inference):
        return bool(operation.output) and not any(message.tool_calls() for message in operation.output)
    is_nested = isinstance(operation, ToolExecution) and isinstance(holder.operation, ToolExecution)
    return is_nested or isinstance(operation, (AgentInvocation, Workflow))


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
