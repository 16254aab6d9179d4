"""The tool calls of a run: each request of the model, joined with its execution and its result.

Law: each call is counted once, whichever spans report it, in any order. The model's request, the execution's span and the
message with the result are joined by call id, or without an id by tool and arguments. So an execution that ended before the
model span that requested it is not counted twice, and a result that only messages show counts, too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from llmtrace.codec import json_text
from llmtrace.model import (
    DEADLINE,
    TIMEOUT,
    Failure,
    FetchResponse,
    Inference,
    JsonValue,
    Message,
    Review,
    Span,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    ToolResult,
    Violation,
    failure_kind,
)
from llmtrace.model.operations import CALLED
from llmtrace.reading.conversations import ConversationNumbers
from llmtrace.reading.message_history import ASSISTANT, USER_ROLES, MessageHistory, remember
from llmtrace.reading.read_values import read_value, scalars
from llmtrace.reading.result_form import has_failed, is_acknowledgement, is_error, may_be_finding
from llmtrace.text.matching import is_email, is_identifier, stands_alone
from llmtrace.text.tool_names import is_polling_name, is_reading_name, split_name
from llmtrace.validation.check_values import find_tool
from llmtrace.validation.json_pointers import follow, steps

_HELD_BACK = frozenset({"pending", "rejected", "timed_out", "unattended"})
"""Decisions of a review after which a call does not run."""
MOST_CALLS = 1024
"""Newest calls that a live run keeps. It may keep up to twice as many before it drops the oldest."""
_MOST_WORDS = 4096


@dataclass(eq=False, slots=True)
class Call:
    """One tool call. Fields are filled in as spans report them."""

    tool: str
    id: str | None = None
    arguments: JsonValue = None
    definition: ToolDefinition | None = None
    offered: bool | None = None
    """True if the tool was offered; None if the offered tools are not visible."""
    position: int = 0
    """Position among the calls of the run."""
    turn: int = 0
    """Number of the user's turns before the call."""
    conversation: int = 0
    """Number of the conversation in which the model requested it. Agents that work side by side have one each."""
    prompt: int = 0
    """Digest of the prompt that opened the conversation, and of the span around it; 0 if it is not known."""
    asking_span: str | None = None
    """Id of the model call that requested this call; None for an execution that no recorded model call requested."""
    execution: Span | None = None
    telling_span: str | None = None
    """Id of the model call that was sent the result."""
    result: JsonValue = None
    has_result: bool = False
    failed: bool | None = None
    """None if the outcome is not known."""
    violations: tuple[Violation, ...] = ()
    """Violations by the arguments, as the model wrote them or as the tool was called."""
    alternative: bool = False
    """True if the call is in an answer's second or later choice, which the program did not use."""
    decision: str | None = None
    """The newest decision of a person on this call; see `Review`."""
    _key: str | None = None

    @property
    def span_id(self) -> str:
        """Id of the best span to show: the execution, else the requesting model call, else the one that was sent the result."""
        return self.execution.span_id if self.execution is not None else (self.asking_span or self.telling_span or "")

    @property
    def failure(self) -> Failure | None:
        """The failure of its execution, if there is one."""
        return self.execution.failure if self.execution is not None else None

    @property
    def timed_out(self) -> bool:
        """True if the execution ended by a time-out or a deadline. A change may have taken effect all the same."""
        return self.failure is not None and failure_kind(self.failure) in (TIMEOUT, DEADLINE)

    @property
    def quoted_name(self) -> str:
        """The tool's name for an explanation; ``a tool`` if no such tool ran or was offered, so that it shows no content."""
        operation = self.execution.operation if self.execution is not None else None
        if isinstance(operation, ToolExecution) and operation.executed:
            return f"`{operation.name}`"
        return f"`{self.tool}`" if self.offered else "a tool"

    @property
    def executed(self) -> bool:
        """False if the call was refused, or its tool not offered. True if it ran, or may have run."""
        operation = self.execution.operation if self.execution is not None else None
        if isinstance(operation, ToolExecution):
            return operation.executed
        return self.offered is not False

    @property
    def corrected(self) -> JsonValue:
        """The arguments that replaced the model's: repaired, or edited by a person. None if the tool got the model's own."""
        operation = self.execution.operation if self.execution is not None else None
        return operation.repaired if isinstance(operation, ToolExecution) else None

    def ran_with(self, pointer: str, value: JsonValue) -> bool:
        """Return True if the tool got this value from the model's arguments."""
        if self.corrected is None:
            return self.execution is None or self.executed
        try:
            return bool(follow(self.corrected, steps(pointer)) == value)
        except (LookupError, TypeError, ValueError):
            return False

    @property
    def is_approved(self) -> bool:
        """True if a person let the call run, unchanged or edited, and so takes responsibility for its values."""
        return self.decision in ("approved", "edited")

    @property
    def is_held_back(self) -> bool:
        """True if a person stopped the call, or has not decided yet. Such a call has neither failed nor succeeded."""
        if self.decision in _HELD_BACK:
            return self.execution is None or not self.executed
        return self.execution is not None and _is_held(self.execution) and self.decision != "answered"

    @property
    def may_be_finding(self) -> bool:
        """True for a lookup whose result looks like an error, but may describe the object looked up; see `may_be_finding`."""
        return (
            self.failure is None
            and self.has_result
            and not (self.is_change and not self.is_polling)
            and may_be_finding(self.result)
        )

    @property
    def is_complete(self) -> bool:
        """True once the outcome of the call is known. A span with neither result nor failure does not show it."""
        return self.failed is not None

    @property
    def key(self) -> str:
        """A text that is equal for calls of the same tool with equal arguments. The order of members does not matter."""
        if self._key is None:
            self._key = f"{self.tool} {canonical(self.arguments)}"
        return self._key

    @property
    def effect_key(self) -> str:
        """Like `key`, but with the arguments that the tool got: equal for calls with the same effect."""
        return self.key if self.corrected is None else f"{self.tool} {canonical(self.corrected)}"

    @property
    def has_arguments(self) -> bool:
        """False if the writer did not record the arguments. Such calls cannot be compared."""
        return self.arguments is not None

    @property
    def is_change(self) -> bool:
        """True if the call changes something, as declared by the tool, else judged by the tool's name."""
        changes = self.definition.changes if self.definition is not None else None
        return not is_reading_name(self.tool) if changes is None else changes

    @property
    def is_declared_change(self) -> bool:
        """True if the tool declares that each call changes something."""
        return self.definition is not None and self.definition.changes is True and not self.definition.polls

    @property
    def is_polling(self) -> bool:
        """True if repeated calls of the tool are normal, as declared by the tool, or judged by the tool's name."""
        return (self.definition is not None and self.definition.polls) or is_polling_name(self.tool)

    @property
    def may_come_again(self) -> bool:
        """True for a successful change of nothing in particular, such as a key that is pressed or a page that is scrolled.

        Each repetition has an effect, so an equal result does not mean that the call was useless.
        """
        return (
            self.is_change
            and self.failed is False
            and is_acknowledgement(self.result)
            and not any(_names_thing(path[-1], value) for path, value in scalars(self.arguments))
        )

    @property
    def error_violations(self) -> tuple[Violation, ...]:
        """Violations of severity error by the arguments."""
        return tuple(
            violation for violation in self.violations if violation.severity == "error" and violation.where == "arguments"
        )


