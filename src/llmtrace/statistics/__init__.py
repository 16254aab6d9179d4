"""Percentiles, rates and sums over spans, for `llmtrace stats` and the viewer. Pure: no clock, no store, no output."""

from llmtrace.statistics.distribution import Distribution
from llmtrace.statistics.groups import OTHERS, PARTS, Amount, By, Group, Key, Statistics, collect
from llmtrace.statistics.objectives import Burn, Objective, burn_rate
from llmtrace.statistics.suggestions import Suggestion, suggest

__all__ = [
    "OTHERS",
    "PARTS",
    "Amount",
    "Burn",
    "By",
    "Distribution",
    "Group",
    "Key",
    "Objective",
    "Statistics",
    "Suggestion",
    "burn_rate",
    "collect",
    "suggest",
]
