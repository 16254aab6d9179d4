"""The base class of all quality signals, and its form for a plain function of a span."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

from llmtrace.model import Evaluation, Span, Trace

if TYPE_CHECKING:
    from llmtrace.evidence.run_evidence import RunEvidence

State = TypeVar("State")
Need: TypeAlias = Literal["", "attributes", "results", "ungrounded", "violations", "words"]
"""``attributes``, ``violations``: the span has some. ``results``: it is the first to show how a tool call went.
``ungrounded``: a call of the run so far has an identifier that nothing visible contains. ``words``: the model's answer is more
than tool calls."""


class Signal(Generic[State]):
    """Watches one run at a time. Derive from it, set ``name``, and define `start` and `step`.

    Laws: a signal is deterministic, its state is bounded however long the run, it never changes a span, and its explanations
    and labels hold no content. What a model or a user said stands in ``evidence`` only.
    """

    name: str
    """The name of every evaluation that it gives."""
    advice: str = ""
    """One sentence on what to do about a finding; `llmtrace why` shows it."""
    looks_at: tuple[type, ...] = ()
    """The kinds of operation whose spans `step` gets; empty, all."""
    needs: Need = ""
    """What a span must have for `step` to be called with it; default, nothing."""

    def start(self, run: RunEvidence) -> State:
        """Return the state for one new run: whatever `step` needs to remember. ``run`` is what all signals share of it."""
        raise NotImplementedError

    def step(self, state: State, span: Span) -> Iterable[Evaluation]:
        """Judge a span that has just ended. Spans come in the order of ending, validated and already part of the run."""
        raise NotImplementedError

    def finish(self, state: State) -> Iterable[Evaluation]:  # noqa: ARG002  default
        """Return what is only known at the end. Called once, when the run's outermost span has been stepped."""
        return ()

    def on_reading(self, trace: Trace) -> Mapping[str, Evaluation]:  # noqa: ARG002  default
        """Return what only a reader of the whole trace can see, by span id. A pure function; its findings are not stored."""
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
        """A function has no state."""

    def step(self, state: None, span: Span) -> Iterable[Evaluation]:  # noqa: ARG002
        return self.check(span)


AnySignal: TypeAlias = Signal[Any]
