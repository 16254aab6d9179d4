"""LanceDB: searches of a table, when they are run (``to_list``, ``to_arrow``, ``to_pandas`` …), sync and async."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmtrace.instrumentation._traced_functions import MOST_DOCUMENTS, Search, patches, text_of
from llmtrace.model import Retrieval

LIBRARY, DISTRIBUTION = "lancedb", "lancedb"
SUPPORTED = ">=0.36,<1"


class Query(Search):
    def retrieval(self, instance: Any, arguments: Mapping[str, Any]) -> Retrieval:  # noqa: ARG002
        queries = [text_of(getattr(instance, name, None)) for name in ("_str_query", "_query")]
        limit = getattr(instance, "_limit", None)
        table = getattr(getattr(instance, "_table", None), "name", None)
        return Retrieval(
            table, next(filter(None, queries), None), top_k=limit if isinstance(limit, int) else None, provider="lancedb"
        )

    def answer(self, result: Any) -> Iterator[Any]:
        """Yield each row without its vectors. ``result``: an Arrow table."""
        texts = [field.name for field in result.schema if "list" not in str(field.type) and "binary" not in str(field.type)]
        for row in result.select(texts).slice(0, MOST_DOCUMENTS).to_pylist():
            scores = {name: row.pop(name) for name in ("_distance", "_score", "_relevance_score") if name in row}
            yield {"content": row, "score": next(iter(scores.values()), None)}


_KINDS = ("LanceVectorQueryBuilder", "LanceFtsQueryBuilder", "LanceHybridQueryBuilder", "AsyncQueryBase")

PATCHES = patches("lancedb.query", Query(), *(f"{kind}.to_arrow" for kind in _KINDS))
