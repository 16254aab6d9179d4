"""Objectives for the latency of an agent, a workflow, a tool or an operation.

Law: an objective never stops or delays a call. A span that breaks it gets an evaluation ``slo``. `llmtrace stats` shows how
fast the error budget is used.
"""

from __future__ import annotations

from llmtrace import semconv
from llmtrace.config import suggest_keywords
from llmtrace.errors import ConfigurationError
from llmtrace.model import JsonValue
from llmtrace.recorder import objectives


@suggest_keywords
def slo(
    name: str, *, p50: float | None = None, p95: float | None = None, p99: float | None = None, ttft: float | None = None
) -> None:
    """Declare an objective for all spans that start from now on in this process.

    ``name``: the name of an agent, a workflow or a tool, else of a span (``chat gpt-4o``), else of an operation (``chat``).
    ``p50``, ``p95``, ``p99``: seconds within which 50, 95 or 99 of 100 spans should end. ``ttft``: seconds within which 99 of
    100 spans should have their first token; for an agent or workflow, the first chunk of its first model call that streams. A
    span that takes longer gets an evaluation ``slo`` of severity warning, labelled ``p99``, ``ttft`` …, with the seconds that
    it took as score. A second objective for a name replaces the first.

    Raises `ConfigurationError` if the name is not a text, without any bound, and for a bound that is not above 0.
    """
    bounds = {
        semconv.SLO_P50: ("p50", p50),
        semconv.SLO_P95: ("p95", p95),
        semconv.SLO_P99: ("p99", p99),
        semconv.SLO_TIME_TO_FIRST_TOKEN: ("ttft", ttft),
    }
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"slo({name!r}): expected the name of an agent, workflow, tool, span or operation")
    if all(seconds is None for _, seconds in bounds.values()):
        raise ConfigurationError(f"slo({name!r}): give at least one of p50, p95, p99, ttft, in seconds")
    for word, seconds in bounds.values():
        is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
        if seconds is not None and not (is_number and 0 < seconds < float("inf")):
            raise ConfigurationError(f"slo({name!r}, {word}={seconds!r}): expected a number of seconds above 0")
    attributes: dict[str, JsonValue] = {semconv.SLO_NAME: name}
    attributes |= {attribute: float(seconds) for attribute, (_, seconds) in bounds.items() if seconds is not None}
    objectives.declared[name] = attributes
