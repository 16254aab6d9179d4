"""Messages about budgets, in errors and evaluations. Law: no content, only names of agents, tools and models."""

from __future__ import annotations

from collections.abc import Sequence

from llmtrace.model.budgets import Spender

_NOUNS = {
    "calls": ("call", "calls"),
    "tokens": ("token", "tokens"),
    "output_tokens": ("output token", "output tokens"),
    "seconds": ("second", "seconds"),
    "repeats": ("repeat", "repeats"),
    "corrections": ("correction", "corrections"),
}


def amount(limit: str, number: float) -> str:
    """``1 call``, ``2,500 tokens``, ``$0.10``, ``1.5 seconds``."""
    if limit == "usd":
        return f"${number:,.2f}" if number >= 0.1 or number == 0 else f"${number:.2g}"
    singular, plural = _NOUNS[limit]
    shown = f"{number:,.0f}" if number == int(number) or number >= 100 else f"{number:.2g}"
    return f"{shown} {singular if number == 1 else plural}"


def state(name: str, suffix: str, limit: str, allowed: float, spent: float, *, nearly: bool = False) -> str:
    """``budget 'trial' of 4 calls a day is spent (4 calls used)``. ``suffix``: see `period_and_scope`."""
    how = "is nearly spent" if nearly else "is spent"
    named = f" {name!r}" if name else ""
    return f"budget{named} of {amount(limit, allowed)}{suffix} {how} ({amount(limit, spent)} used)"


def period_and_scope(scope: str, per: str | None) -> str:
    """The text after the amount of a budget: `` a day for each user``, or ""."""
    whom = {"run": "", "all": ""}.get(scope, f" for each {scope}")
    return f"{f' a {per}' if per else ''}{whom}"


def spenders(top: Sequence[Spender]) -> str:
    """``support with gpt-4o 71 %, search with gpt-4o-mini 29 %``"""
    return ", ".join(f"{spender.name} {spender.share:.0%}".replace("%", " %") for spender in top)
