"""An execution of a tool, called by the program or requested by a model: checked, recorded, then run or refused.

``@tool`` functions that are called directly and ``Tools.run`` share this path: check the arguments, apply the policy, open the
span, and end it with the outcome. Law: without ``configure()`` nothing is recorded, but checks and policy still apply.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic_core import to_json as dump

from llmtrace.config import OnInvalid
from llmtrace.content import to_json
from llmtrace.content.snapshot import NOT_PLAIN, plain
from llmtrace.errors import InvalidToolCall
from llmtrace.model import Failure, JsonValue, Receipt, ToolCall, ToolDefinition, ToolExecution, Violation, replace
from llmtrace.model.value import value
from llmtrace.recorder import Recording, active, current, functions
from llmtrace.recorder.current import configured
from llmtrace.recorder.guard import guard
from llmtrace.recorder.recorded_outcome import find_answer, keep_outcome
from llmtrace.semconv import PARTIAL
from llmtrace.validation import repair as policies
from llmtrace.validation.check_values import check_arguments, check_call
from llmtrace.validation.json_pointers import pointer
from llmtrace.validation.parse_arguments import usable_arguments
from llmtrace.validation.signature import Signature

if TYPE_CHECKING:
    from llmtrace.decorators.confirmation import Confirmation
    from llmtrace.decorators.held_execution import HeldExecution
    from llmtrace.guards.receipt_reader import Change, Reader
    from llmtrace.guards.review_policy import ReviewPolicy
    from llmtrace.model.reviews import ReviewState
    from llmtrace.validation.parameters import Refusal

_MAX_JUDGED = 1 << 19
_MAX_JUDGED_DEPTH = 64
"""Largest argument of a direct call, in characters and levels, that is validated. A snapshot keeps more than that whole."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """The specification of a tool: the options of `tool` and the signature of its function."""

    signature: Signature
    on_invalid: OnInvalid | None
    review: ReviewPolicy | None = None
    """Decides which calls wait for a person."""
    on_denied: Literal["reply", "raise"] = "reply"
    probe: Callable[[Any], bool | None] | None = None
    """Reports whether a call with these arguments took effect, for a call during which the program died."""
    reader: Reader | None = None
    """Reads a change back after the tool has answered."""

    @property
    def definition(self) -> ToolDefinition:
        return self.signature.definition


class Execution(functions.Step):
    """A tool execution in progress."""

    kept_items = functions.KEPT_ITEMS
    recording: Recording | None
    operation: ToolExecution | None = None
    failure: Failure | None = None
    """The fault that the tool's own validators found in the arguments, if the policy lets the call run nevertheless."""
    hold: HeldExecution | None = None
    """A wait for a person's decision. The caller must wait first; afterwards the execution may be `refused`."""
    receivers = 0
    """Number of leading ``args`` that are the object or class of a method, not arguments of the tool."""
    note = ""
    """Text for the model beside the result."""
    on_end: Callable[[ReviewState, JsonValue], Any] | None = None
    """Called with the outcome of an approved call."""
    receipt: Receipt | None = None
    """What reading the change back found."""
    pending_change: Change | None = None
    """A change that is looked at again after the span has ended."""
    answered_at: int | None = None
    """When the tool answered, if it was read back since; nanoseconds since the Unix epoch."""

    def refuse(self, answer: str) -> None:
        """Prevent the tool from running; the model gets ``answer`` instead."""
        self.refused, self.answer = True, answer

    def stand_in(self, answer: Any) -> None:
        """Use ``answer`` as the result, without an error; the tool does not run."""
        self.refuse(answer)
        operation, recording = self.operation, self.recording
        if operation is None:
            return
        operation = replace(operation, executed=False, result=guard(to_json, answer), has_result=True)
        if recording is None:
            recorder = active()
            recording = None if recorder is None else recorder.start(operation)
        if recording is not None:
            recording.end(operation)

    def close(self) -> None:
        """End the span of a call that does not run and has no answer yet."""
        if self.recording is not None and self.operation is not None:
            self.recording.end(replace(self.operation, executed=False))

    def note_answer(self, result: Any) -> None:
        """Note that the tool has answered. Its span stays open while the change is read back, and ends with this moment."""
        if self.recording is not None:
            self.answered_at = self.recording.recorder.identity.clock()
        self._report_done(result)

    def _report_done(self, result: Any) -> None:
        if self.on_end is not None:
            on_end, self.on_end = self.on_end, None
            on_end("done", guard(self._clean, result))

    def returned(self, result: Any, *, partial: bool = False) -> None:
        self._report_done(result)
        if self.recording is not None and self.operation is not None:
            if partial:
                self.recording.set({PARTIAL: True})
            snapshot = guard(to_json, result)
            receipt = self.receipt or self.recording.recorded_receipt
            done = replace(self.operation, result=snapshot, has_result=True, receipt=receipt)
            guard(keep_outcome, self.recording, done, returned=result)
            self.recording.end(done, failure=self.failure, end=self.answered_at)
            if self.pending_change is not None and receipt is not None:
                guard(_look_again, self.pending_change, self.recording, receipt)

    def _clean(self, result: Any) -> JsonValue:
        """Return a result as it may be stored, redacted."""
        if self.recording is None or self.operation is None:
            return None
        cleaned = self.recording.recorder.clean(replace(self.operation, result=to_json(result), has_result=True))
        return cleaned.result if isinstance(cleaned, ToolExecution) else None

    def raised(self, error: BaseException) -> None:
        if self.on_end is not None:
            self.on_end("failed", None)
        if self.recording is not None and self.operation is not None:
            guard(keep_outcome, self.recording, self.operation, raised=error)
            self.recording.end(self.operation, exception=error)


