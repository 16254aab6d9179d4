"""The error tree. None of these errors reaches a program that did not choose it by a policy or a call.

::

    LlmtraceError
    ├── ConfigurationError (ValueError)      code passed a value that cannot work
    ├── InvalidToolCall (ValueError)         on_invalid="raise": the model's call breaks the tool's schema
    ├── ReviewConflict                       a decision cannot be taken: made by another, for a changed call, too late …
    ├── ReviewDenied                         on_denied="raise": a person, or a time limit, denied a call
    ├── ReviewPending                        a run ended to be resumed when somebody has decided
    ├── BudgetExceeded                       a run went over its Budget, and on_exceed is "raise" (default)
    ├── CheckpointFailed (ValueError)        a state failed its check, and the checkpoint's on_fail is not "record"
    ├── OutputInvalid (ValueError)           no answer of a model fitted the type given to `validated`
    ├── LetterConflict                       a dead letter is being retried, was before, or is in doubt
    ├── DiagnosisFailed                      llmtrace itself failed on a trace
    ├── JudgeFailed                          the model asked for a second opinion gave none
    ├── EndpointFailed                       an endpoint cannot be asked
    ├── PortBusy                             a port cannot be listened on
    └── StoreError                           reading a store
        ├── StateUnavailable (LookupError)   a trace has no such checkpoint, or its state was not kept whole
        ├── TraceNotFound (LookupError)
        └── UnreadableStore                  a store or file that cannot be read: missing, newer, not a trace

    ReplayDiverged (BaseException)           a replayed program did not do what the recorded one did; it ends the program
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmtrace.model import Fault, Usage, Violation
    from llmtrace.model.budgets import BudgetLimits, Spender
    from llmtrace.model.reviews import Decision


class LlmtraceError(Exception):
    """Base of every error that llmtrace raises."""


class ConfigurationError(LlmtraceError, ValueError):
    """Code passed a value to llmtrace that cannot work. The message says which value, where, and what is expected."""


class InvalidToolCall(LlmtraceError, ValueError):
    """A tool call breaks its schema and the tool's policy is to raise. The tool did not run.

    ``tool`` is its name, ``call_id`` the model's id for the call (or None), ``violations`` all faults at once,
    ``reply`` a text that the model can act on.
    """

    def __init__(self, tool: str, violations: Sequence[Violation], *, reply: str, call_id: str | None = None) -> None:
        super().__init__(reply)
        self.tool = tool
        self.violations = tuple(violations)
        self.reply = reply
        self.call_id = call_id


class ReviewConflict(LlmtraceError):
    """A decision cannot be taken; nothing was changed.

    ``kind``: ``unknown`` (no such review), ``decided`` (somebody was first, or the program stopped waiting), ``changed`` (the
    digest is not that of the call), ``expired``, ``invalid`` (an edit or an answer that breaks the schema), or
    ``unreadable`` (its record is damaged).
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class ReviewDenied(LlmtraceError):
    """A call was held for review and denied. ``decision`` says why; ``review_id`` names the review."""

    def __init__(self, message: str, *, decision: Decision, review_id: str = "") -> None:
        super().__init__(message)
        self.decision = decision
        self.review_id = review_id


class ReviewPending(LlmtraceError):
    """Nobody has decided a review within the time that the program waits (``configure(review_wait=)``).

    Nothing ran. ``review_id`` names the review: ``llmtrace review resume ID -- COMMAND``, or `llmtrace.resume_review`.
    """

    def __init__(self, review_id: str, question: str, *, in_doubt: bool = False, is_running: bool = False) -> None:
        """``in_doubt``: the program died while the call ran, so that somebody has to say first whether it took effect.
        ``is_running``: the call runs now, in another program that went on with this review."""
        waits = "waits for a review. When it is decided"
        if is_running:
            waits = "runs now in another program that was resumed, so it does not run here. When that program has ended"
        elif in_doubt:
            settle = f"llmtrace review settle {review_id} --happened yes|no"
            waits = f"may have run when its program died. Say so with {settle}, then"
        super().__init__(f"{question} {waits}: llmtrace review resume {review_id} -- COMMAND")
        self.review_id = review_id
        self.in_doubt = in_doubt


class LetterConflict(LlmtraceError):
    """A dead letter cannot be retried or dropped now; nothing was changed. The message says why."""


