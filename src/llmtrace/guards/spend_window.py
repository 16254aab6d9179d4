"""What was spent, and by whom, in one run or one period: the sums that budgets compare with their limits.

Law: a window is bounded however long the run; amounts only grow. Spenders after the first `MAX_SPENDERS` are summed up as
`REST`.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmtrace.locks import fork_safe_lock
from llmtrace.model.budgets import Spender

MAX_SPENDERS = 64
REST = "others"
"""Name of all spenders after the first `MAX_SPENDERS`."""


@dataclass(slots=True)
class Amounts:
    usd: float = 0.0
    calls: int = 0
    tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0

    def add(self, more: Amounts) -> None:
        self.usd += more.usd
        self.calls += more.calls
        self.tokens += more.tokens
        self.output_tokens += more.output_tokens
        self.seconds += more.seconds


class SpendWindow:
    """The sums of one run, in memory. Readers and writers hold ``lock``."""

    def __init__(self) -> None:
        self.lock = fork_safe_lock()  # reentrant: the collector may end a span while we are in here
        self.spent = Amounts()
        self.spenders: dict[str, Amounts] = {}
        self.under_way = 0
        """Model calls that have started and not ended."""
        self.flowing: dict[str, tuple[str, Amounts]] = {}
        """Spender and amounts so far of each stream under way, by the id of its span."""

    def refresh(self) -> None:
        """Read what other processes have spent since; a window in memory has none."""

    def add(self, spender: str, amounts: Amounts) -> None:
        self._count(spender, amounts)

    def _count(self, spender: str, amounts: Amounts) -> None:
        self.spent.add(amounts)
        total = self.spenders.get(spender)
        if total is None:
            total = self.spenders.setdefault(spender if len(self.spenders) < MAX_SPENDERS else REST, Amounts())
        total.add(amounts)

    def total(self, limit: str) -> float:
        """What was spent of ``limit``, the streams under way included."""
        flowing = sum(getattr(amounts, limit) for _, amounts in list(self.flowing.values())) if self.flowing else 0
        spent: float = getattr(self.spent, limit) + flowing
        return spent

    def top(self, limit: str, count: int = 3) -> tuple[Spender, ...]:
        """The greatest spenders of ``limit``."""
        spent_by_name: dict[str, float] = {}
        for name, amounts in (*self.spenders.items(), *self.flowing.values()):
            spent_by_name[name] = spent_by_name.get(name, 0.0) + getattr(amounts, limit)
        total = sum(spent_by_name.values())
        ranked = sorted(((name, spent) for name, spent in spent_by_name.items() if spent > 0), key=lambda pair: -pair[1])
        return tuple(Spender(name, spent / total, spent) for name, spent in ranked[:count])
