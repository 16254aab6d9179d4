"""How values flow through a trace: from results and arguments into later calls and answers.

Nodes are the turns of the user, the calls that the model asked for (with their executions) and its answers. An edge says that a
value of the later node stands in the earlier one's result or words, or was used by the earlier one before. Law: edges lead from
earlier to later only, and their number is linear in the number of values used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pydantic_core import from_json

from llmtrace.lineage import SPECIFIC, Lineage, Origin, Use
from llmtrace.lineage.memory import Memory
from llmtrace.lineage.propagation import moments
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
    ToolResult,
    Trace,
    Workflow,
    as_said,
    reads_as_data,
)
from llmtrace.signals._answers import new_messages

Via: TypeAlias = Literal["result", "same value"]

USER = frozenset({"user", "human"})

_MOST_ABOVE = 16
"""Spans around an inference that are looked at for the choice that was taken."""


@dataclass(eq=False, slots=True)
class Node:
    """A turn of the user, a call, an answer, or an execution that no recorded call asked for."""

    kind: Literal["user", "call", "answer"]
    span_id: str
    tool: str = ""
    call_id: str | None = None
    arguments: JsonValue = None
    text: str = ""
    execution: Span | None = None
    result: JsonValue = None
    has_result: bool = False
    """A result is known: from the execution, or from the message that brought it to the model."""
    told: int = 0
    """The place from which on it is: not what runs within the tool, nor a call beside this one, was told it."""
    uses: list[Use] = field(default_factory=list)
    earlier: list[Edge] = field(default_factory=list)
    later: list[Edge] = field(default_factory=list)
    place: int = 0
    """Position among the nodes, in order of time."""
    turn: int = 0
    """How many turns of the user there were until then."""
    task: tuple[str | None, int] = (None, 0)
    """The run, and which of the tasks that a program turned to in it."""
    agent: str = ""
    """Who acts: the name of the innermost agent around the span."""
    said_with: str = ""
    """Of a call the words that the model said along with it."""
    asked: bool = True
    """False for an execution that no recorded call asked for."""
    alternative: bool = False
    """Said in a choice of several that the program did not go on with."""
    _structure: JsonValue = None
    _read: bool = False

    @property
    def structure(self) -> JsonValue:
        """The result as an object or a list, read from JSON where it is text; None where it is neither."""
        if not self._read:
            self._read, self._structure = True, structure_of(self.result)
        return self._structure

    @property
    def refused(self) -> bool:
        """True if the tool was not run; what the model was told in its place is no result of the tool."""
        execution = self.execution.operation if self.execution is not None else None
        return isinstance(execution, ToolExecution) and not execution.executed


@dataclass(eq=False, slots=True)
class Edge:
    source: Node
    target: Node
    use: Use
    """The value that flows, as the target used it."""
    via: Via
    origin: Origin | None = None
    """The source's result, where it came from there."""


