"""Vector stores: real ones, embedded in this process. A search is one retrieval, and the program sees what it always sees."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from llmtrace.model import Retrieval
from llmtrace.testing import Captured, capture

pytestmark = pytest.mark.all

TEXTS = ("KS-1 is on its way to Bonn", "KS-2 is lost")
VECTORS = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])


def only(captured: Captured) -> Retrieval:
    (span,) = captured.spans
    assert isinstance(span.operation, Retrieval)
    assert "0.0" not in str(span.attributes)
    return span.operation


class Embedder:
    """Stands for a model: the vector of the first text for whatever names KS-1."""

    def __call__(self, input: list[str]) -> list[list[float]]:  # noqa: A002 - the library's name
        return [VECTORS[0] if "KS-1" in text else VECTORS[1] for text in input]

    def embed_query(self, input: list[str]) -> list[list[float]]:  # noqa: A002 - the library's name
        return self(input)

    @staticmethod
    def name() -> str:
        return "default"

    @staticmethod
    def is_legacy() -> bool:
        return True


@pytest.fixture
def collection(tmp_path: Path) -> Any:
    chromadb: Any = pytest.importorskip("chromadb")
    made = chromadb.PersistentClient(str(tmp_path)).create_collection("orders", embedding_function=Embedder())
    made.add(ids=["a", "b"], documents=list(TEXTS), metadatas=[{"page": 1}, {"page": 2}])
    return made


def test_chroma(collection: Any) -> None:
    without = collection.query(query_texts=["Where is KS-1?"], n_results=2)
    with capture(instrument=["chroma"]) as captured:
        found = collection.query(query_texts=["Where is KS-1?"], n_results=2)
    assert found == without
    retrieval = only(captured)
    assert (retrieval.data_source_id, retrieval.query, retrieval.top_k) == ("orders", "Where is KS-1?", 2)
    assert retrieval.provider == "chroma"
    assert retrieval.documents == [
        {"id": "a", "content": TEXTS[0], "score": 0.0, "metadata": {"page": 1}},
        {"id": "b", "content": TEXTS[1], "score": 2.0, "metadata": {"page": 2}},
    ]


def test_chroma_by_vector_and_in_part(collection: Any) -> None:
    with capture(instrument=["chroma"]) as captured:
        collection.query([VECTORS[0]], n_results=1, include=["distances"])
    retrieval = only(captured)
    assert retrieval.query is None
    assert retrieval.documents == [{"id": "a", "content": None, "score": 0.0, "metadata": None}]


def test_chroma_fails(collection: Any) -> None:
    with capture(instrument=["chroma"]) as captured, pytest.raises(ValueError, match="one of"):
        collection.query(n_results=1)
    (span,) = captured.spans
    assert span.failure is not None
    assert span.failure.type == "ValueError"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_qdrant(asynchronous: bool) -> None:
    qdrant: Any = pytest.importorskip("qdrant_client")
    models = qdrant.models
    points = [models.PointStruct(id=n, vector=VECTORS[n], payload={"text": TEXTS[n]}) for n in (0, 1)]
    config = models.VectorParams(size=3, distance=models.Distance.COSINE)

    async def search() -> Any:
        if not asynchronous:
            client = qdrant.QdrantClient(":memory:")
            client.create_collection("orders", vectors_config=config)
            client.upsert("orders", points)
            return client.query_points("orders", VECTORS[0], limit=1)
        client = qdrant.AsyncQdrantClient(":memory:")
        await client.create_collection("orders", vectors_config=config)
        await client.upsert("orders", points)
        return await client.query_points("orders", VECTORS[0], limit=1)

    with capture(instrument=["qdrant"]) as captured:
        found = asyncio.run(search())
    assert found == asyncio.run(search())
    retrieval = only(captured)
    assert (retrieval.data_source_id, retrieval.query, retrieval.top_k) == ("orders", None, 1)
    assert retrieval.provider == "qdrant"
    assert retrieval.documents == [{"id": "0", "score": 1.0, "content": {"text": TEXTS[0]}}]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_lancedb(asynchronous: bool, tmp_path: Path) -> None:
    lancedb: Any = pytest.importorskip("lancedb")
    rows = [{"vector": vector, "text": text, "page": 1} for vector, text in zip(VECTORS, TEXTS, strict=True)]
    lancedb.connect(tmp_path).create_table("orders", rows)

    async def search() -> Any:
        if not asynchronous:
            return lancedb.connect(tmp_path).open_table("orders").search(VECTORS[0]).limit(1).to_list()
        table = await (await lancedb.connect_async(tmp_path)).open_table("orders")
        return await (await table.search(VECTORS[0])).limit(1).to_list()

    with capture(instrument=["lancedb"]) as captured:
        found = asyncio.run(search())
    assert found == asyncio.run(search())
    retrieval = only(captured)
    assert retrieval.provider == "lancedb"
    assert (retrieval.data_source_id, retrieval.top_k) == ("orders", None if asynchronous else 1)
    assert retrieval.documents == [{"content": {"text": TEXTS[0], "page": 1}, "score": 0.0}]