_LONGEST_CHOICE = 40
"""Most characters of an argument that is a choice, such as a key or a button. A longer argument describes a particular task."""
_IDS = frozenset({"id", "ids", "uuid"})


def changes_same_file(failed: Call, later: Call) -> bool:
    """Return True if a later change succeeded and names a file of a failed change. The tools may differ."""
    if not (failed.is_change and later.is_change and later.failed is False):
        return False
    values = (read_value(value) for _, value in scalars(failed.arguments))
    files = [str(value.content) for value in values if value is not None and value.kind == "path"]
    return any(stands_alone(file, canonical(later.arguments)) for file in files)


def _names_thing(name: str | int, value: JsonValue) -> bool:
    """Return True if an argument identifies a particular object, by its name or by its form, or has three or more words."""
    if isinstance(name, str) and not _IDS.isdisjoint(split_name(name)):
        return True
    if not isinstance(value, str):
        return False
    is_long = len(value) > _LONGEST_CHOICE or len(value.split()) > 2
    return is_long or "://" in value or is_identifier(value) or is_email(value)


_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode


def canonical(value: JsonValue) -> str:
    """Return the value as JSON with sorted members.

    Text is returned unchanged. A value that is not JSON gives a stable text.
    """
    if isinstance(value, str):
        return value
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError):
        return json_text.write(value)