def _look_again(change: Change, recording: Recording, receipt: Receipt) -> None:
    from llmtrace.guards.late_receipts import late_receipts

    late_receipts.add(change, recording, receipt)


def called_directly(
    spec: ToolSpec, args: tuple[Any, ...], kwargs: dict[str, Any], *, bound: bool = True, receiver: Any = None
) -> Execution:
    """Begin an execution that the program calls directly. Raises InvalidToolCall under ``on_invalid="raise"``, and the errors
    of a budget.

    ``bound``: the receiver of a method is not in ``args``. ``receiver``: it.
    """
    execution = Execution(args, kwargs)
    visible = spec.signature.without_receiver(args, kwargs, bound=bound)
    values = guard(spec.signature.arguments, *visible) or {}
    definition = spec.definition
    arguments: Any = plain(values)
    if arguments is NOT_PLAIN:
        arguments = {name: to_json(value) for name, value in values.items()}
        definition = guard(_judgeable, definition, values) or definition
    recording = current() if active() is not None else None
    requested = None if recording is None else guard(recording.run.take_call, definition.name, arguments)
    call_id = None if requested is None else requested.id
    call = ToolCall(definition.name, arguments, call_id)
    verdict = _judge(definition, call, spec.on_invalid)
    if spec.signature.has_validators and verdict.refusal is None and not spec.signature.takes_all:
        judged = arguments if verdict.repaired is None else verdict.repaired
        short = {name: member for name, member in judged.items() if _room_after(values.get(name), _MAX_JUDGED) >= 0}
        refusals: list[Refusal] = []
        guard(spec.signature.bind, short, refusals)
        verdict = _with_refusals(verdict, refusals, definition, call, spec.on_invalid)
    if verdict.repaired is not None and verdict.refusal is None:
        receiver = args[: len(args) - len(visible[0])]
        corrected: dict[str, Any] = {}  # JSON cannot hold every object: what was not repaired is the program's own
        for name, member in verdict.repaired.items():
            is_same = name in values and dump(call.arguments.get(name)) == dump(member)
            corrected[name] = values[name] if is_same else member
        positional, execution.kwargs = _bound(spec, corrected)
        execution.args = (*receiver, *positional)
    execution.receivers = len(args) - len(visible[0])
    _start(spec, definition, execution, call, verdict, inferred=call_id is not None, receiver=receiver)
    return execution


