"""The tool calls of a run: each request of the model, joined with its execution and its result.

Law: each call is counted once, whichever spans report it, in any order. The model's request, the execution's span and the
message with the result are joined by call id within the conversation, or without an id by tool and arguments. Equal calls are
joined in order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from llmtrace.codec import json_text
from llmtrace.codec.fields import as_object
from llmtrace.model import (
    BUDGET_EXCEEDED,
    CANCELLED,
    DEADLINE,
    TIMEOUT,
    Failure,
    JsonValue,
    Message,
    Receipt,
    Span,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    ToolResult,
    Violation,
    failure_kind,
)
from llmtrace.reading.message_history import remember
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
_MOST_WAITING = 64
"""Newest calls among which the request of an execution without an id is searched."""
_MOST_OF_ONE_ID = 32
"""Newest calls with the same id that are kept."""
_MOST_RECENT = 16
"""Newest calls among which an execution or a result without an id is searched."""


@dataclass(eq=False, slots=True)
class Step:
    """A turn of the user, a call, or an answer."""

    kind: Literal["user", "call", "answer"]
    said_in: str
    """Id of the model call that said it, or was sent it; for a call that no recorded model call requested, the execution."""
    text: str = ""
    """The text of a turn or an answer; for a call, the text that the model wrote along with it."""
    position: int = 0
    """Position among the steps of the run, in order of time."""
    turn: int = 0
    """Number of the user's turns so far."""
    conversation: int = 0
    alternative: bool = False
    """True if the model gave several choices and the program did not take this one."""
    parent_id: str | None = None
    """Id of the span around the model call or the execution."""
    agent: str = ""
    """Name of the innermost agent around it, for titles. Set in a graph."""

    @property
    def place(self) -> str:
        """Id of the span to look at."""
        return self.said_in

    @property
    def title(self) -> str:
        return "the user" if self.kind == "user" else self.kind

    @property
    def name(self) -> str:
        """The title without content."""
        return self.title


@dataclass(eq=False, slots=True)
class Call(Step):
    """One tool call. Fields are filled in as spans report them."""

    tool: str = ""
    id: str | None = None
    arguments: JsonValue = None
    definition: ToolDefinition | None = None
    offered: bool | None = None
    """True if the tool was offered; None if the offered tools are not visible."""
    asking_span: str | None = None
    """Id of the model call that requested this call; None for an execution that no recorded model call requested."""
    part: tuple[int, int] = (0, 0)
    """Index of the choice, and of the call in its message."""
    execution: Span | None = None
    telling_span: str | None = None
    """Id of the model call that was sent the result."""
    result: JsonValue = None
    has_result: bool = False
    failed: bool | None = None
    """None if the outcome is not known."""
    violations: tuple[Violation, ...] = ()
    """Violations by the arguments, as the model wrote them or as the tool was called."""
    decision: str | None = None
    """The newest decision of a person on this call; see `Review`."""
    ran_before_request: bool = False
    """True if the execution ended before the model call that requested it, so its result was not known to the model then."""
    is_taken: bool = False
    """True once the program began to run it."""
    _key: str | None = None

    @property
    def place(self) -> str:
        """Id of the best span to show: the execution, else the requesting model call, else the one that was sent the result."""
        return self.execution.span_id if self.execution is not None else (self.asking_span or self.telling_span or self.said_in)

    @property
    def title(self) -> str:
        return self.tool

    @property
    def name(self) -> str:
        """The tool's name for a title: of the tool that ran, if one did, else as the model wrote it. A name of no known tool is
        the model's own text, so it is content."""
        if self.offered is False and self.failed is not False:
            return "an unknown tool"
        ran = self.execution.operation if self.execution is not None else None
        return ran.name if isinstance(ran, ToolExecution) else self.tool

    @property
    def is_from_history(self) -> bool:
        """True for a call that is known only from a later request: neither the model call that asked for it nor its execution
        was recorded."""
        return self.asking_span is None and self.execution is None

    @property
    def failure(self) -> Failure | None:
        """The failure of its execution, if there is one."""
        return self.execution.failure if self.execution is not None else None

    @property
    def timed_out(self) -> bool:
        """True if the execution ended by a time-out or a deadline. A change may have taken effect all the same."""
        return self.failure is not None and failure_kind(self.failure) in (TIMEOUT, DEADLINE)

    @property
    def was_stopped(self) -> bool:
        """True if the execution was ended from outside: by Ctrl-C, a cancellation, a budget, a time-out or a deadline."""
        if self.failure is None or self.timed_out:
            return self.timed_out
        return failure_kind(self.failure) in (CANCELLED, BUDGET_EXCEEDED) or self.failure.type.endswith("KeyboardInterrupt")

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

    @property
    def receipt(self) -> Receipt | None:
        """What reading the change back found; None if nobody read it back."""
        operation = self.execution.operation if self.execution is not None else None
        return operation.receipt if isinstance(operation, ToolExecution) else None

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
    def may_have_succeeded(self) -> bool:
        """True if the call succeeded, or ran and its outcome was not recorded."""
        return self.failed is False or (self.failed is None and self.execution is not None and self.executed)

    @property
    def is_waiting(self) -> bool:
        """True for a requested call whose execution was not recorded yet, or ended as held."""
        return self.execution is None or _is_held(self.execution)

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
        return is_change(self.tool, self.definition)

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

    def ends_with(self, span: Span, execution: ToolExecution) -> None:
        """Note the execution of the call, and its outcome."""
        self.execution, self.is_taken = span, True
        is_held_back = self.is_held_back
        if execution.has_result and not is_held_back:
            self.result, self.has_result = execution.result, True
        if self.arguments is None:
            self.arguments, self._key = execution.arguments, None
        if self.decision == "answered" and not execution.executed:
            self.failed = False
        elif not is_held_back and (failed := has_failed(span)) is not None:
            self.failed = failed
        if span.violations:
            self.violations = span.violations
            if any(violation.code == "unknown_tool" for violation in span.violations):
                self.offered = False

    def return_result(self, response: JsonValue, span_id: str) -> bool:
        """Note a result that the request of a model call contains. Returns True if it is the first to show the outcome."""
        if self.telling_span is not None:
            return False
        self.telling_span = span_id
        # of a call that was held back, the result only says that it did not run
        if self.is_held_back or self.has_result or (self.execution is not None and self.failed):
            return False
        is_first = not self.is_complete
        self.result, self.has_result = response, True
        self.failed = self.offered is False or is_error(response)  # a tool that was not offered cannot succeed
        return is_first