def result_digest(call: Call) -> int | None:
    """Return a digest that is equal for equal results and failures, within one process. None if neither is visible."""
    if call.has_result:
        return hash((type(call.result), call.result if isinstance(call.result, str) else json_text.write(call.result)))
    return None if call.failure is None else hash((call.failure.type, call.failure.message))


def new_messages(inference: Inference) -> tuple[Message, ...]:
    """Return the messages after the model's last message: the user's, and the results of the last calls."""
    messages = inference.input
    start = len(messages)
    while start and messages[start - 1].role not in ASSISTANT:
        start -= 1
    return messages[start:] if start else messages


class CallLog:
    """The calls of one run, in the order in which spans reported them. Spans must be added in the order in which they ended."""

    turn = 0
    """Number of the user's turns. A user message that repeats words of a model of this run is not a turn."""
    new_turns: tuple[tuple[int, Message], ...] = ()
    """New turns of the user in the newest span's request: the position in the request, counted from 1, and the message."""
    requested: Sequence[Call] = ()
    """The calls that the newest span requested, in order."""
    tools: tuple[ToolDefinition, ...] = ()
    """The tools that the last model call with tools was offered."""
    _first_parent: str | None = None
    """The span around the first model call."""
    _is_loop = False
    """True if the last model call requested tools, by its finish reason."""
    _count = 0

    def __init__(self, *, bounded: bool = True) -> None:
        """``bounded``: keep only the newest calls, as a live run does."""
        self.bounded = bounded
        self.calls: list[Call] = []
        self._by_id: dict[tuple[str, str], Call] = {}
        self._last_with_id: dict[str, Call] = {}
        self._decisions: dict[str, str | None] = {}
        """A person's decisions by call id."""
        self._conversations = ConversationNumbers(bounded=bounded)
        self._words = MessageHistory(_MOST_WORDS if bounded else None)
        """The texts of users and models."""

    def add(self, span: Span) -> Sequence[Call]:
        """Process a span. Returns the calls whose outcome this span is the first to show."""
        operation = span.operation
        self.new_turns = self.requested = ()
        if isinstance(operation, Inference):
            if operation.tools:
                self.tools = operation.tools
            completed = self._read_request(span, operation)
            self._read_answer(span, operation.output, operation.tools)
            return completed
        if isinstance(operation, FetchResponse):
            self._read_answer(span, operation.output, ())
        elif isinstance(operation, ToolExecution):
            return self._read_execution(span, operation)
        elif isinstance(operation, Review) and operation.call_id is not None:
            self._read_decision(operation.call_id, operation.decision)
        return ()

    def find(self, call_id: str, tool: str | None = None) -> Call | None:
        """Return the newest call with this id, and of this tool if one is given; None if it is not known."""
        return self._by_id.get((call_id, tool)) if tool is not None else self._last_with_id.get(call_id)

    def _read_request(self, span: Span, inference: Inference) -> Sequence[Call]:
        if not inference.input and not self._is_loop:
            self.turn += 1  # request not recorded: the user may have spoken, unless it only returned results of tools
        self._is_loop = not CALLED.isdisjoint(inference.finish_reasons)
        new = new_messages(inference)
        start = len(inference.input) - len(new)
        before = inference.input[start - 1] if start else None
        self._count_turns(span, inference, new, before)
        completed: list[Call] = []
        conversation: int | None = None
        for message in new:
            for part in message.parts:
                if type(part) is ToolResult and (call := self._find_call_of_result(part, before)) is not None:
                    conversation = call.conversation
                    if self._read_result(span, part, call):
                        completed.append(call)
        if before is None and inference.input and not inference.is_continued:
            self._conversations.open(span, inference)
        else:
            self._conversations.follow(span, conversation)
        return completed

    def _count_turns(self, span: Span, inference: Inference, new: Sequence[Message], before: Message | None) -> None:
        start = len(inference.input) - len(new)
        if not self._words:  # first request: count the user's turns before this run began
            self._first_parent = span.parent_id
            for message in inference.input[:start]:
                self.turn += message.role in USER_ROLES and self._words.add(message.text().strip())
        for number, message in enumerate(new, start + 1):
            if message.role in USER_ROLES and self._is_turn(message.text(), number, before):
                self.new_turns += ((number, message),)
                if before is not None or not self.turn or span.parent_id == self._first_parent:
                    self.turn += 1  # otherwise it is the prompt of another agent

    def _find_call_of_result(self, part: ToolResult, before: Message | None) -> Call | None:
        if part.id is None:  # it belongs to the oldest waiting call among the newest ones, since results keep the calls' order
            call = next((call for call in self.calls[-16:] if not call.is_complete and call.id is None), None)
        else:
            call = self._last_with_id.get(part.id)
        return self._from_history(part, before) if call is None and before is not None else call

    def _read_result(self, span: Span, part: ToolResult, call: Call) -> bool:
        """Note a result that a request contains. Returns True if it is the first to show the outcome of the call."""
        if call.telling_span is not None:
            return False
        call.telling_span = span.span_id
        if call.is_held_back:
            return False  # the result only says that the call did not run
        if call.has_result or (call.execution is not None and call.failed):
            return False  # the execution's span has shown the outcome
        is_first = not call.is_complete
        call.result, call.has_result = part.response, True
        call.failed = call.offered is False or is_error(part.response)  # a tool that was not offered cannot succeed
        return is_first

    def _from_history(self, result: ToolResult, asking: Message) -> Call | None:
        """Create a call that only the request's history shows, because the requesting model span was not recorded."""
        for part in asking.tool_calls():
            if part.id is not None and part.id == result.id:
                call = self._call(part.name, part.id, part.arguments)
                self._append(call)
                return call
        return None

    def _read_answer(self, span: Span, output: Sequence[Message], tools: Sequence[ToolDefinition]) -> None:
        for choice, message in enumerate(output):
            has_call = False
            for part in message.parts:
                if type(part) is ToolCall:
                    has_call = True
                    self._ask(span, choice, part, tools)
            if not has_call and (text := message.text()):
                self._words.add(text.strip())  # recorded, so that a prompt that repeats this answer is not a turn of the user

    def _ask(self, span: Span, choice: int, part: ToolCall, tools: Sequence[ToolDefinition]) -> None:
        call = self._find_early_execution(part)
        if call is None:
            earlier = self._by_id.get((part.id, part.name)) if part.id is not None else None
            if (
                earlier is not None
                and earlier.asking_span is not None
                and not earlier.is_complete
                and earlier.key == _key(part)
            ):
                return  # two instrumentations report the same model call
            call = self._call(part.name, part.id, part.arguments)
            self._append(call)
        self.requested = (*self.requested, call)
        call.asking_span = span.span_id
        call.alternative = choice > 0
        if tools:
            call.definition = find_tool(part.name, tools)
            call.offered = call.definition is not None
        if span.violations:
            call.violations = tuple(
                violation
                for violation in span.violations
                if violation.where == "arguments"
                and (violation.call_id == part.id if part.id is not None else violation.tool == part.name)
            )

    def _find_early_execution(self, part: ToolCall) -> Call | None:
        """Return the call of an execution that ended before the model span that requested it; None if it is not found."""
        if part.id is not None:
            call = self._by_id.get((part.id, part.name))
            return call if call is not None and call.asking_span is None else None
        key = _key(part)
        return next((call for call in reversed(self.calls[-16:]) if call.asking_span is None and call.key == key), None)

    def _read_execution(self, span: Span, execution: ToolExecution) -> Sequence[Call]:
        call = self._find_call(span, execution) if self.calls else None
        is_first = call is None or not call.is_complete
        if call is None:
            call = self._call(execution.name, execution.call_id, execution.arguments)
            self._append(call)
        call.execution = span
        call.definition = execution.definition or call.definition or find_tool(execution.name, self.tools)
        is_held_back = call.is_held_back
        if execution.has_result and not is_held_back:
            call.result, call.has_result = execution.result, True
        if call.arguments is None:
            call.arguments, call._key = execution.arguments, None
        if call.decision == "answered" and not execution.executed:
            call.failed = False
        elif not is_held_back and (failed := has_failed(span)) is not None:
            call.failed = failed
        if span.violations:
            call.violations = span.violations
        return (call,) if is_first and call.is_complete else ()

    def _find_call(self, span: Span, execution: ToolExecution) -> Call | None:
        """Return the call that an execution belongs to: by id, else the first waiting call of the tool with equal arguments.

        If the execution's arguments are not recorded, the tool's first waiting call is taken.
        """
        if execution.call_id is not None:
            call = self._by_id.get((execution.call_id, execution.name)) or self._last_with_id.get(execution.call_id)
            if call is not None and (
                call.execution is None or _is_held(call.execution) or _is_same_execution(call, span, execution)
            ):
                return call
            if call is not None:
                return None  # the id is used again for another execution
        waiting = [call for call in self.calls[-64:] if call.execution is None and call.tool == execution.name]
        if execution.call_id is not None:
            waiting = [call for call in waiting if call.id is None]
        if not waiting or execution.arguments is None:
            return waiting[0] if waiting else None
        return next((call for call in waiting if _same_arguments(call.arguments, execution.arguments)), None)

    def _read_decision(self, call_id: str, decision: str | None) -> None:
        call = self._last_with_id.get(call_id)
        if call is not None:
            call.decision = decision
        remember(self._decisions, call_id, decision, MOST_CALLS if self.bounded else None)

    def _call(self, tool: str, call_id: str | None, arguments: JsonValue) -> Call:
        now = self._conversations
        return Call(tool, call_id, arguments, turn=self.turn, conversation=now.newest, prompt=now.prompt)

    def _append(self, call: Call) -> None:
        call.position = self._count
        call.decision = None if call.id is None else self._decisions.get(call.id)
        self._count += 1
        self.calls.append(call)
        if call.id is not None:
            self._by_id[call.id, call.tool] = self._last_with_id[call.id] = call
        # Dropped in batches, since each deletion at the front of a list moves all other entries.
        if self.bounded and len(self.calls) > 2 * MOST_CALLS:
            for old in self.calls[:MOST_CALLS]:
                if old.id is not None:
                    self._by_id.pop((old.id, old.tool), None)
                    self._last_with_id.pop(old.id, None)
            del self.calls[:MOST_CALLS]

    def _is_turn(self, text: str, number: int, before: Message | None) -> bool:
        """Return True for a new text, and for the same text at a new position after an answer without tool calls."""
        if not text.strip():
            return False
        is_new = self._words.add(text.strip())
        is_new_place = self._words.add(f"{number} {text}".strip())  # also if it is new, since `add` records the text
        return is_new or (is_new_place and before is not None and not before.tool_calls())


