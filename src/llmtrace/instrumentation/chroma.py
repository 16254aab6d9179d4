"""Chroma: ``collection.query(…)``, sync and async."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import repeat
from typing import Any

from llmtrace.instrumentation._traced_functions import Search, patches, text_of
from llmtrace.model import Retrieval

LIBRARY, DISTRIBUTION = "chromadb", "chromadb"
SUPPORTED = ">=1.0,<2"


class Query(Search):
    def retrieval(self, instance: Any, arguments: Mapping[str, Any]) -> Retrieval:
        top = arguments.get("n_results", 10)
        return Retrieval(instance.name, text_of(arguments.get("query_texts")), top_k=top, provider="chroma")

    def answer(self, result: Any) -> Iterator[Any]:
        columns = [result.get(name) or repeat(None) for name in ("documents", "distances", "metadatas")]
        for ids, *parts in zip(result["ids"], *columns, strict=False):
            for fields in zip(ids, *(repeat(None) if part is None else part for part in parts), strict=False):
                yield dict(zip(("id", "content", "score", "metadata"), fields, strict=True))


PATCHES = (
    *patches("chromadb.api.models.Collection", Query(), "Collection.query"),
    *patches("chromadb.api.models.AsyncCollection", Query(), "AsyncCollection.query"),
)
