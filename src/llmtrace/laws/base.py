"""The base class of all quality signals, and a subclass for plain functions of a span."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

from llmtrace.model import Evaluation, Span, Trace

if TYPE_CHECKING:
    from llmtrace.reading.run_evidence import RunEvidence

State = TypeVar("State")
Need: TypeAlias = Literal["", "attributes", "results", "ungrounded", "violations", "words"]
"""Condition on a span. ``attributes``, ``violations``: the span has some. ``results``: it is the first to show the outcome of a
tool call. ``ungrounded``: a call of the run so far has an identifier that nothing visible contains. ``words``: the model's
answer has more than tool calls."""


class Signal(Generic[State]):
    """Watches one run at a time. Derive from it, set ``name``, and define `start` and `step`.

    Laws: a signal is deterministic, and never changes a span. Its state is bounded, however long the run. Its explanations and
    labels contain no content: words of a model or a user appear in ``evidence`` only.
    """

    name: str
    """The name of all its evaluations."""
    advice: str = ""
    """One sentence on what to do about a finding; `llmtrace why` shows it."""
    looks_at: tuple[type, ...] = ()
    """Types of operations. `step` gets only spans of these types; empty means all."""
    needs: Need = ""
    """Condition that a span must meet for `step` to get it; default, none."""

    new_state: Callable[[RunEvidence], State]
    """Makes the state of a new run from the evidence that all signals share. Set it, or define `start`."""

    def start(self, run: RunEvidence) -> State:
        """Return the initial state for a new run. `step` gets and updates it. ``run``: evidence that all signals share."""
        return self.new_state(run)

    def step(self, state: State, span: Span) -> Iterable[Evaluation]:
        """Judge a span that has just ended. Spans come in the order in which they ended, validated and already in ``run``."""
        raise NotImplementedError

    def finish(self, state: State) -> Iterable[Evaluation]:  # noqa: ARG002  default
        """Return the findings that are only known at the end. Called once, after `step` for the run's outermost span."""
        return ()

    def on_reading(self, trace: Trace) -> Mapping[str, Evaluation]:  # noqa: ARG002  default
        """Return findings by span id that need the whole trace. Must be a pure function. These findings are not stored."""
        return {}


@dataclass(eq=False)
class Stateless(Signal[None]):
    """A signal that is a plain function of the span."""

    name: str
    check: Callable[[Span], Iterable[Evaluation]]
    looks_at: tuple[type, ...] = ()
    advice: str = ""
    needs: Need = ""

    def start(self, run: RunEvidence) -> None:
        """Return None, since a function has no state."""

    def step(self, state: None, span: Span) -> Iterable[Evaluation]:  # noqa: ARG002
        return self.check(span)


AnySignal: TypeAlias = Signal[Any]