class Flow:
    """The nodes of a trace in order of time, and what the lineage says of every value."""

    def __init__(self, trace: Trace) -> None:
        self.nodes: list[Node] = []
        self.uses: list[Use] = []
        """Every value that a model said, in order of time."""
        self.lineage = Lineage(spans=trace.spans)
        self._by_call: dict[str, Node] = {}
        self._by_name: dict[tuple[str, str], Node] = {}
        """By call id and tool: models of two agents may give one id."""
        self._by_span: dict[str, Node] = {}
        self._within: dict[tuple[str, str], Node] = {}
        """Executions by the span around them and the tool."""
        self._said_by: dict[str, list[Node]] = {}
        self._users: dict[str, Node] = {}
        self._by_message: dict[tuple[str, str], Node] = {}
        self._turns: set[int] = set()
        self._turn = 0
        self._agents = _agents(trace)
        self.memory = Memory(trace)
        self._trace = trace
        for span, ended in moments(trace):
            if ended:
                self._end(span)
            else:
                self.lineage.begun(span)
        kept = [node for node in self.nodes if not node.alternative]
        answers = [node for node in kept if node.kind == "answer"]
        acts = answers or [node for node in kept if node.kind == "call"]
        self.outcome: Node | None = acts[-1] if acts else None
        """The last answer; where there is none, the last call. Of several choices the one that the program took."""
        self._last = kept[-1] if kept else None

    def outcome_after(self, node: Node | None) -> Node | None:
        """What the run came to after this node: its outcome, or the last call if that came before."""
        if node is None or self.outcome is None or node.place <= self.outcome.place:
            return self.outcome
        return self._last

    def node_of(self, span: Span, call_id: str | None = None) -> Node | None:
        """The node of an execution; of an inference the call of this id, or its first."""
        operation = span.operation
        if isinstance(operation, ToolExecution):
            return self._by_span.get(span.span_id)
        own = self._said_by.get(span.span_id, [])
        return next((node for node in own if call_id is not None and node.call_id == call_id), own[0] if own else None)

    def call(self, call_id: str) -> Node | None:
        """The call of this id, the newest."""
        return self._by_call.get(call_id)

    def said_by(self, span_id: str) -> list[Node]:
        """What the model said in this inference: calls and answers."""
        return self._said_by.get(span_id, [])

    def reach(self, start: Node, keys: Iterable[str] = ()) -> dict[Node, Edge | None]:
        """Every node that something of ``start`` flows into, each with the edge by which it is reached first: what stands in
        its result, the values of ``keys`` where they are used again, and what stands in the results of these, and so on."""
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

    def _end(self, span: Span) -> None:
        operation = span.operation
        if isinstance(operation, Inference):
            self._asked(span, operation)
            self.memory.sent(span, operation)
        uses = self.lineage.add(span)
        self.uses += uses
        if isinstance(operation, Inference):
            self._told(operation)
            kept = _kept(self._trace, span, operation)
            for choice, message in enumerate(operation.output):
                self._said(span, message, uses, alternative=choice != kept)
        elif isinstance(operation, FetchResponse):
            for message in operation.output:
                self._said(span, message, uses)
        elif isinstance(operation, ToolExecution):
            self.memory.tasks.executed(operation)
            self._executed(span, operation)
        elif isinstance(operation, (AgentInvocation, Workflow)) and uses:
            text = "\n".join(message.text() for message in operation.output)
            if not (reads_as_data(text) and self._has_words()):
                self._add(span, Node("answer", span.span_id, text=text), uses)

    def _has_words(self) -> bool:
        """Whether the model's last act so far was an answer in words: that is what an agent answered which ends in data."""
        last = next((node for node in reversed(self.nodes) if node.kind != "user"), None)
        return last is not None and last.kind == "answer" and not reads_as_data(last.text)

    def _said(self, span: Span, message: Message, uses: Iterable[Use], *, alternative: bool = False) -> None:
        calls = message.tool_calls()
        said = map(as_said, message.parts)
        texts = [part.content for part in said if isinstance(part, Text) and part.content.strip()]
        for call in calls:
            mine = [use for use in uses if use.part == "argument" and _asks(use, call)]
            asked = Node("call", span.span_id, call.name, call.id, call.arguments, said_with="\n".join(texts))
            asked.alternative = alternative
            self._add(span, asked, mine)
        if texts and not calls:
            answer = Node("answer", span.span_id, text="\n".join(texts), alternative=alternative)
            self._add(span, answer, [use for use in uses if use.part == "answer"])

    def _asked(self, span: Span, inference: Inference) -> None:
        """Turns of the user that no inference was sent before. What a model said in this trace is none."""
        new = new_messages(inference)
        first = len(inference.input) - len(new) + 1
        for number, message in enumerate(new, first):
            text = message.text() if message.role in USER else ""
            if not text.strip() or hash(text) in self._turns or self.lineage.is_own(message):
                continue
            self._turns.add(hash(text))
            self._turn += 1
            node = Node("user", span.span_id, text=text)
            self._add(span, node, ())
            self._by_message[span.span_id, f"message {number} ({message.role})"] = node

    def _told(self, inference: Inference) -> None:
        """Results of calls whose execution is not recorded."""
        for part in (part for message in new_messages(inference) for part in message.parts):
            node = self._by_call.get(part.id) if isinstance(part, ToolResult) and part.id is not None else None
            if node is not None and node.execution is None and isinstance(part, ToolResult):
                node.result, node.has_result, node.told = part.response, True, len(self.nodes)

    def _executed(self, span: Span, execution: ToolExecution) -> None:
        if execution.call_id is not None:
            node = self._by_name.get((execution.call_id, execution.name)) or self._by_call.get(execution.call_id)
        else:
            node = self._waiting(execution.name)
        if node is None or node.execution is not None:
            node = self._other_side(span, execution)
        if node is None:
            node = Node("call", span.span_id, execution.name, execution.call_id, execution.arguments, asked=False)
            self._add(span, node, ())
        node.execution, node.result, node.has_result = span, execution.result, execution.has_result
        node.told = len(self.nodes)
        self._by_span[span.span_id] = node
        if span.parent_id is not None:
            self._within[span.parent_id, execution.name] = node

    def _other_side(self, span: Span, execution: ToolExecution) -> Node | None:
        """The same call as its server ran it, below this span of its client."""
        inner = self._within.get((span.span_id, execution.name))
        return inner if inner is not None and repr(inner.arguments) == repr(execution.arguments) else None

    def _waiting(self, tool: str) -> Node | None:
        return next((node for node in reversed(self.nodes[-16:]) if node.tool == tool and node.execution is None), None)

    def _add(self, span: Span, node: Node, uses: Iterable[Use]) -> None:
        node.place, node.turn, node.agent = len(self.nodes), self._turn, self._agents.get(node.span_id, "")
        node.task = span.run_id, self.memory.tasks.number
        self.nodes.append(node)
        if node.kind == "user":
            return
        self._said_by.setdefault(node.span_id, []).append(node)
        if node.call_id is not None:
            self._by_call[node.call_id] = self._by_name[node.call_id, node.tool] = node
        node.uses.extend(uses)
        for use in node.uses:
            if use.kind in SPECIFIC and (use.provenance.status != "unknown" or use.kind != "number"):
                self._link(node, use)
        for use in node.uses:
            self._users[use.key] = node

    def _link(self, node: Node, use: Use) -> None:
        provenance = use.provenance
        for origin in (provenance.latest, provenance.earliest):
            source = self._source(origin) if origin is not None else None
            if source is None or source.refused:
                continue  # what a refusal repeats is the model's own argument
            if source is not node and not any(edge.source is source for edge in node.earlier[-2:]):
                _join(Edge(source, node, use, "result", origin))
        before = self._users.get(use.key)
        if before is not None and before is not node:
            _join(Edge(before, node, use, "same value"))

    def _source(self, origin: Origin) -> Node | None:
        if origin.call_id is not None:
            return self._by_call.get(origin.call_id)
        return self._by_message.get((origin.span_id, origin.place)) or self._by_span.get(origin.span_id)


