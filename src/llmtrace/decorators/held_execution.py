"""A tool execution that waits for a person's decision, and the effect of the decision.

Laws: the call that runs has the digest of the call that was shown, checked where the body is called. The store says ``started``
before the body runs, and records the outcome after it. Nothing runs twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llmtrace.codec.json_text import write as to_text
from llmtrace.content import to_json
from llmtrace.content.placeholders import HIDDEN_MARKS, holds_placeholder
from llmtrace.content.snapshot import NOT_PLAIN, plain
from llmtrace.errors import ReviewConflict, ReviewDenied, ReviewPending
from llmtrace.guards.hold import Hold, active_recording, denial, digest_of
from llmtrace.guards.review_policy import Reason
from llmtrace.guards.review_settings import is_any_resumed, is_resumed, review_settings
from llmtrace.model import JsonValue, ToolCall, ToolDefinition, replace
from llmtrace.model.reviews import Decision
from llmtrace.recorder.guard import guard
from llmtrace.recorder.player import player
from llmtrace.validation.check_values import check_arguments
from llmtrace.validation.parse_arguments import usable_arguments

if TYPE_CHECKING:
    from llmtrace.decorators.tool_execution import Execution, ToolSpec

_WHOLE = 1 << 30
"""Size limit, in effect none: the shown arguments and those that run must be compared in full."""


class HeldExecution:
    """An execution before its decision, see `Execution.hold`. The decision changes the execution to what must be done."""

    def __init__(
        self,
        execution: Execution,
        spec: ToolSpec,
        definition: ToolDefinition,
        call: ToolCall,
        reason: Reason,
        begin: Callable[[JsonValue], None],
    ) -> None:
        """``begin`` opens the span of the execution. Its argument: the arguments that a person entered, or None for those of
        the call. It raises the errors of a budget."""
        self._execution, self._spec, self._definition, self._call, self._begin = execution, spec, definition, call, begin
        self._hold = Hold(
            call.name,
            shown_arguments(spec, execution, call),
            reason=reason.text,
            tool=call.name,
            call_id=call.id,
            schema=definition.parameters if isinstance(definition.parameters, dict) else None,
            strict=definition.strict,
            origins=reason.origins,
        )

    def wait(self) -> None:
        try:
            decision = self._hold.wait()
        except BaseException:
            self._execution.close()
            raise
        self._apply(decision)

    async def wait_async(self) -> None:
        try:
            decision = await self._hold.wait_async()
        except BaseException:
            self._execution.close()
            raise
        self._apply(decision)

    def _apply(self, decision: Decision) -> None:
        execution = self._execution
        execution.hold = None
        if decision.kind == "answered":
            execution.stand_in(decision.value)
            return
        if not decision.is_allowed:
            self._deny(decision)
            return
        new_arguments: JsonValue = None
        if decision.kind == "edited":
            new_arguments = self._hold.raw(decision.value)
            problem = self._bind(new_arguments)
            if problem:
                self._deny(Decision("rejected", by=decision.by, reason=f"the arguments that it was given instead: {problem}"))
                return
        elif usable_arguments(self._call.arguments) is None:
            self._deny(Decision("rejected", reason="its arguments are no JSON object, so they cannot be approved"))
            return
        self._run(new_arguments)

    def _bind(self, new_arguments: JsonValue) -> str:
        """Use the arguments that a person entered. Returns a description of their faults, or ""."""
        if not isinstance(new_arguments, dict):
            return "they are not a JSON object"
        unchanged = self._unchanged(new_arguments)
        if _holds_mark({name: value for name, value in new_arguments.items() if name not in unchanged}, self._hold.payload):
            return "a value that is not shown can be replaced as a whole, and not be moved or changed in part"
        errors = [error for error in check_arguments(new_arguments, self._definition) if error.severity == "error"]
        refusals: list[Any] = []
        bound = guard(self._spec.signature.bind, {**new_arguments, **unchanged}, refusals) if not errors else None
        problems = [f"{error.pointer or 'arguments'}: {error.message}" for error in errors]
        problems += [refusal.reason for refusal in refusals]
        if bound is None or problems:
            return "; ".join(problems) or "they do not fit the tool"
        receiver = self._execution.args[: self._execution.receivers]
        self._execution.args, self._execution.kwargs = (*receiver, *bound[0]), dict(bound[1])
        return ""

    def _unchanged(self, new_arguments: dict[str, JsonValue]) -> dict[str, Any]:
        """Return the program's own objects for the arguments that a person did not change, because JSON cannot hold every
        object."""
        execution, shown = self._execution, self._hold.payload
        values = guard(self._spec.signature.arguments, execution.args[execution.receivers :], execution.kwargs) or {}
        if not isinstance(shown, dict):
            return {}
        written = {name: to_text(value) for name, value in new_arguments.items() if name in values and name in shown}
        same = [name for name, text in written.items() if text == to_text(shown[name])]
        return {name: values[name] for name in same if to_text(to_json(values[name], limit=_WHOLE)) == written[name]}

    def _run(self, new_arguments: JsonValue) -> None:
        execution, hold = self._execution, self._hold
        reviews = hold.settings.reviews
        shown = hold.digest
        meant = shown if new_arguments is None else self._digest(new_arguments)
        ran = self._digest(shown_arguments(self._spec, execution, self._call))
        if new_arguments is None and ran != meant:
            self._deny(Decision("rejected", reason="its arguments changed while it waited"))
            return
        played = player()
        may_run_again = played is not None and played.will_run(self._call.name)
        self._begin(new_arguments)
        if new_arguments is not None:
            changed = to_text(to_json(new_arguments))
            execution.note = f"A reviewer changed the arguments of this call of {self._call.name} before it ran, to {changed}."
        review_id = hold.review_id
        if review_id is None:  # in a replay the decision comes from the record
            if execution.body is not None or may_run_again:
                return
            review_id = hold.recorded_id or ""  # the result was not recorded: the store knows whether it ran
        try:
            has_started = reviews.start(review_id, shown, meant)
        except (ReviewConflict, sqlite3.Error, OSError) as error:
            self._deny(Decision("unattended", reason=f"the approval could not be used: {error}"))
            return
        if not has_started:
            self._ran_before(review_id, hold.payload if new_arguments is None else new_arguments)
            return
        execution.on_end = lambda state, result: guard(reviews.finish, review_id, state, result)

    def _digest(self, arguments: JsonValue) -> str:
        return digest_of(self._hold.settings, self._call.name, self._call.id, arguments)

    def _ran_before(self, review_id: str, arguments: JsonValue) -> None:
        """Handle a decision that was used before, with these arguments, by a process that has ended or is still running the
        call."""
        reviews = self._hold.settings.reviews
        record = reviews.get(review_id)
        probe = self._spec.probe
        if record.state == "in_doubt" and probe is not None:
            happened = guard(probe, arguments)
            if isinstance(happened, bool):
                reviews.settle(review_id, happened=happened, by="probe")
                if not happened and reviews.start(review_id, self._hold.digest, self._hold.digest):
                    self._execution.on_end = lambda state, result: guard(reviews.finish, review_id, state, result)
                    return
                record = reviews.get(review_id)
        if record.state == "done":
            self._execution.stand_in(record.result if record.result is not None else f"{self._call.name} ran before.")
        elif record.state == "failed":
            self._execution.stand_in(f"{self._call.name} ran before, and failed.")
        else:
            self._execution.close()
            is_running = record.state == "started"
            raise ReviewPending(review_id, self._call.name, in_doubt=not is_running, is_running=is_running)

    def _deny(self, decision: Decision) -> None:
        text = denial(self._hold.question, decision)
        self._execution.note = ""
        self._execution.stand_in(text)
        if self._spec.on_denied == "raise":
            raise ReviewDenied(text, decision=decision, review_id=self._hold.review_id or "")


def _holds_mark(arguments: JsonValue, raw: JsonValue) -> bool:
    """Return True if arguments contain a placeholder for a value that was redacted or cut, or that is not JSON."""
    text, raw_text = to_text(arguments), to_text(raw)
    return holds_placeholder(arguments) or any(text.count(mark) > raw_text.count(mark) for mark in HIDDEN_MARKS)


def shown_arguments(spec: ToolSpec, execution: Execution, call: ToolCall) -> JsonValue:
    """Return the arguments that would run, as JSON: as bound to the function, or those of the call if they cannot be bound."""
    if execution.args or execution.kwargs:
        values = guard(spec.signature.arguments, execution.args[execution.receivers :], execution.kwargs)
        if values is not None:
            shown = {name: value for name, value in _plain_defaults(spec).items() if name not in values}
            return to_json({**values, **shown}, limit=_WHOLE)
    return to_json(call.arguments, limit=_WHOLE)


def _plain_defaults(spec: ToolSpec) -> dict[str, Any]:
    """Return the defaults of arguments that a call may leave out, without those that are not JSON."""
    defaults = {name: plain(value) for name, value in spec.signature.defaults.items()}
    return {name: value for name, value in defaults.items() if value is not NOT_PLAIN}


def is_answered_by_record(spec: ToolSpec, execution: Execution, call: ToolCall) -> bool:
    """Return True for a call in a replay that was not held when it was recorded: its recorded result is used, or it is held
    now."""
    played = player()
    if played is None or played.will_run(call.name):
        return False
    arguments, digest = _shown(spec, execution, call)
    return played.review_of(call.name, digest, arguments, take=False) is None and not is_resumed(digest)


def reason_to_hold(
    spec: ToolSpec, execution: Execution, definition: ToolDefinition, call: ToolCall, invalid: str
) -> Reason | None:
    """Return the reason why this call waits for a person, or None. ``invalid``: the faults of its arguments, under
    ``on_invalid="review"``."""
    played = player()
    if played is not None or is_any_resumed():
        arguments, digest = _shown(spec, execution, call)
        recorded = None if played is None else played.review_of(call.name, digest, arguments, take=False)
        if recorded is not None:
            return Reason(recorded.reason or "it was held when it was recorded")
        if is_resumed(digest):
            return Reason("it was held before")
    if invalid:
        return Reason(f"its arguments are invalid: {invalid}")
    if spec.review is None:
        return None
    # as it would run: repaired, or what a lenient reader makes of a faulty text
    repaired = None if execution.operation is None else execution.operation.repaired
    read_arguments = usable_arguments(call.arguments) if repaired is None else repaired
    shown_call = call if read_arguments is None else replace(call, arguments=read_arguments)
    return spec.review.reason(shown_call, definition, active_recording(), _plain_defaults(spec))


def _shown(spec: ToolSpec, execution: Execution, call: ToolCall) -> tuple[JsonValue, str]:
    """Return the arguments that would run, and the digest of the call."""
    arguments = shown_arguments(spec, execution, call)
    return arguments, digest_of(review_settings(), call.name, call.id, arguments)
