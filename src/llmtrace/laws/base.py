"""The base class of all laws. In the public API, a law is called a signal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

from llmtrace.model import Evaluation, Span

if TYPE_CHECKING:
    from llmtrace.laws.finding import Finding
    from llmtrace.reading.ended_run import EndedRun
    from llmtrace.reading.timeline import Timeline

State = TypeVar("State")
When: TypeAlias = Literal["", "attributes", "results", "ungrounded", "violations", "words"]
"""Condition on a span. ``attributes``, ``violations``: the span has some. ``results``: it is the first to show the outcome of a
tool call. ``ungrounded``: it requested a call with an identifier that nothing visible contains. ``words``: the model's answer
has more than tool calls."""

Need: TypeAlias = Literal["inferences", "content", "calls", "results", "schemas", "lineage", "facts", "receipts"]
"""Data of a run. ``inferences``: a model call; ``content``: an answer of one; ``lineage``: all that the models saw; ``facts``:
the violations and facts that are stated when a step ends; ``receipts``: a change that was read back."""


class Law(Generic[State]):
    """Judges one run at a time. Derive from it, set ``name``, and define `step` or `judge`.

    `step` states facts about a step, as soon as it has ended: evaluations of its span, which mark nothing by themselves.
    `judge` says at the end what is wrong with the run, with a confidence. Laws: a law is deterministic, and never changes a
    span. Its state is bounded, however long the run. Titles, explanations and labels contain no content.
    """

    name: str
    """The name of all its evaluations and findings."""
    advice: str = ""
    """One sentence on what to do about a finding that has no better advice; `llmtrace why` shows it."""
    looks_at: tuple[type, ...] = ()
    """Types of operations. `step` gets only spans of these types; empty means all."""
    when: When = ""
    """Condition on a span for `step` to get it; default, none."""
    needs: tuple[Need, ...] = ()
    """What must have been recorded for `judge` to say that nothing is wrong. Only then does the law count as a check."""

    def start(self, timeline: Timeline) -> State:
        """Return the state for a new run, which `step` gets; default, the timeline. ``timeline``: what happened in the run so
        far, kept up to date."""
        return timeline  # type: ignore[return-value]

    def step(self, state: State, span: Span) -> Iterable[Evaluation]:  # noqa: ARG002  default
        """State facts about a span that has just ended. Spans come in the order in which they ended, validated and already in
        the timeline."""
        return ()

    def finish(self, state: State) -> Iterable[Evaluation]:  # noqa: ARG002  default
        """State facts about the run as a whole. Called once, after `step` for the run's outermost span."""
        return ()

    def judge(self, run: EndedRun) -> Iterable[Finding]:
        """Say what is wrong with a run. Also called for stored traces, so it must be a pure function of the run.

        Default: each warning and error among the facts that `step` stated is worth a look.
        """
        from llmtrace.laws.finding import finding_of, is_shown  # not needed until a run has ended

        return [
            finding_of(span, fact, self.advice, run) for span, fact in run.facts if fact.name == self.name and is_shown(fact)
        ]


@dataclass(eq=False)
class Stateless(Law[None]):
    """A law that is a plain function of the span."""

    name: str
    check: Callable[[Span], Iterable[Evaluation]]
    looks_at: tuple[type, ...] = ()
    advice: str = ""
    when: When = ""

    def step(self, state: None, span: Span) -> Iterable[Evaluation]:  # noqa: ARG002
        return self.check(span)


AnyLaw: TypeAlias = Law[Any]
