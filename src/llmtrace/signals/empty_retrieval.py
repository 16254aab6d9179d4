"""A retrieval or a search of a memory found nothing: what the model says next has no source.

Informational, since a program may well say that nothing was found.
"""

from __future__ import annotations

from collections.abc import Iterable

from llmtrace.model import Evaluation, Memory, Retrieval, Span
from llmtrace.signals.base import Stateless


def check(span: Span) -> Iterable[Evaluation]:
    operation = span.operation
    records = None  # not recorded
    if isinstance(operation, Retrieval):
        records = operation.documents
    elif isinstance(operation, Memory) and operation.operation == "search_memory":
        records = operation.records
    if span.failure is None and records in ([], {}):
        return (Evaluation(SIGNAL.name, "info", "nothing was found", "empty"),)
    return ()


SIGNAL = Stateless(
    "empty_retrieval",
    check,
    looks_at=(Retrieval, Memory),
    advice="Have the program say that nothing was found, and not ask for an answer all the same.",
)
