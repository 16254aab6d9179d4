"""The program's own quality signals, registered by `llmtrace.signal`. Each process has one registry.

The program writes a function of a span, a class, or a generator. Each run gets its own instance of the class or generator. Law:
in any form, it works like a built-in law, and it does not judge spans that signals of the program cause.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from llmtrace.content import to_json
from llmtrace.laws.base import Law
from llmtrace.model import Evaluation, Severity, Span, replace
from llmtrace.text.patterns import lazy_pattern
from llmtrace.validation.annotations import written_signature

if TYPE_CHECKING:
    from llmtrace.reading.timeline import Timeline

R = TypeVar("R")

_LABEL = lazy_pattern(r"[\w.:-]{1,40}")
"""A text that counts as a label. Any other text may be content."""

is_judging: ContextVar[bool] = ContextVar("llmtrace_judging", default=False)
"""True while a user's signal runs, also in tasks that it starts with a copy of its context."""

registered: dict[str, UserSignal] = {}
"""All registered signals by name, in the order in which the names were first registered."""


@dataclass(eq=False, kw_only=True)
class UserSignal(Law[Callable[[Span], Any]]):
    """A quality signal that runs the program's code. ``background``: it judges later, on another thread."""

    code: Any
    name: str
    description: str
    severity: Severity
    below: float | None
    looks_at: tuple[type, ...]
    background: bool

    @property
    def origin(self) -> str:
        """Where the signal is defined: ``module:name``."""
        return f"{getattr(self.code, '__module__', '?')}:{getattr(self.code, '__qualname__', self.name)}"

    def start(self, timeline: Timeline) -> Callable[[Span], Any]:  # noqa: ARG002
        """Return the function that is called with each span of the run; it is the run's state."""
        return _run_as_judge(lambda: _new_step(self.code)) or _ignore

    def step(self, state: Callable[[Span], Any], span: Span) -> Iterable[Evaluation]:
        return _run_as_judge(lambda: tuple(self.evaluations(state(span)))) or ()

    def finish(self, state: Callable[[Span], Any]) -> Iterable[Evaluation]:
        end = getattr(getattr(state, "__self__", None), "finish", None)  # a user's class may have one
        return () if end is None else _run_as_judge(lambda: tuple(self.evaluations(end()))) or ()

    def evaluations(self, verdict: Any) -> Iterator[Evaluation]:
        """Turn what the user's code returned into evaluations; see `llmtrace.signal`. Raises TypeError for any other value."""
        if verdict is None or verdict is False:
            return
        if isinstance(verdict, Evaluation):
            yield replace(verdict, name=self.name)
        elif verdict is True:  # before the numbers, since a bool is an int
            yield Evaluation(self.name, self.severity, self.description, label="fail")
        elif isinstance(verdict, str):
            label, evidence = (verdict, {}) if _LABEL.fullmatch(verdict) else ("fail", {"reason": to_json(verdict)})
            yield Evaluation(self.name, self.severity, self.description, label=label, evidence=evidence)
        elif isinstance(verdict, (int, float)):
            yield self._from_score(float(verdict))
        elif isinstance(verdict, Iterable):
            for item in verdict:
                yield from self.evaluations(item)
        else:
            raise TypeError(
                f"a signal gives an Evaluation, a bool, a text, a number, None or several of these, not {type(verdict)}"
            )

    def _from_score(self, score: float) -> Evaluation:
        """Turn a score into an evaluation. Score and bound come first, since the description may state the desired value."""
        if self.below is None:
            return Evaluation(self.name, "info", f"scored {score:.4g}: {self.description}", score=score)
        is_low = score < self.below
        severity, label, bound = (self.severity, "fail", "below") if is_low else ("info", "pass", "at least")
        explanation = f"scored {score:.4g}, {bound} {self.below:.4g}: {self.description}"
        return Evaluation(self.name, severity, explanation, label=label, score=score)


def is_generator(code: Any) -> bool:
    """Return True for a generator function without parameters, which gets spans by ``send``.

    A generator function with a parameter is a plain function of a span.
    """
    return inspect.isgeneratorfunction(code) and not written_signature(code).parameters


def _run_as_judge(judge: Callable[[], R]) -> R | None:
    """Run a user's code in a copy of the context. Returns None, without running it, if a user's signal caused the span."""

    def marked() -> R:
        is_judging.set(True)
        return judge()

    return None if is_judging.get() else copy_context().run(marked)


def _ignore(_span: Span) -> None:
    """Do nothing: the step for a run that a user's signal itself caused."""


def _new_step(code: Any) -> Callable[[Span], Any]:
    """Return the function that gets each span of a new run."""
    if isinstance(code, type):
        judge: Any = code()
        step: Callable[[Span], Any] = judge.step if hasattr(judge, "step") else judge.__call__
        return step
    if not is_generator(code):
        return code  # type: ignore[no-any-return]
    generator = code()
    next(generator, None)  # runs to the first `yield`, which receives the first span

    def send(span: Span) -> Any:
        try:
            return generator.send(span)
        except StopIteration:
            return None  # a generator that has returned reports nothing more

    return send
