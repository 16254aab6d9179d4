"""A graph of how values flow through a trace: from messages, results and arguments into later calls and answers.

Nodes are the user's turns, the calls and the answers. An edge means that a value of the later node was in the result or the
text of the earlier one, or that the earlier one used it, too. Law: edges lead from earlier to later nodes only, and their
number is linear in the number of values.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Literal, TypeAlias, TypeVar

from llmtrace.model import (
    AgentInvocation,
    FetchResponse,
    Inference,
    JsonValue,
    Message,
    Span,
    Text,
    ToolCall,
    ToolExecution,
    Trace,
    Workflow,
    double_counted_spans,
    reads_as_data,
    refusal_as_text,
)
from llmtrace.reading import Origin, ValueUse, analyze
from llmtrace.reading.answer_endings import ending_of
from llmtrace.reading.call_log import Call, CallLog

Via: TypeAlias = Literal["result", "same value"]

MOST_LATER = 200
"""Number of calls after a failed one that are searched for one that did its job."""
_MOST_ABOVE = 16
"""Number of spans around an inference that are searched for the choice that the program took."""


@dataclass(eq=False, slots=True)
class Node:
    """A turn of the user, a call, or an answer."""

    kind: Literal["user", "call", "answer"]
    span_id: str
    call: Call | None = None
    text: str = ""
    """The text of a turn or an answer; for a call, the text that the model wrote along with it."""
    uses: list[ValueUse] = field(default_factory=list)
    earlier: list[Edge] = field(default_factory=list)
    later: list[Edge] = field(default_factory=list)
    position: int = 0
    """Position among the nodes, in order of time."""
    turn: int = 0
    agent: str = ""
    """Name of the innermost agent around the span; for an agent's own span, its own name."""
    parent_id: str | None = None
    alternative: bool = False
    """True if the model gave several choices and the program did not take this one."""

    @property
    def tool(self) -> str:
        return self.call.tool if self.call is not None else ""

    @property
    def name(self) -> str:
        """The tool's name for a title, which must be free of content. A name of no known tool is the model's own text."""
        is_known = self.call is not None and (self.call.offered is not False or self.call.failed is False)
        return self.tool if is_known else "an unknown tool"

    @property
    def arguments(self) -> JsonValue:
        return self.call.arguments if self.call is not None else None

    @property
    def place(self) -> str:
        """Id of the span to look at: for a call, its execution if that was recorded."""
        return self.call.span_id if self.call is not None else self.span_id

    @property
    def is_from_history(self) -> bool:
        """True for a call that is known only from a later request: neither the model call that asked for it nor its execution
        was recorded."""
        return self.call is not None and self.call.asking_span is None and self.call.execution is None

    @property
    def title(self) -> str:
        return {"answer": "answer", "user": "the user"}.get(self.kind, self.tool)


@dataclass(eq=False, slots=True)
class CallNode(Node):
    call: Call


AnyNode = TypeVar("AnyNode", bound=Node)


@dataclass(eq=False, slots=True)
class Edge:
    source: Node
    target: Node
    use: ValueUse
    """The value that flows, as the target used it."""
    via: Via
    origin: Origin | None = None
    """Place of the value in the source."""