def asked_for(spec: ToolSpec, call: ToolCall, *, on_invalid: OnInvalid | None = None, receiver: Any = None) -> Execution:
    """Begin an execution that a model requested. Raises InvalidToolCall under ``on_invalid="raise"``, and the errors of a
    budget.

    ``on_invalid``: the policy for a tool without one of its own. ``receiver``: the object of a bound method.
    """
    recording = current() if active() is not None else None
    if recording is not None:
        guard(recording.run.take_call, call.name, call.arguments, call.id)
    verdict = _judge(spec.definition, call, spec.on_invalid or on_invalid)
    arguments = usable_arguments(call.arguments) if verdict.repaired is None else verdict.repaired
    if arguments is None and verdict.refusal is None and not verdict.to_review:
        # a function cannot be called with text that is not a JSON object, whatever the policy
        verdict = replace(verdict, refusal=_reply(call.name, verdict.violations, (spec.definition,)))
    bound: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})
    if arguments is not None and verdict.refusal is None:
        refusals: list[Refusal] = []
        bound = _bound(spec, arguments, refusals)
        verdict = _with_refusals(verdict, refusals, spec.definition, call, spec.on_invalid or on_invalid)
    execution = Execution(*bound)
    _start(spec, spec.definition, execution, call, verdict, receiver=receiver)
    return execution


def unknown_tool(call: ToolCall, offered: tuple[ToolDefinition, ...], *, on_invalid: OnInvalid | None) -> Execution:
    """Answer a model that called an unknown tool with the names of the known ones. Raises as `asked_for` does."""
    violations = guard(check_call, call, offered) or ()
    execution = Execution((), {})
    execution.refuse(_reply(call.name, violations, offered))
    _record_refusal(ToolExecution(call.name, call.arguments, call_id=call.id, executed=False))
    if _policy(on_invalid) == "raise":
        raise InvalidToolCall(call.name, violations, reply=execution.answer, call_id=call.id)
    return execution


@value
class _Verdict:
    """The decision on a call: run it (with ``repaired`` arguments, if any), or refuse it."""

    violations: tuple[Violation, ...]
    repaired: dict[str, JsonValue] | None = None
    refusal: str | None = None
    raises: bool = False
    to_review: str = ""
    """The faults of the arguments, if a person is to decide."""
    failure: Failure | None = None
    """The refusal by the tool's own validators. The schema does not contain them, so the record alone could not show it."""


_VALID = _Verdict(())


def _judge(definition: ToolDefinition, call: ToolCall, on_invalid: OnInvalid | None) -> _Verdict:
    violations = guard(check_arguments, call.arguments, definition, call_id=call.id) or ()
    if not violations:
        return _VALID
    errors = tuple(violation for violation in violations if violation.severity == "error")
    policy = _policy(on_invalid)
    if not errors or policy == "record":
        return _Verdict(violations)
    if policy == "review":
        return _Verdict(violations, to_review=_listed(errors))
    repaired = guard(policies.repair, call.arguments, definition) if policy == "repair" else None
    if repaired is not None:
        return _Verdict(violations, repaired=repaired[0])
    return _Verdict(errors, refusal=_reply(definition.name, errors, (definition,)), raises=policy == "raise")


def _with_refusals(
    verdict: _Verdict, refusals: list[Refusal], definition: ToolDefinition, call: ToolCall, on_invalid: OnInvalid | None
) -> _Verdict:
    """Add the refusals of the tool's own validators to the verdict. Places where the schema already found a violation are
    skipped."""
    if not refusals:
        return verdict
    places_in_schema = {
        violation.pointer
        for violation in verdict.violations
        if violation.code != "schema" and (violation.severity == "warning" or verdict.repaired is None)
    }
    errors: list[Violation] = []
    for refusal in refusals:
        if (place := pointer(refusal.path)) not in places_in_schema:
            violation = Violation("not_allowed", place, "", refusal.reason, None, refusal.got, tool=call.name, call_id=call.id)
            errors.append(violation)
    if not errors:
        return verdict
    message = _listed(errors)
    failure = Failure(refusals[0].error, message)
    policy = _policy(on_invalid)
    if policy == "review":
        return replace(verdict, to_review=message, failure=failure)
    if policy == "record":
        return replace(verdict, failure=failure)
    reply = _reply(definition.name, tuple(errors), (definition,))
    return replace(verdict, violations=tuple(errors), refusal=reply, raises=policy == "raise", failure=failure)


def _listed(errors: Sequence[Violation]) -> str:
    return "; ".join(f"{error.pointer or 'arguments'}: {error.message}" for error in errors)


def _reply(tool: str, violations: tuple[Violation, ...], offered: tuple[ToolDefinition, ...]) -> str:
    return guard(policies.reply, tool, violations, offered) or f"Error: this call of {tool} is not valid and did not run."