_LONGEST_CHOICE = 40
"""Most characters of an argument that is a choice, such as a key or a button. A longer argument describes a particular task."""
_IDS = frozenset({"id", "ids", "uuid"})


def is_change(tool: str, definition: ToolDefinition | None) -> bool:
    """Return True if calls of a tool change something, as declared by the tool, else judged by the tool's name."""
    changes = definition.changes if definition is not None else None
    return not is_reading_name(tool) if changes is None else changes


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


def result_text(call: Call) -> str:
    """Return the result as text, or else the failure; empty if neither is known. Equal texts mean equal outcomes."""
    if call.has_result:
        return canonical(call.result)
    return f"{call.failure.type}: {call.failure.message}" if call.failure is not None else ""


class Calls:
    """The calls of one run, and the only place that joins requests, executions and results."""

    def __init__(self, append: Callable[[Call], None] | None = None, *, bounded: bool) -> None:
        """``append``: called with each new call, before any span is joined with it. ``bounded``: keep only the newest calls."""
        self._append_step, self._bounded = append, bounded
        self.all: list[Call] = []
        self._by_id: dict[str, list[Call]] = {}
        """The newest calls with an id; local servers count from 0 in each conversation."""
        self._decisions: dict[str, str | None] = {}
        """A person's decisions by call id."""
        self._by_execution: dict[str, Call] = {}
        self._unrequested: dict[Call, None] = {}
        """The calls that no recorded model call requested so far."""

    def find(self, call_id: str, tool: str | None = None, conversation: int | None = None) -> Call | None:
        """Return the newest call with this id, preferably of this tool and in this conversation; None if it is not known."""
        calls = self._by_id.get(call_id, ())
        if len(calls) < 2:
            return next((call for call in calls if tool is None or call.tool == tool), None)
        alike = [call for call in calls if tool is None or call.tool == tool]
        return next((call for call in reversed(alike) if call.conversation == conversation), alike[-1] if alike else None)

    def of_execution(self, span_id: str) -> Call | None:
        """Return the call that an execution belongs to."""
        return self._by_execution.get(span_id)

    def executions(self) -> Iterator[tuple[str, Call]]:
        """Yield each execution's span id with its call, in order."""
        yield from self._by_execution.items()

    def request(
        self, span: Span, conversation: int, part: ToolCall, where: tuple[int, int], tools: Sequence[ToolDefinition]
    ) -> Call:
        """Return the call that a model requests. If another span already reported the same request, its ``asking_span`` is that
        span."""
        call = self._find_early_execution(part, span)
        if call is None:
            earlier = self.find(part.id, part.name, conversation) if part.id is not None else None
            if earlier is not None and _is_same_request(earlier, part, span, conversation):
                return earlier
            call = self._new(Call("call", span.span_id, tool=part.name, id=part.id, arguments=part.arguments), span.parent_id)
        else:
            del self._unrequested[call]
            call.ran_before_request = True
            if call.id is None and part.id is not None:
                call.id = part.id
                self._add_id(part.id, call)
        call.asking_span = call.said_in = span.span_id
        call.conversation, call.parent_id, call.part = conversation, span.parent_id, where
        if tools:
            offered = find_tool(part.name, tools)
            call.offered = offered is not None
            operation = call.execution.operation if call.execution is not None else None
            own = operation.definition if isinstance(operation, ToolExecution) else None
            call.definition = own or offered or call.definition  # of an execution that ended before its request, its own
        if span.violations:
            call.violations = tuple(
                violation
                for violation in span.violations
                if violation.where == "arguments"
                and (violation.call_id == part.id if part.id is not None else violation.tool == part.name)
            )
        return call

    def execute(
        self, span: Span, execution: ToolExecution, conversation: int, tools: Sequence[ToolDefinition]
    ) -> tuple[Call, bool]:
        """Join an execution with its call. ``conversation``: of an execution that no recorded model call requested.

        Returns the call, and True if the span is the first to show its outcome.
        """
        call = self.match(execution.name, execution.arguments, execution.call_id, span)
        was_complete = call is not None and call.is_complete
        if call is None:
            call = Call("call", span.span_id, tool=execution.name, id=execution.call_id, arguments=execution.arguments)
            call.conversation = conversation
            self._new(call, span.parent_id)
            remember(self._unrequested, call, None, MOST_CALLS if self._bounded else None)
        elif execution.call_id is not None and execution.call_id != call.id:
            self._add_id(execution.call_id, call)
        call.definition = execution.definition or call.definition or find_tool(execution.name, tools)
        call.ends_with(span, execution)
        remember(self._by_execution, span.span_id, call, MOST_CALLS if self._bounded else None)
        return call, call.is_complete and not was_complete

    def match(self, name: str, arguments: JsonValue, call_id: str | None, span: Span | None = None) -> Call | None:
        """Return the call that an execution belongs to.

        By id: the first waiting call of the tool with equal arguments, or below the same span; or, if ``span`` reports an
        execution again, that one. Without an id: the first waiting call of the tool with equal arguments, else the only one. By
        an id that no call has, which comes from a framework: the first waiting call of the tool with equal arguments.
        """
        if call_id is not None and (alike := self._by_id.get(call_id)):
            waiting = [call for call in alike if call.is_waiting and not (span is None and call.is_taken)]
            if len(waiting) > 1:
                parent_id = None if span is None else span.parent_id
                waiting.sort(
                    key=lambda call: (
                        call.tool != name,
                        not _same_arguments(call.arguments, arguments),
                        call.parent_id != parent_id,
                        call.position,
                    )
                )
            if waiting:
                return waiting[0]
            if span is None:
                return None
            return next((call for call in alike if _is_same_execution(call, span, arguments)), None)
        waiting = [
            call
            for call in self.all[-_MOST_WAITING:]
            if call.execution is None and call.tool == name and not (span is None and call.is_taken)
        ]
        # one whose result the model was already sent does not run any more
        waiting = [call for call in waiting if call.telling_span is None] or waiting
        equal = next((call for call in waiting if _same_arguments(call.arguments, arguments)), None)
        if equal is not None and arguments is not None:
            return equal
        if call_id is not None:
            waiting = [call for call in waiting if call.id is None]
        return waiting[0] if len(waiting) == 1 or (arguments is None and waiting) else None

    def take(self, name: str, arguments: JsonValue, call_id: str | None = None) -> ToolCall | None:
        """Return the waiting call that is run now; see `match`."""
        call = self.match(name, arguments, call_id)
        if call is None:
            return None
        call.is_taken = True
        return ToolCall(call.tool, call.arguments, call.id)

    def find_by_result(self, part: ToolResult, conversation: int, asking: Message | None, span: Span) -> Call | None:
        """Return the call that a result in a request belongs to. ``asking``: the model's message before it in the request."""
        call = None
        if part.id is not None:
            call = self.find(part.id, conversation=conversation)
            if call is not None and call.asking_span is not None and call.conversation != conversation:
                call = None  # the id of a call in another conversation
        else:  # it belongs to the oldest waiting call among the newest ones, since results keep the calls' order
            call = next((call for call in self.all[-_MOST_RECENT:] if not call.is_complete and call.id is None), None)
        if call is None and asking is not None and part.id is not None:
            requested = next((requested for requested in asking.tool_calls() if requested.id == part.id), None)
            if requested is not None:  # only the request's history shows the call
                call = Call("call", span.span_id, tool=requested.name, id=requested.id, arguments=requested.arguments)
                call.conversation = conversation
                self._new(call, span.parent_id)
                remember(self._unrequested, call, None, MOST_CALLS if self._bounded else None)
        return call

    def decide(self, call_id: str, decision: str | None) -> None:
        """Note a person's decision on a call."""
        call = self.find(call_id)
        if call is not None:
            call.decision = decision
        remember(self._decisions, call_id, decision, MOST_CALLS if self._bounded else None)

    def _find_early_execution(self, part: ToolCall, span: Span) -> Call | None:
        """Return the call of an execution that ended before the model span that requested it; None if it is not found."""
        if not self._unrequested:
            return None
        if part.id is not None:
            calls = [call for call in self._by_id.get(part.id, ()) if call in self._unrequested and call.tool == part.name]
            later = (call for call in calls if call.execution is not None and call.execution.start >= span.start)
            if (call := calls[0] if len(calls) == 1 else next(later, None)) is not None:
                return call
        newest = [call for call in islice(reversed(self._unrequested), _MOST_RECENT) if call.tool == part.name]
        alike = (call for call in reversed(newest) if part.id is None or call.id is None)
        return next((call for call in alike if _same_arguments(call.arguments, part.arguments)), None)

    def _new(self, call: Call, parent_id: str | None) -> Call:
        call.parent_id = parent_id
        call.decision = None if call.id is None else self._decisions.get(call.id)
        if self._append_step is not None:
            self._append_step(call)
        self.all.append(call)
        if call.id is not None:
            self._add_id(call.id, call)
        # Dropped in batches, since each deletion at the front of a list moves all other entries.
        if self._bounded and len(self.all) > 2 * MOST_CALLS:
            for old in self.all[:MOST_CALLS]:
                operation = None if old.execution is None else old.execution.operation
                for call_id in {old.id, getattr(operation, "call_id", None)}:
                    if call_id is not None and old in (calls := self._by_id.get(call_id, [])):
                        calls.remove(old)
                        if not calls:
                            del self._by_id[call_id]
            del self.all[:MOST_CALLS]
        return call

    def _add_id(self, call_id: str, call: Call) -> None:
        calls = self._by_id.setdefault(call_id, [])
        if call not in calls:
            calls.append(call)
            del calls[:-_MOST_OF_ONE_ID]


