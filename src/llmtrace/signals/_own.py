"""Quality signals of the program's own, as `llmtrace.signal` registers them: one registry for each process.

What the program writes is a function of a span, a class of which each run gets an object, or a generator that each run begins
anew. Law: whatever form it has, it is a `Signal` like any other; it does not see what it causes itself.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

from llmtrace.content import to_json
from llmtrace.model import Evaluation, Severity, Span, replace
from llmtrace.validation.annotations import written_signature

R = TypeVar("R")

_WORD = re.compile(r"[\w.:-]{1,40}")
"""A text that is a label; a longer one may hold content."""

is_judging: ContextVar[bool] = ContextVar("llmtrace_judging", default=False)
"""One of them is being asked here; also in what it begins in a copy of its context."""

registered: dict[str, Own] = {}
"""By name, in the order in which they were first registered."""


class Own:
    """A quality signal made of what the program wrote. ``background``: it is judged later, on another thread."""

    def __init__(
        self,
        written: Any,
        *,
        name: str,
        description: str,
        severity: Severity,
        below: float | None,
        looks_at: tuple[type, ...] | None,
        background: bool,
    ) -> None:
        self.written = written
        self.name = name
        self.description = description
        self.severity: Severity = severity
        self.below = below
        self.looks_at = looks_at
        self.background = background
        self._start = _starter(written)

    @property
    def origin(self) -> str:
        """Where it is written: ``module:name``."""
        return f"{getattr(self.written, '__module__', '?')}:{getattr(self.written, '__qualname__', self.name)}"

    def start(self) -> Callable[[Span], Any]:
        """The state of a run is what is to be called with each of its spans."""
        return self._judge(self._start) or _silent

    def step(self, state: Callable[[Span], Any], span: Span) -> Iterable[Evaluation]:
        return self._judge(lambda: tuple(self.findings(state(span)))) or ()

    def finish(self, state: Any) -> Iterable[Evaluation]:
        end = getattr(getattr(state, "__self__", None), "finish", None)
        return () if end is None else self._judge(lambda: tuple(self.findings(end()))) or ()

    @staticmethod
    def _judge(say: Callable[[], R]) -> R | None:
        """None: it is about what one of them causes."""
        return None if is_judging.get() else copy_context().run(_as_judge, say)

    def findings(self, said: Any) -> Iterator[Evaluation]:
        """What was said of a span, as evaluations; see `llmtrace.signal`. Raises TypeError for what says nothing."""
        if said is None or said is False:
            return
        if isinstance(said, Evaluation):
            yield replace(said, name=self.name)
        elif said is True:
            yield Evaluation(self.name, self.severity, self.description, label="fail")
        elif isinstance(said, str):
            yield self._of_text(said)
        elif isinstance(said, (int, float)):
            yield self._of_score(float(said))
        elif isinstance(said, Iterable):
            for one in said:
                yield from self.findings(one)
        else:
            raise TypeError(
                f"a signal gives an Evaluation, a bool, a text, a number, None or several of these, not {type(said)}"
            )

    def _of_text(self, said: str) -> Evaluation:
        if _WORD.fullmatch(said):
            return Evaluation(self.name, self.severity, self.description, label=said)
        return Evaluation(self.name, self.severity, self.description, label="fail", evidence={"reason": to_json(said)})

    def _of_score(self, score: float) -> Evaluation:
        """The description may tell what is wanted, so the score is said before it, and the bound."""
        if self.below is None:
            return Evaluation(self.name, "info", f"scored {score:.4g}: {self.description}", score=score)
        low = score < self.below
        severity, label, bound = (self.severity, "fail", "below") if low else ("info", "pass", "at least")
        explanation = f"scored {score:.4g}, {bound} {self.below:.4g}: {self.description}"
        return Evaluation(self.name, severity, explanation, label=label, score=score)


def _as_judge(say: Callable[[], R]) -> R:
    is_judging.set(True)
    return say()


def _silent(_: Span) -> None:
    """What is said of a run that a signal began itself."""


def _starter(written: Any) -> Callable[[], Callable[[Span], Any]]:
    if isinstance(written, type):
        return lambda: _of_object(written())
    if is_generator(written):
        return lambda: _of_generator(written())
    return lambda: written


def is_generator(written: Any) -> bool:
    """Whether it is sent the spans; a generator that takes one as its argument is a function of it."""
    return inspect.isgeneratorfunction(written) and not written_signature(written).parameters


def _of_object(made: Any) -> Callable[[Span], Any]:
    step: Callable[[Span], Any] = made.step if hasattr(made, "step") else made.__call__
    return step


def _of_generator(generator: Any) -> Callable[[Span], Any]:
    """A generator that is sent each span and yields what it says of it. One that returns says nothing more."""
    next(generator, None)

    def step(span: Span) -> Any:
        try:
            return generator.send(span)
        except StopIteration:
            return None

    return step


def live() -> dict[str, Own]:
    """Those that are stepped with each span, by name."""
    return {name: own for name, own in registered.items() if not own.background}


def judges() -> dict[str, Own]:
    """Those that judge in the background, by name."""
    return {name: own for name, own in registered.items() if own.background}
