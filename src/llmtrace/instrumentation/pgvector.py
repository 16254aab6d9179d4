"""pgvector: SQL that compares rows with a vector, by psycopg 3, asyncpg, or SQLAlchemy over these or psycopg2.

Other extensions of PostgreSQL use the same operators. So a statement is a search only if one side of the comparison is a
vector, as a parameter or as a literal. Every other statement costs only one search for the operator.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from llmtrace.instrumentation._framework import POSITIONAL
from llmtrace.instrumentation._patches import Patch, Wrapper
from llmtrace.instrumentation._traced_functions import MOST_DOCUMENTS, Search, traced_function
from llmtrace.model import Retrieval
from llmtrace.recorder.guard import guard

LIBRARY, DISTRIBUTION = "pgvector", "pgvector"
SUPPORTED = ">=0.3,<1"

_DISTANCE = re.compile(r"<(?:->|=>|#>|\+>|~>|%>)")
_LITERAL = re.compile(r"'\[-?[\d.][-+.,\deE\s]*\]'")
_TABLE = re.compile(r'\bfrom\s+([\w."]+)', re.IGNORECASE)
_LIMIT = re.compile(r"\blimit\s+(\d+)", re.IGNORECASE)
_BEGINNING = re.compile(r"\[\s*-?[\d.]")


class Query(Search):
    def __init__(self, rows: Callable[[Any], Iterable[Mapping[str, Any]]]) -> None:
        self.rows = rows

    def retrieval(self, instance: Any, arguments: Mapping[str, Any]) -> Retrieval | None:
        sql = _sql(instance, arguments.get("query"))
        parameters = arguments.get("params") or arguments.get(POSITIONAL) or ()
        values = parameters.values() if isinstance(parameters, Mapping) else parameters
        if _LITERAL.search(sql) is None and not any(map(_is_vector, values)):
            return None
        table, limit = _TABLE.search(sql), _LIMIT.search(sql)
        return Retrieval(table and table[1], top_k=int(limit[1]) if limit else None, provider="pgvector")

    def answer(self, result: Any) -> Iterator[Any]:
        for row in self.rows(result):
            yield {"content": {name: value for name, value in row.items() if not _is_vector(value)}}


def _search(rows: Callable[[Any], Iterable[Mapping[str, Any]]]) -> Wrapper:
    traced = traced_function(Query(rows))

    def wrapper(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        query = args[0] if args else kwargs.get("query")
        if not _DISTANCE.search(guard(_sql, instance, query) or ""):
            return wrapped(*args, **kwargs)
        return traced(wrapped, instance, args, kwargs)

    return wrapper


def _sql(instance: Any, query: Any) -> str:
    """Return the text of a statement. ``instance``: a cursor, a connection, or a prepared statement."""
    if hasattr(instance, "get_query"):
        query = instance.get_query()
    elif hasattr(query, "as_string"):
        query = query.as_string(instance)
    return query.decode(errors="replace") if isinstance(query, bytes) else str(query)


def _is_vector(value: Any) -> bool:
    if isinstance(value, str):
        return value.endswith("]") and _BEGINNING.match(value) is not None
    if isinstance(value, list):
        return bool(value) and isinstance(value[0], float)
    library = type(value).__module__.partition(".")[0]
    return library == "pgvector" or (library == "numpy" and bool(getattr(value, "ndim", 0)))


def _rows_of_psycopg(cursor: Any) -> Iterator[Mapping[str, Any]]:
    """Read the rows without fetching them, and without the program's row factory."""
    found = cursor.pgresult
    if found is not None and cursor.description:
        reader = sys.modules["psycopg.adapt"].Transformer(cursor)
        reader.set_pgresult(found)
        names = [column.name for column in cursor.description]
        for row in reader.load_rows(0, min(found.ntuples, MOST_DOCUMENTS), tuple):
            yield dict(zip(names, row, strict=True))


def _rows_of_asyncpg(result: Any) -> Iterator[Mapping[str, Any]]:
    yield from map(dict, result if isinstance(result, list) else [] if result is None else [result])


def _rows_of_psycopg2(cursor: Any) -> Iterator[Mapping[str, Any]]:
    """Fetch the rows, and move the cursor back to the first. Server-side cursors are not read."""
    if cursor.description and cursor.name is None:
        names = [column[0] for column in cursor.description]
        rows = cursor.fetchmany(MOST_DOCUMENTS)
        cursor.scroll(0, mode="absolute")
        for row in rows:
            yield dict(zip(names, row, strict=True))


_search_by_psycopg2 = _search(_rows_of_psycopg2)


def _execute(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """Wrapper for a statement of SQLAlchemy. The cursors of psycopg2 cannot be wrapped; those of other drivers are."""
    if len(args) < 3 or type(args[0]).__module__.partition(".")[0] != "psycopg2":
        return wrapped(*args, **kwargs)
    cursor, sql, parameters = args[:3]

    def run(query: Any, params: Any) -> Any:  # noqa: ARG001
        wrapped(*args, **kwargs)
        return cursor

    return _search_by_psycopg2(run, None, (sql, parameters), {})


PATCHES = (
    Patch("psycopg.cursor", "Cursor.execute", _search(_rows_of_psycopg)),
    Patch("psycopg.cursor_async", "AsyncCursor.execute", _search(_rows_of_psycopg)),
    *(Patch("asyncpg.connection", f"Connection.{name}", _search(_rows_of_asyncpg)) for name in ("fetch", "fetchrow")),
    *(Patch("asyncpg.prepared_stmt", f"PreparedStatement.{name}", _search(_rows_of_asyncpg)) for name in ("fetch", "fetchrow")),
    Patch("sqlalchemy.engine.default", "DefaultDialect.do_execute", _execute),
)
