"""What the instrumentors of vector stores share: a search is a retrieval. Vectors are not recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmtrace.instrumentation._traced_functions import TracedFunction
from llmtrace.model import Operation, Retrieval
from llmtrace.recorder import current


class Search(TracedFunction):
    """One kind of search, whose `answer` yields dicts with id, content, score and metadata. Inside a framework's retriever,
    whose span has the same documents, it is not recorded."""

    def retrieval(self, instance: Any, arguments: Mapping[str, Any]) -> Retrieval | None:
        """Return where is searched, for what, and for how many. None: it is not a search."""
        raise NotImplementedError

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:
        around = current()
        if around is not None and isinstance(around.operation, Retrieval):
            return None
        return self.retrieval(instance, arguments)


def text_of(query: Any) -> str | None:
    """Return the text that is searched for: of several, each in a line of its own. None if it is a vector."""
    if isinstance(query, str):
        return query
    is_text = isinstance(query, (list, tuple)) and bool(query) and all(isinstance(part, str) for part in query)
    return "\n".join(query) if is_text else None
