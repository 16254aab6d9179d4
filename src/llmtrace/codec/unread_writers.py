"""Finds the instrumentations whose spans llmtrace cannot read."""

from __future__ import annotations

from typing import Final

from llmtrace import semconv as sc
from llmtrace.model import Custom, Span, Trace

PREFIXES: Final = (
    "gen_ai.",
    "llm.",
    "ai.",
    "openinference.",
    "traceloop.",
    "pydantic_ai.",
    "langfuse.",
    "genkit:",
    "mastra.",
    "spring.ai.",
    "langsmith.",
    "smolagents.",
    "crewai.",
)
"""Prefixes of attributes in which libraries record models, agents and tools. Other libraries are not recognised."""


def unread_writers(trace: Trace) -> tuple[str, ...]:
    """Return the scopes whose spans record models, agents or tools, but of which no span could be read as such.

    Nothing of what they record can be judged. Their spans stay plain steps with all attributes.
    """
    read = {span.scope.name for span in trace.spans if span.run_id is not None or not isinstance(span.operation, Custom)}
    return tuple(
        dict.fromkeys(
            span.scope.name or span.name for span in trace.spans if span.scope.name not in read and tells_of_agents(span)
        )
    )


def tells_of_agents(span: Span) -> bool:
    """Return True if a span of another writer has attributes in which libraries record models, agents and tools."""
    if span.run_id is not None or sc.SAME_CALL in span.attributes:
        return False
    return any(key.startswith(PREFIXES) for key in span.attributes)