def _is_held(span: Span) -> bool:
    """Return True for an execution that did not run and did not fail, because a person was asked about it."""
    return isinstance(span.operation, ToolExecution) and not span.operation.executed and span.failure is None


def _is_same_request(call: Call, part: ToolCall, span: Span, conversation: int) -> bool:
    """Return True if two instrumentations report the same model call: one is within the other, or continues the same."""
    if call.asking_span is None or call.is_complete or call.key != _key(part):
        return False
    return call.conversation == conversation or call.asking_span == span.parent_id or call.parent_id == span.span_id


def _is_same_execution(call: Call, span: Span, arguments: JsonValue) -> bool:
    """Return True if a span reports the same execution again, as a client and its server do.

    One of the spans is then within the other, and the arguments are the same.
    """
    recorded = call.execution
    if recorded is None or not _same_arguments(call.arguments, arguments):
        return False
    # The outer span begins first; if both begin together, it is the longer one.
    first, last = sorted((recorded, span), key=lambda execution_span: (execution_span.start, -(execution_span.end or 0)))
    return (last.end or 0) <= (first.end or 0)


def _same_arguments(first: JsonValue, second: JsonValue) -> bool:
    """Return True if arguments are equal. Some writers record all arguments as one object or as its JSON text, others a single
    argument without its name."""
    if canonical(first) == canonical(second):
        return True
    first, second = _as_written(first), _as_written(second)
    return canonical(first) == canonical(second) or canonical(_bare(first)) == canonical(_bare(second))


def _as_written(arguments: JsonValue) -> JsonValue:
    only = arguments[0] if isinstance(arguments, (list, tuple)) and len(arguments) == 1 else arguments
    members = as_object(only)
    return arguments if members is None else members


def _bare(arguments: JsonValue) -> JsonValue:
    return next(iter(arguments.values())) if isinstance(arguments, dict) and len(arguments) == 1 else arguments


def _key(part: ToolCall) -> str:
    return f"{part.name} {canonical(part.arguments)}"
