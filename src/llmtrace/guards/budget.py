"""Budgets: what a run, a user, a tenant or a day may spend; recorded or enforced.

Law: with ``on_exceed="raise"`` nothing that costs *starts* once the budget is spent, and a stream that passes it ends in its
loop; nothing else that is under way is cut off. So a budget is overspent by no more than the calls that were under way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from opentelemetry import context as otel_context

from llmtrace.errors import ConfigurationError
from llmtrace.guards.spending import Spending
from llmtrace.recorder import keys
from llmtrace.recorder.attached import attached

OnExceed: TypeAlias = Literal["record", "raise"]
Scope: TypeAlias = Literal["run", "all", "user", "tenant", "conversation"]
Per: TypeAlias = Literal["hour", "day", "month"]

LIMITS = ("usd", "calls", "tokens", "output_tokens", "seconds", "repeats")


@dataclass(frozen=True)
class Budget:
    """A ceiling for all that happens below an agent, a workflow or a `budget` block. None: no ceiling of this kind.

    ``usd``: US dollars. A call of unknown price counts as nothing, which is logged once a model and marked on the span.
    ``calls``: model calls and embeddings, each request that a client makes for one counted, its own retries too. ``tokens``:
    input and output. ``output_tokens``: output alone. ``seconds``: by the clock on the wall, from the beginning of the block.
    ``repeats``: of one tool call with the same arguments; the first is no repeat.

    ``scope``: ``run`` (default), what happens below one agent or block; ``user``, ``tenant`` or ``conversation``, what each of
    them (see `context`) spends over all runs; ``all``, all runs together. ``per``: ``hour``, ``day`` or ``month`` (UTC) after
    which it begins anew; with it, ``scope`` is ``all`` unless given. Over runs, sums are kept in the store's folder and shared
    by all processes that use it; budgets of one scope and period look at the same sums, unless they have names of their own.

    ``on_exceed``: ``record`` (default) puts an evaluation ``budget_nearly_spent`` on the span that reaches 80 % and
    ``budget_exceeded`` on the one that reaches 100 %; ``raise`` also raises `BudgetExceeded` when the next call would start
    (for ``repeats``, the next tool execution), and in the loop over a stream that passes the ceiling.

    Raises `ConfigurationError` for a negative ceiling, for none at all, and for words that are not among these.
    """

    usd: float | None = None
    calls: int | None = None
    tokens: int | None = None
    on_exceed: OnExceed = "record"
    seconds: float | None = None
    output_tokens: int | None = None
    repeats: int | None = None
    scope: Scope = "run"
    per: Per | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if self.on_exceed not in ("record", "raise"):
            raise ConfigurationError(f"Budget(on_exceed={self.on_exceed!r}): expected 'record' or 'raise'")
        if self.scope not in ("run", "all", "user", "tenant", "conversation"):
            raise ConfigurationError(f"Budget(scope={self.scope!r}): expected run, user, tenant, conversation or all")
        if self.per not in (None, "hour", "day", "month"):
            raise ConfigurationError(f"Budget(per={self.per!r}): expected hour, day or month")
        if self.per is not None and self.scope == "run":
            object.__setattr__(self, "scope", "all")
        if self.repeats is not None and self.scope != "run":
            raise ConfigurationError(
                "Budget(repeats=): repeats are counted in one run: give them a budget without scope and per"
            )
        self._check_ceilings()

    def _check_ceilings(self) -> None:
        if not self.ceilings:
            raise ConfigurationError(f"Budget(): give at least one of {', '.join(LIMITS)}")
        for name, ceiling in self.ceilings.items():
            if not (_is_number(ceiling) and ceiling >= 0):
                raise ConfigurationError(f"Budget({name}={ceiling!r}): expected a number of 0 or more")

    @property
    def ceilings(self) -> dict[str, float]:
        """The ceilings that were given, by name."""
        return {name: ceiling for name in LIMITS if (ceiling := getattr(self, name)) is not None}


def _is_number(ceiling: Any) -> bool:
    return isinstance(ceiling, (int, float)) and not isinstance(ceiling, bool)


def read_budget(text: str, on_exceed: OnExceed) -> Budget:
    """The budget of a run that ``text`` names by its ceilings: ``usd=0.50,calls=40``. Raises `ConfigurationError`."""
    ceilings: dict[str, Any] = {}
    for word in text.split(","):
        name, _, ceiling = (part.strip() for part in word.partition("="))
        if name not in LIMITS:
            raise ConfigurationError(f"{word.strip()!r} is no ceiling: expected usd=0.50, or one of {', '.join(LIMITS)}")
        try:
            ceilings[name] = float(ceiling) if name in ("usd", "seconds") else int(ceiling)
        except ValueError:
            raise ConfigurationError(f"{word.strip()!r}: expected a number, as in {name}=10") from None
    return Budget(**ceilings, on_exceed=on_exceed)


Budgets: TypeAlias = "Budget | Sequence[Budget]"
"""One budget, or several that all hold."""


@contextmanager
def budget(
    *,
    usd: float | None = None,
    calls: int | None = None,
    tokens: int | None = None,
    seconds: float | None = None,
    output_tokens: int | None = None,
    repeats: int | None = None,
    scope: Scope = "run",
    per: Per | None = None,
    name: str = "",
    on_exceed: OnExceed = "record",
) -> Iterator[Spending]:
    """A `Budget` over everything in the ``with`` block; gives the `Spending`, to look at as it goes."""
    given = Budget(usd, calls, tokens, on_exceed, seconds, output_tokens, repeats, scope, per, name)
    with spending(given) as (watcher,):
        yield watcher


@contextmanager
def spending(budgets: Budgets) -> Iterator[tuple[Spending, ...]]:
    """Spend under these budgets in the ``with`` block, and under all that are around it."""
    around: tuple[Any, ...] = otel_context.get_value(keys.WATCHERS) or ()  # type: ignore[assignment]
    watchers: tuple[Spending, ...] = ()
    for each in (budgets,) if isinstance(budgets, Budget) else budgets:
        watchers += (Spending(each, (*around, *watchers)),)
    with attached(otel_context.set_value(keys.WATCHERS, (*around, *watchers))):
        yield watchers
