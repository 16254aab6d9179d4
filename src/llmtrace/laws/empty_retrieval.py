"""A retrieval or a memory search found nothing, so the model's next answer has no source. It is only info, because a program
may report exactly that.

* Labels: `empty`: info
* On: the retrieval or memory search.
* Bad: `search_memory` returns no record.
* Good: A search that was not recorded, that failed, or that found one document.
"""

from __future__ import annotations

from collections.abc import Iterable

from llmtrace.laws.base import Stateless
from llmtrace.model import Evaluation, Memory, Retrieval, Span


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