def _is_held(span: Span) -> bool:
    """Return True for an execution that did not run and did not fail, because a person was asked about it."""
    return isinstance(span.operation, ToolExecution) and not span.operation.executed and span.failure is None


def _is_same_execution(call: Call, span: Span, execution: ToolExecution) -> bool:
    """Return True if a span reports the same execution again, as a client and its server do.

    One of the spans is then within the other, and the arguments are the same.
    """
    recorded = call.execution
    if recorded is None or not _same_arguments(call.arguments, execution.arguments):
        return False
    # The outer span begins first; if both begin together, it is the longer one.
    first, last = sorted((recorded, span), key=lambda execution_span: (execution_span.start, -(execution_span.end or 0)))
    return (last.end or 0) <= (first.end or 0)


def _same_arguments(first: JsonValue, second: JsonValue) -> bool:
    """Return True if arguments are equal. Some writers record a single argument without its name."""
    return canonical(first) == canonical(second) or canonical(_bare(first)) == canonical(_bare(second))


def _bare(arguments: JsonValue) -> JsonValue:
    return next(iter(arguments.values())) if isinstance(arguments, dict) and len(arguments) == 1 else arguments


def _key(part: ToolCall) -> str:
    return f"{part.name} {canonical(part.arguments)}"


def result_text(call: Call) -> str:
    """Return the result as text, or else the failure; empty if neither is known. Equal texts mean equal outcomes."""
    if call.has_result:
        return canonical(call.result)
    return f"{call.failure.type}: {call.failure.message}" if call.failure is not None else ""