class BudgetExceeded(LlmtraceError):
    """A budget is spent: the next call did not start, or a stream was stopped. With ``on_exceed="record"`` nothing raises it.

    ``limit`` names what was spent (``usd``, ``calls``, ``tokens``, ``output_tokens``, ``seconds``, ``repeats`` or
    ``corrections``); ``allowed``
    and ``spent`` are in that unit; ``budget`` is the `llmtrace.Budget`. ``spenders`` are the three that spent most, greatest
    first, each with ``name``, ``share`` (0 to 1) and ``spent``.
    """

    def __init__(
        self,
        message: str = "",
        *,
        limit: str = "",
        allowed: float = 0,
        spent: float = 0,
        budget: BudgetLimits | None = None,
        spenders: Sequence[Spender] = (),
    ) -> None:
        super().__init__(message)
        self.limit = limit
        self.allowed = allowed
        self.spent = spent
        self.budget = budget
        self.spenders = tuple(spenders)


class CheckpointFailed(LlmtraceError, ValueError):
    """A state failed the check of a checkpoint whose ``on_fail`` says that the program must not go on with it.

    ``name`` is the checkpoint's, ``reason`` says what is wrong, with what the check itself said.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"checkpoint {name!r}: {reason}")
        self.name = name
        self.reason = reason


class OutputInvalid(LlmtraceError, ValueError):
    """No answer of a model fitted the form that `llmtrace.validated` was given.

    ``attempts``: how many answers there were. ``faults``: those of the last one, each with ``pointer`` (JSON Pointer; empty for
    the whole answer) and ``message``. ``usage``: tokens of all attempts, as far as the completions say. ``completion``: the
    last one, as the client gave it.
    """

    def __init__(self, name: str, attempts: int, faults: Sequence[Fault], usage: Usage | None, completion: object) -> None:
        listed = "; ".join(f"{fault.pointer or '(all of it)'}: {fault.message}" for fault in faults[:3])
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        answers = f"none of {attempts} answers" if attempts > 1 else "the answer"
        super().__init__(f"{answers} {'is' if attempts > 1 else 'is not'} a valid {name}: {listed}{more}")
        self.attempts = attempts
        self.faults = tuple(faults)
        self.usage = usage
        self.completion = completion


class ReplayDiverged(BaseException):
    """A replayed program did something that the recorded one did not do, or that the recording cannot answer.

    It is a `BaseException` so that it ends the program: a library that retries, or an agent that reports errors to its model,
    must not go on with answers that do not fit.

    ``kind``: ``changed`` (another request than the recorded one), ``missing`` (a call that the recording does not hold),
    ``incomparable`` (the recorded answer was redacted or cut, or cannot be restored), ``network`` (the program used the network
    outside a recorded call), or ``left over`` (recorded calls that the program did not make).
    """

    def __init__(self, message: str, *, kind: str = "changed") -> None:
        super().__init__(message)
        self.kind = kind


class DiagnosisFailed(LlmtraceError):
    """An error in llmtrace: it could not diagnose a trace. ``fault`` says in a few words what happened and where in
    llmtrace; the message also says how to report it. Other traces are not concerned.
    """

    def __init__(self, trace_id: str, fault: str) -> None:
        super().__init__(
            f"trace {trace_id} could not be diagnosed: {fault}.\n"
            "This is a fault of llmtrace, not of your program. Please report it to the project, with this message (if it\n"
            f"quotes nothing private) and what llmtrace export {trace_id[:8]} --content none writes: no content is in that.\n"
            f"What was recorded can be read: llmtrace show {trace_id[:8]}"
        )
        self.trace_id = trace_id
        self.fault = fault


class JudgeFailed(LlmtraceError):
    """The judge model gave no second opinion. The message says why, and contains no key."""


class EndpointFailed(LlmtraceError):
    """A request to an endpoint failed. The message says why, and contains no key."""


class PortBusy(LlmtraceError):
    """A port cannot be listened on. The message says which, and what to do."""


class StoreError(LlmtraceError):
    """A store could not do what was asked."""


class TraceNotFound(StoreError, LookupError):
    """No trace has this id, or more than one trace does."""


class StateUnavailable(StoreError, LookupError):
    """A trace has no such checkpoint, or its state was redacted, cut or not stored. The message says which."""


class UnreadableStore(StoreError):
    """A store or file is missing, was written by a newer llmtrace, or contains no traces."""
