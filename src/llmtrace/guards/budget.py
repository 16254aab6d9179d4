"""Budgets: what a run may spend, in dollars, model calls and tokens; recorded or enforced.

Law: with ``on_exceed="raise"`` no model call *starts* once the budget is spent. What is under way is not cut off.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from opentelemetry import context as otel_context

from llmtrace.errors import BudgetExceeded, ConfigurationError
from llmtrace.model import Evaluation, Inference, Operation, Span, Usage
from llmtrace.recorder import Recording, keys

logger = logging.getLogger("llmtrace")

BUDGET_EXCEEDED = "budget_exceeded"
"""Name of the evaluation on the span that crossed the budget."""


@dataclass(frozen=True)
class Budget:
    """A ceiling for all that happens below an agent, a workflow or a `budget` block. None: no ceiling of this kind.

    ``usd`` in US dollars (calls of unknown price count as nothing, which is logged once a model), ``calls`` in model calls,
    ``tokens`` in input plus output tokens. ``on_exceed``: ``record`` (default) puts an evaluation ``budget_exceeded`` on the
    span that crossed it; ``raise`` also raises `BudgetExceeded` when the next model call would start.

    Raises `ConfigurationError` for a negative ceiling, for none at all, or for another ``on_exceed``.
    """

    usd: float | None = None
    calls: int | None = None
    tokens: int | None = None
    on_exceed: Literal["record", "raise"] = "record"

    def __post_init__(self) -> None:
        if self.on_exceed not in ("record", "raise"):
            raise ConfigurationError(f"Budget(on_exceed={self.on_exceed!r}): expected 'record' or 'raise'")
        ceilings = {"usd": self.usd, "calls": self.calls, "tokens": self.tokens}
        if all(ceiling is None for ceiling in ceilings.values()):
            raise ConfigurationError("Budget(): give at least one of usd, calls, tokens")
        for name, ceiling in ceilings.items():
            if ceiling is not None and not (_is_number(ceiling) and ceiling >= 0):
                raise ConfigurationError(f"Budget({name}={ceiling!r}): expected a number of 0 or more")


def _is_number(ceiling: Any) -> bool:
    return isinstance(ceiling, (int, float)) and not isinstance(ceiling, bool)


class Spending:
    """What has been spent under one budget; a watcher of the recorder."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.usd = 0.0
        self.calls = 0
        self.tokens = 0
        self._started = 0
        self._reported: set[str] = set()
        self._unpriced: set[str | None] = set()
        self._lock = threading.RLock()  # reentrant: the collector may end a span while we are in here

    def before(self, operation: Operation) -> None:
        """Count a model call that is about to start. Raises `BudgetExceeded` when it must not."""
        if not isinstance(operation, Inference):
            return
        with self._lock:
            if self.budget.on_exceed == "raise":
                self._refuse()
            self._started += 1

    def _refuse(self) -> None:
        if self.budget.calls is not None and self._started >= self.budget.calls:
            raise BudgetExceeded("calls", self.budget.calls, self._started)
        for limit, allowed, spent in self._ceilings():
            if limit != "calls" and spent >= allowed:
                raise BudgetExceeded(limit, allowed, spent)

    def _ceilings(self) -> Iterator[tuple[str, float, float]]:
        for limit in ("usd", "calls", "tokens"):
            allowed = getattr(self.budget, limit)
            if allowed is not None:
                yield limit, allowed, getattr(self, limit)

    def after(self, span: Span) -> Sequence[Evaluation]:
        """Count what a span spent; an evaluation for each ceiling that it crossed."""
        operation = span.operation
        if not isinstance(operation, Inference):
            return ()
        with self._lock:
            self.calls += 1
            self.tokens += _tokens(operation.usage)
            if operation.cost_usd is not None:
                self.usd += operation.cost_usd
            elif self.budget.usd is not None:
                self._warn_unpriced(operation.response_model or operation.request_model)
            return tuple(self._crossed())

    def _crossed(self) -> Iterator[Evaluation]:
        for limit, allowed, spent in self._ceilings():
            if spent > allowed and limit not in self._reported:
                self._reported.add(limit)
                yield Evaluation(
                    BUDGET_EXCEEDED,
                    "warning",
                    f"budget of {allowed:g} {limit} is spent ({spent:g} {limit} used)",
                    label=limit,
                    score=spent,
                )

    def _warn_unpriced(self, model: str | None) -> None:
        if model not in self._unpriced:
            self._unpriced.add(model)
            logger.warning(
                "llmtrace: the budget in usd cannot count calls of model %s: its price is not known. "
                "Give configure(prices={%r: {'input': ..., 'output': ...}}) or install llmtrace-otel[prices]",
                model,
                model,
            )


def _tokens(usage: Usage | None) -> int:
    return 0 if usage is None else (usage.input_tokens or 0) + (usage.output_tokens or 0)


@contextmanager
def budget(
    *,
    usd: float | None = None,
    calls: int | None = None,
    tokens: int | None = None,
    on_exceed: Literal["record", "raise"] = "record",
) -> Iterator[Spending]:
    """A `Budget` over everything in the ``with`` block; gives the `Spending`, to look at as it goes."""
    with spending(Budget(usd, calls, tokens, on_exceed)) as watcher:
        yield watcher


@contextmanager
def spending(budget: Budget) -> Iterator[Spending]:
    """Spend under ``budget`` in the ``with`` block, and under all budgets around it."""
    watcher = Spending(budget)
    around: Any = otel_context.get_value(keys.WATCHERS) or ()
    token = otel_context.attach(otel_context.set_value(keys.WATCHERS, (*around, watcher)))
    try:
        yield watcher
    finally:
        Recording.detach(token)
