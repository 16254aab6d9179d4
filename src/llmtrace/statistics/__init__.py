"""Percentiles, rates and sums over spans, for `llmtrace stats` and the viewer. No clock and no output; only `gather` reads a
store."""

from llmtrace.statistics.distribution import Distribution
from llmtrace.statistics.error_budget import Burn, Objective, burn_rate
from llmtrace.statistics.groups import OTHERS, PARTS, Amount, By, Group, Key, Statistics, collect
from llmtrace.statistics.saved_statistics import joined_groups, joined_keys
from llmtrace.statistics.store_statistics import gather
from llmtrace.statistics.suggestions import Suggestion, suggest, usual_turns

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
    "gather",
    "joined_groups",
    "joined_keys",
    "suggest",
    "usual_turns",
]