class Flow:
    """The nodes of a trace in order of time, with the lineage of every value."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.nodes: list[Node] = []
        self.analysis = analyze(trace)
        self.lineage = self.analysis.lineage
        self.log = CallLog(bounded=False)
        self.answer_spans: dict[str, list[Node]] = {}
        """Calls and answers that a model wrote, by the id of the inference's span."""
        self._by_call: dict[Call, CallNode] = {}
        self._by_message: dict[tuple[str, str], Node] = {}
        self._last_use: dict[str, Node] = {}
        """The last node that used a value, by the value's key."""
        self._uses: dict[str, list[ValueUse]] = defaultdict(list)
        """The values that a model wrote, by span id."""
        for use in self.analysis.uses:
            self._uses[use.span_id].append(use)
        self._agents = _agents(trace)
        for span, has_ended in self.analysis.moments:
            if has_ended:
                self._add(span)
        self._by_execution = {node.place: node for node in self._by_call.values() if node.call.execution is not None}
        self._link_all()
        taken_nodes = [node for node in self.nodes if not node.alternative]
        answers = [node for node in taken_nodes if node.kind == "answer"]
        calls = [node for node in taken_nodes if node.kind == "call"]
        self.outcome: Node | None = answers[-1] if answers else calls[-1] if calls else None
        """The last answer; the last call if there is no answer."""
        self._last = taken_nodes[-1] if taken_nodes else None

    @cached_property
    def calls(self) -> list[CallNode]:
        """The calls that the program took, in order of time."""
        return [node for node in self.nodes if isinstance(node, CallNode) and not node.alternative]

    @cached_property
    def answers(self) -> list[Node]:
        return [node for node in self.nodes if node.kind == "answer" and not node.alternative]

    def outcome_after(self, node: Node | None) -> Node | None:
        """Return the outcome as seen from ``node``: the last node of the run if ``node`` comes after the outcome."""
        if node is None or self.outcome is None or node.position <= self.outcome.position:
            return self.outcome
        return self._last

    def node_at(self, span: Span, call_id: str | None = None) -> Node | None:
        """Return the node of a span: for an execution, its call; for an inference, the call with this id or its first node."""
        if isinstance(span.operation, ToolExecution):
            return self._by_execution.get(span.span_id)
        nodes = self.answer_spans.get(span.span_id, [])
        of_call = (node for node in nodes if call_id is not None and node.call is not None and node.call.id == call_id)
        return next(of_call, nodes[0] if nodes else None)

    def is_known_at(self, use: ValueUse, node: Node) -> bool:
        """Return True if the value of a use was visible to the model before ``node``."""
        origin = use.provenance.earliest
        source = self._source(origin) if origin is not None else None
        return origin is not None and (source is None or source.position < node.position)

    def reach(self, start: Node, keys: Iterable[str] = ()) -> dict[Node, Edge | None]:
        """Return every node that a value of ``start`` flows into, with the edge that reached it first (None for ``start``).

        All values of results are followed. A value that is only used again is followed if it is one of ``keys``, or if it was
        followed on the way.
        """
        reached: dict[Node, Edge | None] = {start: None}
        flowing = set(keys)
        queue = deque((start,))
        while queue:
            for edge in queue.popleft().later:
                if edge.target not in reached and (edge.via == "result" or edge.use.key in flowing):
                    reached[edge.target] = edge
                    flowing.add(edge.use.key)
                    queue.append(edge.target)
        return reached

    @cached_property
    def inferences(self) -> tuple[Span, ...]:
        """Model calls that ended, in order of time, each counted once."""
        elsewhere = double_counted_spans(self.trace)  # two instrumentations may have recorded the same call
        spans = [
            span
            for span in self.trace.spans
            if isinstance(span.operation, (Inference, FetchResponse)) and span.end is not None
            if span.span_id not in elsewhere
        ]
        return tuple(sorted(spans, key=lambda span: (span.end or 0, span.sequence or 0)))

    @cached_property
    def final_inference(self) -> Span | None:
        """The model call that produced the run's outcome.

        A call that ends or fails after the last answer, such as one for a title or a guard, is not the final one, unless tools
        were called after that answer.
        """
        outcome = self.outcome
        answers = {span.span_id: span for span in self.inferences}
        if outcome is not None and outcome.kind == "answer" and self._is_last(outcome):
            # the answer that the root returned; a later one may be for a title or a guard
            root_answer = _answer_of(self.trace.root)
            same = (node.span_id for node in reversed(self.answers) if root_answer and node.text.strip() == root_answer)
            return answers.get(next(same, outcome.span_id))
        return self.inferences[-1] if self.inferences else None

    def _is_last(self, outcome: Node) -> bool:
        return not any(node.position > outcome.position for node in self.calls[-1:])

    @cached_property
    def is_answered(self) -> bool:
        """True if the run ended with an answer in words."""
        final, outcome = self.final_inference, self.outcome
        if outcome is None or outcome.kind != "answer" or not self._is_last(outcome) or self.trace.health == "running":
            return False
        return final is None or (final.failure is None and ending_of(final) not in ("empty", "missing", "filtered", "left"))

    @property
    def has_one_task(self) -> bool:
        """True if the user wrote at most one message.

        In a longer conversation the user has seen each failure and could react, so a failure there is part of the conversation.
        """
        return self.log.turn <= 1

    @cached_property
    def calls_by_tool(self) -> dict[str, list[CallNode]]:
        calls: dict[str, list[CallNode]] = defaultdict(list)
        for node in self.calls:
            calls[node.tool].append(node)
        return calls

    def later_calls(self, node: CallNode, tool: str | None = None) -> Iterator[CallNode]:
        """Yield calls that were requested when the model could know the outcome of this one, so none from the same answer.

        ``tool``: only calls of this tool. At most the next `MOST_LATER` calls are searched, so that a run in which everything
        fails does not take time by the square of its length.
        """
        calls = self.calls if tool is None else self.calls_by_tool[tool]
        first = bisect_right(calls, node.position, key=lambda call: call.position)
        for later in calls[first : first + MOST_LATER]:
            if later.span_id != node.span_id or node.is_from_history:
                yield later

    def feeds_answer(self, node: Node) -> bool:
        """Return True if the run's outcome contains a value of the node's result."""
        return any(edge.via == "result" and edge.target is self.outcome for edge in node.later)

    def _add(self, span: Span) -> None:
        operation = span.operation
        calls_before = len(self.log.calls)
        self.log.add(span)
        if isinstance(operation, Inference):
            self._add_request(span, self.log.calls[calls_before:])
        elif isinstance(operation, ToolExecution):
            for call in self.log.calls[calls_before:]:
                self._by_call[call] = self._append(CallNode("call", span.span_id, call), span)
        uses = self._uses[span.span_id]
        if isinstance(operation, (Inference, FetchResponse)):
            taken_choice = _taken_choice(self.trace, span, operation.output)
            by_part: dict[tuple[int, int], list[ValueUse]] = defaultdict(list)
            for use in uses:
                by_part[use.choice, use.text_part].append(use)
            for choice, message in enumerate(operation.output):
                parts = [by_part[choice, position] for position in range(len(message.parts))]
                self._add_message(span, message, parts, list(self.log.requested), alternative=choice != taken_choice)
        elif isinstance(operation, (AgentInvocation, Workflow)) and uses:
            text = "\n".join(message.text() for message in operation.output)
            if not (reads_as_data(text) and self._ends_in_words()):
                answer = self._append(Node("answer", span.span_id, text=text), span)
                answer.uses.extend(uses)

    def _add_request(self, span: Span, new_calls: Sequence[Call]) -> None:
        for call in new_calls:
            if call.asking_span is None:  # known only from this request's history
                self._by_call[call] = self._append(CallNode("call", span.span_id, call), span)
        for number, message in self.log.new_turns:
            turn = self._append(Node("user", span.span_id, text=message.text()), span)
            self._by_message[span.span_id, f"message {number} ({message.role})"] = turn

    def _add_message(
        self, span: Span, message: Message, uses: Sequence[list[ValueUse]], requested: list[Call], *, alternative: bool
    ) -> None:
        """``uses``: for each part, the values in it. ``requested``: the calls that only this span asked for."""
        spoken = [refusal_as_text(part) for part in message.parts]
        words = "\n".join(part.content for part in spoken if isinstance(part, Text) and part.content.strip())
        has_call = False
        for part, values in zip(spoken, uses, strict=True):
            if not isinstance(part, ToolCall):
                continue
            has_call = True
            call = next((call for call in requested if call.tool == part.name and call.id == part.id), None)
            if call is None:
                continue
            requested.remove(call)
            node = self._by_call.get(call)
            if node is None:
                node = self._by_call[call] = self._append(CallNode("call", span.span_id, call), span)
            call.alternative = node.alternative = alternative
            node.span_id, node.text = span.span_id, words
            node.uses.extend(values)
            self.answer_spans.setdefault(span.span_id, []).append(node)
        if words and not has_call:
            answer = self._append(Node("answer", span.span_id, text=words, alternative=alternative), span)
            answer.uses.extend(use for values in uses for use in values)
            self.answer_spans.setdefault(span.span_id, []).append(answer)

    def _append(self, node: AnyNode, span: Span) -> AnyNode:
        node.position, node.turn = len(self.nodes), self.log.turn
        node.agent, node.parent_id = self._agents.get(span.span_id, ""), span.parent_id
        self.nodes.append(node)
        return node

    def _ends_in_words(self) -> bool:
        """Return True if the last node, apart from the user's turns, is an answer in words. Data that an agent or workflow
        outputs after such an answer was composed by the program, and is not an answer."""
        last = next((node for node in reversed(self.nodes) if node.kind != "user"), None)
        return last is not None and last.kind == "answer" and not reads_as_data(last.text)

    def _link_all(self) -> None:
        for node in self.nodes:
            for use in node.uses:
                self._link(node, use)
            # only now, so that a value that the node uses twice is linked to an earlier node both times
            for use in node.uses:
                self._last_use[use.key] = node

    def _link(self, node: Node, use: ValueUse) -> None:
        provenance = use.provenance
        if provenance.status == "unknown":
            return
        for origin in (provenance.latest, provenance.earliest):
            source = self._source(origin) if origin is not None else None
            if source is None or source.position >= node.position or _is_own_words(source.call):
                continue
            # the latest and the earliest origin may be in the same source
            if not any(edge.source is source and edge.use.key == use.key for edge in node.earlier[-2:]):
                _join(Edge(source, node, use, "result", origin))
        before = self._last_use.get(use.key)
        if before is not None and before is not node:
            _join(Edge(before, node, use, "same value"))

    def _source(self, origin: Origin) -> Node | None:
        if origin.call_id is not None:
            call = self.log.find(origin.call_id)
            return self._by_call.get(call) if call is not None else None
        return self._by_message.get((origin.span_id, origin.place))


