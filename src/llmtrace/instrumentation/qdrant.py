"""Qdrant: ``client.query_points(…)`` and ``client.query_points_groups(…)``, sync and async."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmtrace.instrumentation._traced_functions import Search, patches, text_of
from llmtrace.model import Retrieval

LIBRARY, DISTRIBUTION = "qdrant_client", "qdrant-client"
SUPPORTED = ">=1.12,<2"


class Query(Search):
    """A query by a vector, a point, or a text for which the library computes the vector."""

    def retrieval(self, instance: Any, arguments: Mapping[str, Any]) -> Retrieval:  # noqa: ARG002
        query = arguments.get("query")
        text = text_of(getattr(query, "text", query))
        return Retrieval(arguments["collection_name"], text, top_k=arguments.get("limit", 10), provider="qdrant")

    def answer(self, result: Any) -> Iterator[Any]:
        points = result.points if hasattr(result, "points") else [point for group in result.groups for point in group.hits]
        for point in points:
            yield {"id": str(point.id), "score": point.score, "content": point.payload}


PATCHES = tuple(
    [
        patch
        for module, client in (("qdrant_client", "QdrantClient"), ("async_qdrant_client", "AsyncQdrantClient"))
        for patch in patches(f"qdrant_client.{module}", Query(), f"{client}.query_points", f"{client}.query_points_groups")
    ]
)
