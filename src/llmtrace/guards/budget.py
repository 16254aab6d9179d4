"""Budgets: what a run, a user, a tenant or a day may spend; enforced or recorded.

Law: unless ``on_exceed="record"``, no call *starts* once the budget is spent, and a stream that exceeds it is ended with an
error in the program's loop. Other calls in flight are not cut off, so a budget is overspent by these calls at most.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, get_args

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from llmtrace.config import suggest_keywords
from llmtrace.errors import ConfigurationError
from llmtrace.guards.budget_tracker import BudgetTracker
from llmtrace.model.budgets import IN_ONE_RUN, LIMITS, BudgetLimits, BudgetScope, OnExceed, Period
from llmtrace.near_names import most_like
from llmtrace.recorder import keys
from llmtrace.recorder.attached import attached
from llmtrace.recorder.context import enter_block, leave_block


@suggest_keywords
@dataclass(frozen=True, kw_only=True)
class Budget(BudgetLimits):
    """A limit for everything below an agent or a workflow, or in a ``with`` or ``async with`` block.

    ``with Budget(usd=0.10) as spent:`` gives a `BudgetTracker` with the amounts spent so far: ``usd``, ``calls``, ``tokens`` …
    One object may be used many times, also at the same time. With the scope ``run``, each use begins at zero.

    Limits, at least one of them (None: no such limit):

    * ``usd``: US dollars. A call whose price is not known counts as $0; this is logged once per model and marked on the span;
    * ``calls``: model calls and embeddings. Each request that a client makes for a call counts, its own retries too;
    * ``tokens``: input and output tokens; ``output_tokens``: output tokens alone;
    * ``seconds``: seconds since the block began;
    * ``repeats``: repeats of one tool call with the same arguments; the first call does not count;
    * ``corrections``: answers that the model was asked to correct: calls refused as invalid, calls of tools that do not exist,
    and outputs that `validated` refused. After one more than the limit, the next model call does not start.

    ``scope``: ``run`` (default), everything below one agent or block; ``user``, ``tenant`` or ``conversation``, each of them
    (see `llmtrace.context`) over all runs; ``all``, all runs together. ``per``: ``hour``, ``day`` or ``month`` (UTC), after
    which the budget starts again; with it, ``scope`` is ``all`` by default. Sums over runs are kept in the store's folder and
    shared by all processes that use it. Budgets of one scope and period share their sums, unless they have a ``name``.

    ``on_exceed``: ``raise`` (default) raises `BudgetExceeded` when the next call would start (for ``repeats``, the next tool
    execution), and in the loop over a stream that passes the limit; ``record`` lets the run go on. Either way an evaluation
    ``budget_nearly_spent`` marks the span that reaches 80 %, and ``budget_exceeded`` the span that reaches 100 %.

    Raises `ConfigurationError` for a limit that is not a number of 0 or more, for no limit at all, and for an unknown word.
    """

    def __post_init__(self) -> None:
        self._check_word("on_exceed", get_args(OnExceed))
        self._check_word("scope", get_args(BudgetScope))
        self._check_word("per", (None, *get_args(Period)))
        if not isinstance(self.name, str):
            raise ConfigurationError(f"Budget(name={self.name!r}): expected a text")
        if self.per is not None and self.scope == "run":
            object.__setattr__(self, "scope", "all")
        for name in IN_ONE_RUN:
            if getattr(self, name) is not None and self.scope != "run":
                raise ConfigurationError(
                    f"Budget({name}=...): {name} are counted in one run; use a budget without scope and per"
                )
        if not self.limits:
            raise ConfigurationError(f"Budget(): set at least one of {', '.join(LIMITS)}")
        for name, limit in self.limits.items():
            if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not limit >= 0:
                raise ConfigurationError(f"Budget({name}={limit!r}): expected a number of 0 or more")

    def _check_word(self, name: str, words: Sequence[str | None]) -> None:
        word = getattr(self, name)
        if word not in words:
            choices = " or ".join(repr(choice) for choice in words if choice is not None)
            raise ConfigurationError(f"Budget({name}={word!r}): expected {choices}")

    def __enter__(self) -> BudgetTracker:
        context, (tracker,) = _with_trackers((self,))
        enter_block(self._key, context)
        return tracker

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        leave_block(self._key, error)

    async def __aenter__(self) -> BudgetTracker:
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        leave_block(self._key, error)

    @property
    def _key(self) -> str:
        return f"{keys.OPENED}-budget-{id(self)}"


Budgets: TypeAlias = "Budget | Sequence[Budget]"
"""One budget, or several that apply together."""


def check_budgets(budgets: Any, owner: str) -> tuple[Budget, ...]:
    """Return the value of ``budget=`` as a tuple. Raises `ConfigurationError`, which names the decorator ``owner``."""
    if budgets is None:
        return ()
    if isinstance(budgets, Budget):
        return (budgets,)
    if isinstance(budgets, (list, tuple)) and all(isinstance(budget, Budget) for budget in budgets):
        return tuple(budgets)
    example = f"Budget(usd={budgets!r})" if isinstance(budgets, (int, float)) else "Budget(usd=0.10)"
    raise ConfigurationError(f"{owner}(budget={budgets!r}): expected a Budget or a list of them, as in budget={example}")


def read_budget(text: str, on_exceed: OnExceed) -> Budget:
    """Parse the limits of a run's budget, such as ``usd=0.50,calls=40``. Raises `ConfigurationError`."""
    limits: dict[str, Any] = {}
    for word in text.split(","):
        name, _, number = (part.strip() for part in word.partition("="))
        if name not in LIMITS:
            near = most_like(name, LIMITS)
            hint = f"did you mean {near!r}?" if near else f"expected usd=0.50, or one of {', '.join(LIMITS)}"
            raise ConfigurationError(f"unknown limit {word.strip()!r}: {hint}")
        try:
            limits[name] = float(number) if name in ("usd", "seconds") else int(number)
        except ValueError:
            raise ConfigurationError(f"{word.strip()!r}: expected a number, as in {name}=10") from None
    return Budget(**limits, on_exceed=on_exceed)


@contextmanager
def track(budgets: Budgets) -> Iterator[tuple[BudgetTracker, ...]]:
    """Count the spending in the ``with`` block under these budgets, and under all budgets around it."""
    context, trackers = _with_trackers((budgets,) if isinstance(budgets, Budget) else budgets)
    with attached(context):
        yield trackers


def _with_trackers(budgets: Sequence[Budget]) -> tuple[Context, tuple[BudgetTracker, ...]]:
    outer: tuple[Any, ...] = otel_context.get_value(keys.WATCHERS) or ()  # type: ignore[assignment]
    trackers: tuple[BudgetTracker, ...] = ()
    for budget in budgets:
        trackers += (BudgetTracker(budget, (*outer, *trackers)),)
    return otel_context.set_value(keys.WATCHERS, (*outer, *trackers)), trackers
