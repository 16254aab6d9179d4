"""What was spent, and by whom: the sums that one or several budgets look at.

Law: an account is bounded however long the run; amounts only grow. Who is not among the first `NAMES` spenders counts with the
others.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from llmtrace.guards.wording import Spender

NAMES = 64
"""Spenders that are told apart."""
OTHERS = "others"


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


class Account:
    """The sums of one run, in memory. Whoever looks or changes holds ``lock``."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # reentrant: the collector may end a span while we are in here
        self.spent = Amounts()
        self.spenders: dict[str, Amounts] = {}
        self.under_way = 0
        """Model calls that have started and not ended."""
        self.flowing: dict[str, tuple[str, Amounts]] = {}
        """Whose the streams under way are and what they have come to, as far as known, by the id of their span."""

    def refresh(self) -> None:
        """Take in what others have spent meanwhile: nobody, here."""

    def add(self, spender: str, amounts: Amounts) -> None:
        self._count(spender, amounts)

    def _count(self, spender: str, amounts: Amounts) -> None:
        self.spent.add(amounts)
        known = self.spenders.get(spender)
        if known is None:
            known = self.spenders.setdefault(spender if len(self.spenders) < NAMES else OTHERS, Amounts())
        known.add(amounts)

    def total(self, limit: str) -> float:
        """What was spent of ``limit``, the streams under way included."""
        flowing = sum(getattr(amounts, limit) for _, amounts in list(self.flowing.values())) if self.flowing else 0
        spent: float = getattr(self.spent, limit) + flowing
        return spent

    def top(self, limit: str, most: int = 3) -> tuple[Spender, ...]:
        """The greatest spenders of ``limit``."""
        of_each: dict[str, float] = {}
        for name, amounts in (*self.spenders.items(), *self.flowing.values()):
            of_each[name] = of_each.get(name, 0.0) + getattr(amounts, limit)
        total = sum(of_each.values())
        found = sorted((each for each in of_each.items() if each[1] > 0), key=lambda each: -each[1])
        return tuple(Spender(name, spent / total, spent) for name, spent in found[:most])