def _policy(on_invalid: OnInvalid | None) -> OnInvalid:
    recorder = configured()
    return on_invalid or (recorder.config.on_invalid if recorder is not None else "record")


def _start(
    spec: ToolSpec,
    definition: ToolDefinition,
    execution: Execution,
    call: ToolCall,
    verdict: _Verdict,
    *,
    inferred: bool = False,
    receiver: Any = None,
) -> None:
    """Open the span of an execution, let it wait for a person, or record that it was refused."""
    operation = ToolExecution(
        definition.name,
        call.arguments,
        call_id=call.id,
        definition=definition,
        executed=verdict.refusal is None,
        inferred=inferred,
        repaired=verdict.repaired,
        type=definition.type,
    )
    if verdict.refusal is not None:
        execution.refuse(verdict.refusal)
        _record_refusal(operation, verdict.failure)
        if verdict.raises:
            raise InvalidToolCall(call.name, verdict.violations, reply=verdict.refusal, call_id=call.id)
        return
    execution.operation = operation
    execution.failure = verdict.failure

    def begin(new_arguments: JsonValue = None) -> None:
        """``new_arguments``: the arguments that a person entered instead."""
        if new_arguments is not None:
            execution.operation, execution.failure = replace(operation, repaired=new_arguments), None
        recorder = active()
        if recorder is not None and execution.recording is None:
            execution.recording = recorder.start(operation, can_be_answered=True)
            execution.body = find_answer(execution.recording, operation)
            execution.followup = _confirmation(execution, spec, receiver)

    if spec.review is None and not verdict.to_review:
        begin()
        return
    from llmtrace.decorators.held_execution import HeldExecution, is_answered_by_record, reason_to_hold

    if is_answered_by_record(spec, execution, call):
        begin()
        if execution.body is not None:
            return
    reason = reason_to_hold(spec, execution, definition, call, verdict.to_review)
    if reason is None:
        begin()
    else:
        execution.hold = HeldExecution(execution, spec, definition, call, reason, begin)


def _confirmation(execution: Execution, spec: ToolSpec, receiver: Any) -> Confirmation | None:
    """Return what reads the change back; None for a tool without a reader, and for a call that the record answers."""
    if spec.reader is None or execution.body is not None:
        return None
    from llmtrace.decorators.confirmation import Confirmation

    return guard(Confirmation, execution, spec, spec.reader, receiver)


def _record_refusal(operation: ToolExecution, failure: Failure | None = None) -> None:
    recorder = active()
    if recorder is not None:
        recorder.start(operation).end(operation, failure=failure)


def _judgeable(definition: ToolDefinition, values: dict[str, Any]) -> ToolDefinition:
    """Return the definition with any value allowed for arguments that are not JSON or too large to be recorded whole. A JSON
    Schema cannot check them, and only their appearance is recorded."""
    odd = [name for name, argument in values.items() if _room_after(argument, _MAX_JUDGED) < 0]
    properties = definition.parameters.get("properties") if odd and isinstance(definition.parameters, dict) else None
    if not isinstance(properties, dict):
        return replace(definition, parameters=None) if odd else definition
    loose = {**properties, **{name: {} for name in odd}}
    return replace(definition, parameters={**definition.parameters, "properties": loose})


def _room_after(value: Any, room: int, depth: int = 0) -> int:
    """Return the rest of ``room`` (in characters) after a JSON value; negative if the value does not fit or is not JSON."""
    kind = type(value)
    if kind is str:
        return room - len(value)
    if value is None or kind is bool or kind is int or (kind is float and math.isfinite(value)):
        return room - 8
    if kind is dict and all(type(name) is str for name in value):
        value = value.values()
    elif kind is not list and kind is not tuple:
        return -1
    room = room - 8 if depth < _MAX_JUDGED_DEPTH else -1  # the limit also ends a cycle
    for member in value:
        if room < 0:
            break
        room = _room_after(member, room, depth + 1)
    return room


def _bound(
    spec: ToolSpec, arguments: dict[str, JsonValue], refusals: list[Refusal] | None = None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    bound = guard(spec.signature.bind, arguments, refusals)
    return ((), dict(arguments)) if bound is None else bound
