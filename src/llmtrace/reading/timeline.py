"""What happened in a run, read once, span by span: turns of the user, calls, answers, and where values came from.

The same timeline serves a live run (bounded), a stored trace and the spans of other writers. Everything that judges or shows a
run asks it. See `order` for the order in which the spans of a stored trace are added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llmtrace.model import (
    BUDGET_EXCEEDED,
    BUDGET_STOPPED,
    AgentInvocation,
    Evaluation,
    FetchResponse,
    Inference,
    Memory,
    Message,
    Retrieval,
    Review,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    ToolResult,
    Workflow,
    has_error,
    reads_as_data,
    refusal_as_text,
)
from llmtrace.model.operations import CALLED
from llmtrace.reading.answer_endings import Ending, ending_of, is_visible
from llmtrace.reading.calls import MOST_CALLS, Call, Calls, Step, canonical, is_change
from llmtrace.reading.lineage import Lineage
from llmtrace.reading.message_history import ASSISTANT, USER_ROLES, Seen, remember
from llmtrace.reading.provenance import DoubtfulValue, Origin, ValueUse
from llmtrace.reading.read_values import read_text
from llmtrace.reading.result_form import is_empty
from llmtrace.reading.turns import MOST_REQUESTS, Conversations, Turn
from llmtrace.reading.visible_context import NO_CALLS, SpanCalls
from llmtrace.text.matching import squash
from llmtrace.validation.check_values import find_tool

_MOST_WORDS = 4096
_BUDGET = frozenset({BUDGET_EXCEEDED, BUDGET_STOPPED})
_MOST_UNSENT = 16
"""Newest executed calls whose results are searched for in a message of the user."""
_SHORTEST_RESULT = 8
"""Fewest letters and digits of a result that is found inside a message. A shorter one must stand at its end."""


@dataclass(eq=False, slots=True)
class ModelCall:
    """A model call that ended, as the laws look at it."""

    span_id: str
    parent_id: str | None
    start: int
    end: int
    has_failed: bool
    ending: Ending | None
    """How the answer ended, if it ended badly."""
    is_visible: bool
    """False if the request or the answer was not recorded."""
    has_calls: bool
    has_usage: bool


class Timeline:
    """What happened in a run so far. Call `add` once for each span, in the order in which spans ended."""

    turn = 0
    """Number of the user's turns. A user message that repeats words of a model of this run, or a tool's result, is no turn."""
    completed: Sequence[Call] = ()
    """The calls whose outcome the newest span is the first to show."""
    ungrounded: Sequence[ValueUse] = ()
    """The ungrounded identifiers in the calls that the newest span requested."""
    tools: tuple[ToolDefinition, ...] = ()
    """The tools that the last model call with tools was offered."""
    _position = 0
    _is_loop = False
    """True if the last model call requested tools, by its finish reason."""
    _first_parent: str | None = None
    """The span around the first model call."""
    _has_begun = False
    _has_outcome = False
    """True if an execution or a result was recorded."""

    def __init__(self, spans: Iterable[Span] = (), *, bounded: bool = False) -> None:
        """``spans``: those that will be added, so that their values are read once. ``bounded``: keep only what is newest, as a
        live run does."""
        self._limit = MOST_REQUESTS if bounded else None
        self.steps: list[Step] = []
        """The turns of the user, the calls and the answers, in order."""
        self.calls = Calls(self._append, bounded=bounded)
        self.turns: dict[str, Turn] = {}
        """The turns of conversations by the span id of the model call."""
        self.model_calls: list[ModelCall] = []
        self.faulty: list[Span] = []
        """Spans that failed, or have a violation or an evaluation of severity error."""
        self.facts: list[tuple[Span, Evaluation]] = []
        """What laws, the program and its budgets said of steps."""
        self.tasks: dict[int, int] = {}
        """Number of the user's messages by conversation, also of those before this run began."""
        self.all_ungrounded: list[ValueUse] = []
        """The ungrounded identifiers in all calls, in order."""
        self.has_other_sources = False
        """True if a retrieval or a memory may have brought facts."""
        self.lineage = Lineage(spans, bounded=bounded)
        self._conversations = Conversations(self._limit)
        self._newest_below: dict[str | None, int] = {}
        """The newest conversation by the id of the span around its model calls, the newest last."""
        self._words = Seen(_MOST_WORDS if bounded else None)
        """The texts of users and models, and each user's text with its position."""
        self._by_message: dict[tuple[str, str], Step] = {}
        """The user's turns by the span id of the model call and the place of the message."""
        self._choices: dict[str, list[tuple[str, Step]]] = {}
        """By the text of each choice, of model calls with several: the text and the step of all choices of the call."""

    def begin(self, span: Span) -> None:
        """Process an agent or workflow that begins."""
        self._conversations.begin(span)
        self.lineage.begin(span)

    def add(self, span: Span) -> None:
        """Process a span that has ended."""
        operation, calls = span.operation, NO_CALLS
        self.completed = ()
        if isinstance(operation, Inference):
            calls = self._add_inference(span, operation)
        elif isinstance(operation, FetchResponse):
            self._conversations.fetch(operation)
            calls = SpanCalls()
            self._read_answer(span, operation.output, (), self._newest_below.get(span.parent_id, 0), calls)
            self._add_model_call(span)
        elif isinstance(operation, ToolExecution):
            calls = SpanCalls(executed=self._add_execution(span, operation))
        elif isinstance(operation, Review):
            if operation.call_id is not None:
                self.calls.decide(operation.call_id, operation.decision)
        elif isinstance(operation, (AgentInvocation, Workflow)):
            self._add_holder(span, operation)
        elif isinstance(operation, (Retrieval, Memory)):
            documents = operation.documents if isinstance(operation, Retrieval) else None
            self.has_other_sources = self.has_other_sources or documents is None or not is_empty(documents)
        self.ungrounded = self.lineage.add(span, calls)
        if self.ungrounded:
            self.all_ungrounded += self.ungrounded
            if self._limit is not None:
                del self.all_ungrounded[: -self._limit]

    @property
    def is_quiet(self) -> bool:
        """True if nothing happened that a law could mark: no failure, fact or outcome of a call, and no second model call."""
        return not (self.faulty or self.facts or self._has_outcome or len(self.model_calls) > 1)

    def note(self, span: Span) -> None:
        """Process the verdicts of a span that was added: its failure, and what laws and the program said of it."""
        if has_error(span):
            self.faulty.append(span)
        for evaluation in span.evaluations:
            if evaluation.confidence is None and (evaluation.severity != "info" or evaluation.name in _BUDGET):
                self.facts.append((span, evaluation))
        if self._limit is not None:
            del self.faulty[: -self._limit], self.facts[: -self._limit]

    def ungrounded_in(self, call: ToolCall) -> tuple[DoubtfulValue, ...]:
        """Return identifiers and e-mail addresses, as whole arguments, that nothing visible contains: the model made them up.

        Empty if some context of the run is not visible. ``call``: a call with the arguments that the tool would get. Like
        `untrusted_in`, it only reads. Hold the run's lock during a call.
        """
        return self.lineage.ungrounded_in(call)

    def untrusted_in(self, call: ToolCall, definition: ToolDefinition | None = None) -> tuple[DoubtfulValue, ...]:
        """Return the values that occur only in the free text of tool results, as those of an injected instruction do.

        Values are e-mail and web addresses, identifiers, files, and numbers of seven digits or more, as whole arguments or
        inside longer ones. A value is trusted if the user, the program or a definition contains it, or if it is a field of a
        structured result. It is also trusted if the user said a word of it and named the place where it was found. For a tool
        that only reads, only the hosts of web addresses count, since any request can send data to the host.

        ``definition``: of the tool, which says if it only reads; default, the definition that the model was offered. Without
        one, the tool's name decides.
        """
        definition = definition or find_tool(call.name, self.tools)
        return self.lineage.untrusted_in(call, reads=not is_change(call.name, definition))

    def _add_inference(self, span: Span, inference: Inference) -> SpanCalls:
        if inference.tools:
            self.tools = inference.tools
        turn = self._conversations.add(span, inference)
        self.turns[span.span_id] = turn
        remember(self._newest_below, span.parent_id, turn.conversation, self._limit)
        if self._limit is not None and len(self.turns) > self._limit:
            del self.turns[next(iter(self.turns))]
        calls = SpanCalls(turn)
        self._read_request(span, inference, turn, calls)
        self._read_answer(span, inference.output, inference.tools, turn.conversation, calls)
        self._add_model_call(span)
        return calls

    def _add_model_call(self, span: Span) -> None:
        operation = span.operation
        assert isinstance(operation, (Inference, FetchResponse))
        has_calls = any(message.tool_calls() for message in operation.output)
        end = span.start if span.end is None else span.end
        has_usage = getattr(operation, "usage", None) is not None
        facts = (span.failure is not None, ending_of(span), is_visible(span), has_calls, has_usage)
        self.model_calls.append(ModelCall(span.span_id, span.parent_id, span.start, end, *facts))
        if self._limit is not None:
            del self.model_calls[: -self._limit]

    def _read_request(self, span: Span, inference: Inference, turn: Turn, calls: SpanCalls) -> None:
        if not inference.input and not self._is_loop:
            self.turn += 1  # request not recorded: the user may have spoken, unless it only returned results of tools
            self._count_task(turn)
        self._is_loop = not CALLED.isdisjoint(inference.finish_reasons)
        messages = inference.input
        start = len(messages)
        while start and messages[start - 1].role not in ASSISTANT:
            start -= 1
        asking = messages[start - 1] if start else None
        self._count_turns(span, messages, start, asking, turn)
        completed: list[Call] = []
        older = [(number, message) for number, message in turn.new if number <= start]
        for number, message in (*older, *enumerate(messages[start:], start + 1)):
            is_newest = number > start  # else only a call that is known by its id is completed
            for position, part in enumerate(message.parts):
                if type(part) is not ToolResult or not (is_newest or part.id is not None):
                    continue
                call = self.calls.find_by_result(part, turn.conversation, asking if is_newest else None, span)
                if call is None:
                    continue
                calls.told[number, position] = call
                if call.return_result(part.response, span.span_id):
                    completed.append(call)
        if completed:
            self.completed, self._has_outcome = completed, True

    def _count_turns(self, span: Span, messages: Sequence[Message], start: int, asking: Message | None, turn: Turn) -> None:
        """Count the user's turns among the messages after the model's last one, which is ``asking``, before ``start``."""
        if turn.previous is None:
            self._count_earlier_turns(span, messages[:start], turn)
        waiting: list[Call] | None = None
        for number, message in enumerate(messages[start:], start + 1):
            if message.role not in USER_ROLES or not (text := message.text().strip()):
                continue
            if waiting is None:
                waiting = self._without_sent_result()
            answered = [call for call in waiting if _contains_result(text, call)]
            if answered:  # a program that hands back results in the user's name
                for call in answered:
                    call.telling_span = span.span_id
                self._words.add(text)
                continue
            if self._is_turn(text, number, asking):
                if asking is not None or not self.turn or span.parent_id == self._first_parent:
                    self.turn += 1  # otherwise it is the prompt of another agent
                step = Step("user", span.span_id, text, conversation=turn.conversation, parent_id=span.parent_id)
                self._append(step)
                if asking is not None or turn.conversation not in self.tasks or span.parent_id == self._first_parent:
                    self._count_task(turn)
                remember(self._by_message, (span.span_id, f"message {number} ({message.role})"), step, self._limit)

    def _count_earlier_turns(self, span: Span, messages: Sequence[Message], turn: Turn) -> None:
        """Count the user's turns before the first recorded request of a conversation."""
        is_first, self._has_begun = not self._has_begun, True
        if is_first:
            self._first_parent = span.parent_id
        for message in messages:
            if message.role in USER_ROLES and (text := message.text().strip()):
                self._count_task(turn)
                self.turn += is_first and self._words.add(text)

    def _count_task(self, turn: Turn) -> None:
        remember(self.tasks, turn.conversation, self.tasks.get(turn.conversation, 0) + 1, self._limit)

    def _without_sent_result(self) -> list[Call]:
        """Return the newest executed calls whose results no model was sent."""
        newest = self.calls.all[-_MOST_UNSENT:]
        return [call for call in newest if call.execution is not None and call.telling_span is None]

    def _is_turn(self, text: str, number: int, before: Message | None) -> bool:
        """Return True for a new text, and for the same text at a new position after an answer without tool calls."""
        is_new = self._words.add(text)
        is_new_place = self._words.add(f"{number} {text}")  # also if it is new, since `add` records the text
        return is_new or (is_new_place and before is not None and not before.tool_calls())

    def _read_answer(
        self, span: Span, output: Sequence[Message], tools: Sequence[ToolDefinition], conversation: int, calls: SpanCalls
    ) -> None:
        choices: list[tuple[str, Step]] = []
        for choice, message in enumerate(output):
            spoken = [refusal_as_text(part) for part in message.parts]
            words = "\n".join([part.content for part in spoken if isinstance(part, Text) and part.content.strip()])
            has_call = False
            for number, part in enumerate(spoken):
                if type(part) is not ToolCall:
                    continue
                has_call = True
                call = calls.requested[choice, number] = self.calls.request(span, conversation, part, (choice, number), tools)
                if call.asking_span == span.span_id:
                    call.text, call.alternative = words, choice > 0
                    choices.append((words.strip(), call))
            if not has_call and words:
                self._words.add(message.text().strip())  # so that a prompt that repeats this answer is not a turn of the user
                answer = Step("answer", span.span_id, words, conversation=conversation, parent_id=span.parent_id)
                answer.alternative = choice > 0
                self._append(answer)
                choices.append((words.strip(), answer))
        if len(output) > 1:
            for text in {text for text, _ in choices}:
                remember(self._choices, text, choices, self._limit)

    def _add_execution(self, span: Span, execution: ToolExecution) -> Call:
        conversation = self._newest_below.get(span.parent_id)
        if conversation is None:
            conversation = next(reversed(self._newest_below.values()), 0)
        call, is_first = self.calls.execute(span, execution, conversation, self.tools)
        self._has_outcome = True
        self.completed = (call,) if is_first else ()
        return call

    def _add_holder(self, span: Span, operation: AgentInvocation | Workflow) -> None:
        """Process an agent or workflow that ended: its answer may be one of several choices, the result of a tool that the
        model answered by, or composed by the program."""
        text = "\n".join([message.text() for message in operation.output]).strip()
        for words, step in self._choices.get(text, ()) if text else ():
            step.alternative = words != text
        if not text or self._words.has(text):
            return
        last = next((step for step in reversed(self.steps) if step.kind != "user"), None)
        is_by_tool = isinstance(last, Call) and canonical(last.result).strip() == text  # as smolagents' `final_answer`
        # data after an answer in words was composed by the program, and is no answer
        is_data = last is not None and last.kind == "answer" and reads_as_data(text) and not reads_as_data(last.text)
        if is_by_tool or (any(read_text(text)) and not is_data):
            self._append(Step("answer", span.span_id, text, parent_id=span.parent_id))

    def source_of(self, origin: Origin) -> Step | None:
        """Return the call or the user's turn that a value came from; None if it came from anything else."""
        if origin.call_id is not None:
            turn = self.turns.get(origin.span_id)
            return self.calls.of_execution(origin.span_id) or self.calls.find(
                origin.call_id, conversation=None if turn is None else turn.conversation
            )
        return self._by_message.get((origin.span_id, origin.place))

    def _append(self, step: Step) -> None:
        step.position, step.turn = self._position, self.turn
        self._position += 1
        self.steps.append(step)
        if self._limit is not None and len(self.steps) > 4 * MOST_CALLS:
            del self.steps[: 2 * MOST_CALLS]


def _contains_result(text: str, call: Call) -> bool:
    """Return True if a message contains the result or the error of a call."""
    result = canonical(call.result) if call.has_result else call.failure.message if call.failure is not None else ""
    key, message = squash(result), squash(text)
    return bool(key) and (message.endswith(key) or (len(key) >= _SHORTEST_RESULT and key in message))
