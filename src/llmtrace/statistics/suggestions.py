"""Suggests ``max_tokens`` and a time-out for the calls of a prompt, based on its recorded answers.

Turns that answer and turns that call tools are measured separately, because a limit applies to both. The kind that needs more
decides.

* ``max_tokens``: the p99 of output tokens times `MARGIN`, at least the longest answer of either kind, rounded up.
* Time-out: the p99 of the time to the first token, plus the time for ``max_tokens`` at the p95 of the time per token. If the
  time per token is not known, the p99 of the duration times `TIMEOUT_MARGIN`. At least the time of the slowest answer.

Nothing is suggested from fewer than `ENOUGH` answers, or if more than `_MOST_CUT` of the answers were cut.
"""

from __future__ import annotations

import math

from llmtrace.model.value import value
from llmtrace.statistics.groups import Group, Turns

ENOUGH = 20
"""Number of answers that a suggestion needs."""
FEW = 100
"""With fewer answers than this, a p99 is just the longest answer."""
MARGIN = 1.5
TIMEOUT_MARGIN = 2.0
FAR = 10
"""A limit above this multiple of the suggestion is far too high."""
_MOST_CUT = 0.01
"""Share of answers that may have ended at their limit, at most."""


@value
class Suggestion:
    max_tokens: int | None
    timeout: float | None
    """Seconds."""
    why: str
    """The computation in words, or the reason why nothing is suggested."""
    set_to: str = ""
    """The problem with the limit of the requests: it is not set, or far above the suggestion. Empty without a problem."""


def suggest(group: Group) -> Suggestion:
    """Suggest limits for the calls of one prompt, or of any other group of model calls."""
    usual, every = usual_turns(group), group.output_tokens
    if every.largest is None or usual.tokens.count < ENOUGH:
        return Suggestion(None, None, f"{usual.tokens.count} of at least {ENOUGH} answers")
    if group.cut > _MOST_CUT * every.count:
        return Suggestion(None, None, f"{group.cut} of {every.count} answers were cut at their limit: raise it first")
    turns = max((usual, group.called), key=lambda kind: kind.tokens.quantile(0.99) or 0 if kind.tokens.count >= ENOUGH else -1)
    p99, count = turns.tokens.quantile(0.99) or 0, turns.tokens.count
    tokens = _rounded(max(every.largest, MARGIN * p99))
    timeout, how = _timeout(group, turns, tokens)
    few = f" (the longest of {count})" if count < FEW else ""
    calls = " of tool calls" if turns is not usual else ""
    why = f"p99 of {p99:,.0f} tokens{calls}{few} x {MARGIN:g}; {how}"
    return Suggestion(tokens, timeout, why, _set_to(group.limits.quantile(0.5), tokens))


def _set_to(limit: float | None, tokens: int) -> str:
    if limit is None:
        return "no limit is set"
    return f"{limit:,.0f} is set, {limit / tokens:,.0f} times as much" if limit > FAR * tokens else ""


def usual_turns(group: Group) -> Turns:
    """Return the turns that answer, or those that call tools if there are no others."""
    return group.answers if group.answers.tokens.count else group.called


def _timeout(group: Group, turns: Turns, tokens: int) -> tuple[float | None, str]:
    pace, wait = turns.per_token.quantile(0.95), group.first_token.quantile(0.99) or 0.0
    slowest, p99 = group.answered.largest, group.answered.quantile(0.99)
    if slowest is None or p99 is None:
        return None, "no call ended"
    enough = TIMEOUT_MARGIN * p99 if pace is None else wait + tokens * pace
    if slowest > enough:
        return _up(slowest), f"the slowest answer took {slowest:.2g} s"
    if pace is None:
        return _up(enough), f"p99 of {p99:.2g} s x {TIMEOUT_MARGIN:g}"
    waiting = f"{wait:.2g} s + " if wait else ""
    return _up(enough), f"{waiting}{tokens:,} tokens x {1e3 * pace:.2g} ms"


def _rounded(tokens: float) -> int:
    """Round up to two binary digits, so that it looks like a chosen limit: 96, 128, 192, 256 …"""
    power = 1 << max(5, math.ceil(tokens).bit_length() - 1)
    return next(size for size in (power, power * 3 // 2, power * 2) if size >= tokens)


def _up(seconds: float) -> float:
    """Round up to whole seconds, and above ten to multiples of five."""
    step = 1 if seconds <= 10 else 5
    return float(max(1, math.ceil(seconds / step) * step))