def structure_of(result: JsonValue) -> JsonValue:
    if isinstance(result, (dict, list)):
        return result
    if not isinstance(result, str) or result.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return from_json(result)
    except (TypeError, ValueError):  # TypeError: half a surrogate pair as it is
        return None


def _kept(trace: Trace, span: Span, inference: Inference) -> int:
    """Which choice an agent or a workflow around the inference answered; the first where none of them did."""
    if len(inference.output) < 2:
        return 0
    choices = [message.text().strip() for message in inference.output]
    above = trace.parent(span)
    for _ in range(_MOST_ABOVE):
        if above is None:
            break
        if isinstance(above.operation, (AgentInvocation, Workflow)):
            answer = "\n".join(message.text() for message in above.operation.output).strip()
            if answer and answer in choices:
                return choices.index(answer)
        above = trace.parent(above)
    return 0


def _agents(trace: Trace) -> dict[str, str]:
    """For each span the name of the innermost agent around it."""
    names: dict[str, str] = {}
    for _, span in trace.walk():
        above = names.get(span.parent_id or "", "")
        names[span.span_id] = span.operation.name if isinstance(span.operation, AgentInvocation) else above
    return names


def _join(edge: Edge) -> None:
    edge.source.later.append(edge)
    edge.target.earlier.append(edge)


def _asks(use: Use, call: ToolCall) -> bool:
    return use.call_id == call.id and use.tool == call.name
