"""What runs with a correction, and as many without it, prove about a suspect.

Laws: a value is called a cause only if the runs with the right value end well more often than chance explains. To take a step
out is no proof, whatever comes of it. A run that no longer comes to the tools that the recorded run came to may end well only
because it gave up, so it proves nothing. That a value does not help does not say that the step was right: the value may be
wrong, too.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal, TypeAlias

from llmtrace.model import Trace
from llmtrace.reading.read import read_run
from llmtrace.semconv import REPLAY_LIVE
from llmtrace.statistics.two_samples import shares_test

Verdict: TypeAlias = Literal["cause", "not settled", "taken out", "another way", "no help"]

CHANCE = 0.05
"""Highest probability that chance alone causes the difference, for a suspect to be called a cause."""


def verdict(corrected: int, as_recorded: int, times: int, *, another_way: int = 0, takes_out: bool = False) -> Verdict:
    """Compare the numbers of good runs, of ``times`` each, with the correction and without it.

    ``corrected``: those that came to the same tools; ``another_way``: those that ended well without them. ``takes_out``: the
    correction takes the step out.

    ``cause``: by Fisher's exact test the difference is rarer than `CHANCE`. ``taken out``: it would be, but the step was only
    taken out. ``another way``: it would be, but only with the runs that did not come to the same tools. ``no help``: the
    corrected runs ended no better. ``not settled``: they ended better, but it may be chance.
    """
    if _is_better(corrected, as_recorded, times):
        return "taken out" if takes_out else "cause"
    if _is_better(corrected + another_way, as_recorded, times):
        return "another way"
    return "not settled" if corrected + another_way > as_recorded else "no help"


def _is_better(corrected: int, as_recorded: int, times: int) -> bool:
    if corrected <= as_recorded:
        return False
    with_it, without = ([number < good for number in range(times)] for good in (corrected, as_recorded))
    return shares_test([(without, with_it)]).p <= CHANCE


def tools_after(trace: Trace, span_id: str) -> Counter[str]:
    """Return how often each tool succeeded after a step of a recorded run. The step itself does not count."""
    point = trace.span(span_id)
    return _succeeded(trace, {span.span_id for span in trace.spans if span.start > point.start} - {span_id})


def tools_left_out(new: Trace, expected: Counter[str]) -> list[str]:
    """Return the tools of ``expected`` that did not succeed once after a replay went on for real, sorted."""
    real = {span.span_id for span in new.spans if span.attributes.get(REPLAY_LIVE) is True}
    return sorted(expected.keys() - _succeeded(new, real).keys())


def _succeeded(trace: Trace, span_ids: set[str]) -> Counter[str]:
    calls = read_run(trace.spans, trace).timeline.calls.executions()
    return Counter(call.name for span_id, call in calls if span_id in span_ids and not call.failed)
