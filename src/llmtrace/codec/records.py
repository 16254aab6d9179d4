"""The documents and memories that the spans of a trace show, each by its id."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from llmtrace.codec import json_text
from llmtrace.model import JsonValue, Memory, Operation, Retrieval
from llmtrace.model.value import value

_IDS: Final = ("id", "_id", "id_", "doc_id", "document_id", "record_id", "memory_id", "uuid")
_VERSIONS: Final = ("version", "revision", "updated_at")
_CONTENTS: Final = ("content", "page_content", "text", "memory", "document")
_INNER: Final = ("metadata", "node", "document", "payload")
"""Members with a record's own members: of LangChain, LlamaIndex, OpenInference, Qdrant."""


@value
class Record:
    """A document or memory, as one span shows it."""

    id: str
    version: str | None = None
    content: JsonValue = None
    place: tuple[str | int, ...] = ()
    """Its path in the documents or records of the span."""

    @property
    def text(self) -> str:
        """The content as text; empty without content."""
        content = self.content
        return "" if content is None else content if isinstance(content, str) else json_text.write(content)

    @property
    def digest(self) -> str | None:
        """The first 16 hex digits of a SHA-256 of the content, as it was kept; None without content."""
        return None if self.content is None else hashlib.sha256(self.text.encode("utf-8", "replace")).hexdigest()[:16]


def records_of(operation: Operation) -> list[Record]:
    """Return the records that a search returned or that a memory operation is about. Those without an id are left out."""
    if isinstance(operation, Retrieval):
        return list(_read(operation.documents))
    if not isinstance(operation, Memory):
        return []
    records = list(_read(operation.records))
    if operation.record_id is not None and all(record.id != operation.record_id for record in records):
        records.append(Record(operation.record_id))
    return records


def _read(content: JsonValue, place: tuple[str | int, ...] = ()) -> Iterator[Record]:
    """Yield the records of a list, or of the lists in an object."""
    if isinstance(content, Mapping):
        for name, inner in content.items():
            if isinstance(inner, (list, tuple)):
                yield from _read(inner, (*place, name))
    elif isinstance(content, (list, tuple)):
        for number, item in enumerate(content):
            if isinstance(item, Mapping):
                levels: list[Mapping[str, Any]] = [item]
                levels += [inner for name in _INNER if isinstance(inner := item.get(name), Mapping)]
                record_id, version = _first(levels, _IDS), _first(levels, _VERSIONS)
                if record_id is not None:
                    content_ = next((level[name] for level in levels for name in _CONTENTS if name in level), None)
                    yield Record(record_id, version, content_, (*place, number))


def _first(levels: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str | None:
    values = (level.get(name) for level in levels for name in names)
    return next((str(value) for value in values if isinstance(value, (str, int)) and value not in ("", True, False)), None)
