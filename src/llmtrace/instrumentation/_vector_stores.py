"""What the instrumentors of vector stores share: a search is a retrieval. Vectors are not recorded."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from llmtrace.content import to_json
from llmtrace.instrumentation._traced_functions import TracedFunction
from llmtrace.model import Operation, Retrieval, replace
from llmtrace.recorder import current

MOST_DOCUMENTS = 1000
"""How many documents of one search are recorded."""


class Search(TracedFunction):
    """One kind of search. Inside a framework's retriever, whose span has the same documents, it is not recorded."""

    def retrieval(self, instance: Any, arguments: Mapping[str, Any]) -> Retrieval | None:
        """Return where is searched, for what, and for how many. None: it is not a search."""
        raise NotImplementedError

    def documents(self, result: Any) -> Any:
        """Return an iterable of what was found, the nearest first: dicts with id, content, score and metadata."""
        raise NotImplementedError

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:
        around = current()
        if around is not None and isinstance(around.operation, Retrieval):
            return None
        return self.retrieval(instance, arguments)

    def complete(self, operation: Operation, result: Any) -> Operation:
        documents = [to_json(document) for document in islice(self.documents(result), MOST_DOCUMENTS)]
        return replace(operation, documents=documents) if isinstance(operation, Retrieval) else operation


def text_of(query: Any) -> str | None:
    """Return the text that is searched for: of several, each in a line of its own. None if it is a vector."""
    if isinstance(query, str):
        return query
    is_text = isinstance(query, (list, tuple)) and bool(query) and all(isinstance(part, str) for part in query)
    return "\n".join(query) if is_text else None