def _is_own_words(call: Call | None) -> bool:
    """Return True for a call that did not run and that no person answered: its result can only repeat the model's arguments."""
    return call is not None and (call.is_held_back or not (call.executed or call.decision == "answered"))


def _join(edge: Edge) -> None:
    edge.source.later.append(edge)
    edge.target.earlier.append(edge)


def _answer_of(span: Span) -> str:
    """Return the answer of an agent or workflow; for any other span, an empty text."""
    operation = span.operation
    output = operation.output if isinstance(operation, (AgentInvocation, Workflow)) else ()
    return "\n".join(message.text() for message in output).strip()


def _taken_choice(trace: Trace, span: Span, output: Sequence[Message]) -> int:
    """Return the index of the choice that is the answer of an agent or workflow around the inference; 0 if none is."""
    if len(output) < 2:
        return 0
    choices = [message.text().strip() for message in output]
    answers = (_answer_of(above) for above in islice(trace.ancestors(span), _MOST_ABOVE))
    return next((choices.index(answer) for answer in answers if answer and answer in choices), 0)


def _agents(trace: Trace) -> dict[str, str]:
    """Return the name of the innermost agent around each span, by span id. An agent's own span counts as inside it."""
    names: dict[str, str] = {}
    for _, span in trace.walk():
        above = names.get(span.parent_id or "", "")
        names[span.span_id] = span.operation.name if isinstance(span.operation, AgentInvocation) else above
    return names
