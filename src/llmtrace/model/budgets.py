"""What a budget allows, and who spent it: plain values for errors, guards and readers of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

OnExceed: TypeAlias = Literal["raise", "record"]
BudgetScope: TypeAlias = Literal["run", "all", "user", "tenant", "conversation"]
Period: TypeAlias = Literal["hour", "day", "month"]

LIMITS = ("usd", "calls", "tokens", "output_tokens", "seconds", "repeats", "corrections")
"""Names of the limits that a budget can set."""
IN_ONE_RUN = ("repeats", "corrections")
"""Limits that are counted in one run only, and that a run may reach but not pass."""


class Spender(NamedTuple):
    """An agent, workflow or tool that spent part of a budget, and the model that it called."""

    name: str
    """``support with gpt-4o``, or the part of it that is known."""
    share: float
    """Share of all that was spent, from 0 to 1."""
    spent: float
    """Amount in the unit of the limit."""


@dataclass(frozen=True, kw_only=True)
class BudgetLimits:
    """The values of a budget; `llmtrace.Budget` describes and checks them. A limit that is None does not exist."""

    usd: float | None = None
    calls: int | None = None
    tokens: int | None = None
    output_tokens: int | None = None
    seconds: float | None = None
    repeats: int | None = None
    corrections: int | None = None
    scope: BudgetScope = "run"
    per: Period | None = None
    name: str = ""
    on_exceed: OnExceed = "raise"

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        return {name: limit for name in LIMITS if (limit := getattr(self, name)) is not None}
