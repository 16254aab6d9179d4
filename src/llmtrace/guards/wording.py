"""How budgets are worded, in errors and evaluations. Law: no content; names of agents, tools and models may stand here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Spender(NamedTuple):
    """Who spent a part of a budget."""

    name: str
    """``agent or tool with model``, or what of it is known."""
    share: float
    """Of all that was spent, from 0 to 1."""
    spent: float
    """In the budget's unit."""


_NOUNS = {
    "calls": ("call", "calls"),
    "tokens": ("token", "tokens"),
    "output_tokens": ("output token", "output tokens"),
    "seconds": ("second", "seconds"),
    "repeats": ("repeat", "repeats"),
}


def amount(limit: str, number: float) -> str:
    """``1 call``, ``2,500 tokens``, ``$0.10``, ``1.5 seconds``."""
    if limit == "usd":
        return f"${number:,.2f}" if number >= 0.1 or number == 0 else f"${number:.2g}"
    singular, plural = _NOUNS[limit]
    shown = f"{number:,.0f}" if number == int(number) or number >= 100 else f"{number:.2g}"
    return f"{shown} {singular if number == 1 else plural}"


def state(name: str, over: str, limit: str, allowed: float, spent: float, *, nearly: bool = False) -> str:
    """``budget 'trial' of 4 calls a day is spent (4 calls used)``. ``name``: the budget's, or "". ``over``: see `over`."""
    how = "is nearly spent" if nearly else "is spent"
    named = f" {name!r}" if name else ""
    return f"budget{named} of {amount(limit, allowed)}{over} {how} ({amount(limit, spent)} used)"


def over(scope: str, per: str | None) -> str:
    """What a budget is over, as it follows its amount: `` a day for each user``, or ""."""
    each = {"run": "", "all": ""}.get(scope, f" for each {scope}")
    return f"{f' a {per}' if per else ''}{each}"


def spenders(top: Sequence[Spender]) -> str:
    """``support with gpt-4o 71 %, search with gpt-4o-mini 29 %``"""
    return ", ".join(f"{each.name} {each.share:.0%}".replace("%", " %") for each in top)
