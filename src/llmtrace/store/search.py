"""Search of traces: by id or its beginning, by words, by the other fields of a `Query`. The same in every store.

A text query consists of terms between spaces. A term matches if its words stand next to each other; the last word may be the
beginning of one: ``ORD-12`` finds "ord-1234". A trace matches if each term matches in one of its spans.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from llmtrace.errors import TraceNotFound
from llmtrace.model import Blob, Span
from llmtrace.store import filters
from llmtrace.text.patterns import lazy_pattern

if TYPE_CHECKING:
    from llmtrace.store import Query
    from llmtrace.store.summary import TraceSummary

SHORTEST_PREFIX = 4
_WHOLE = 32
_LONGEST_TEXT = 200_000
_LONGEST_WORD = 64
_LISTS = ("system", "input", "output")
_VALUES = ("name", "agent_name", "arguments", "result", "query", "documents", "records", "response_id", "call_id")
"""Fields of operations that are searched: those with a list of pieces, and those with one piece."""

# Scripts written without spaces: each character is a word of its own, so that any part of a sentence can be found.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = lazy_pattern(f"[{_UNSPACED}]|[^\\W_{_UNSPACED}]+")


def words(text: str) -> list[str]:
    """Return the words of a text in lower case. Everything but letters and digits separates them."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return [word[:_LONGEST_WORD] for word in _WORD.findall(text[:_LONGEST_TEXT].casefold())]


def phrases(query: str) -> list[list[str]]:
    """Return the words of each term of a text query; terms without words are left out."""
    return [phrase for term in query.split() if (phrase := words(term))]


def matches(spans: Iterable[Span], query: str) -> bool:
    """Return True if each term of the query is in one of these spans."""
    joined = "\n".join(text_of(span) for span in spans)
    return all(needle in joined for needle in needles(query))


def text_of(span: Span) -> str:
    """Return the words of a span, each after a space. The span has a term if this text contains the term's needle."""
    return " " + " ".join(word for piece in pieces(span) for word in words(text_in(piece)))


def needles(query: str) -> list[str]:
    """Return the terms of a query, in the form of `text_of`."""
    return [" " + " ".join(phrase) for phrase in phrases(query)]


def pieces(span: Span) -> Iterator[Any]:
    """Yield the parts of a span that are searched: name, messages, arguments, results, findings, attributes."""
    yield span.name
    for name in _LISTS:
        yield from getattr(span.operation, name, ())
    for name in _VALUES:
        value = getattr(span.operation, name, None)
        if value is not None:
            yield value
    if span.failure is not None:
        yield f"{span.failure.type} {span.failure.message}"
    for evaluation in span.evaluations:
        yield f"{evaluation.name} {evaluation.explanation}"
    for violation in span.violations:
        yield f"{violation.code} {violation.pointer} {violation.message}"
    if span.attributes:
        yield span.attributes


def text_in(piece: Any) -> str:
    """Return the texts and numbers in one of `pieces`, in order."""
    if type(piece) is str:
        return piece
    texts: list[str] = []
    _collect(piece, texts, 0)
    return " ".join(texts)


def _collect(value: Any, texts: list[str], depth: int) -> None:
    kind: type = type(value)
    if kind is str:
        texts.append(value)
    elif kind is int or kind is float:
        texts.append(str(value))
    elif value is not None and depth < 32:
        if kind is dict:
            value = value.values()
        elif kind is not list and kind is not tuple:
            value = [getattr(value, name) for name in _fields(kind)]
        for inner in value:
            _collect(inner, texts, depth + 1)


@functools.cache
def _fields(kind: type) -> tuple[str, ...]:
    """Return the fields of a model value; none for other types, and none for a blob, whose text is base64."""
    if kind is Blob or not is_dataclass(kind):
        return ()
    return tuple(field.name for field in fields(kind) if field.compare)


def keeps(query: Query, summary: TraceSummary) -> bool:
    """Return True if a summary matches the query, apart from the query's text and confidence."""
    return summary.is_run and all(filter_.keeps(summary, value) for filter_, value in filters.active(query))


def resolve(wanted: str, newest: Sequence[str], starting: Callable[[str], list[str]]) -> str:
    """Find the full id of ``wanted``: an id, its beginning, or "last".

    ``newest``: the newest ids, for suggestions. ``starting``: returns a few ids that begin with a text.
    Raises TraceNotFound, with suggestions.
    """
    wanted = wanted.strip().lower()
    if wanted.startswith("tr-") or wanted.count("-") == 4:  # MLflow and LangSmith write ids like this
        wanted = wanted.removeprefix("tr-").replace("-", "")
    if not newest:
        raise TraceNotFound("the store has no traces yet. Try: llmtrace demo")
    if wanted == "last":
        return newest[0]
    if len(wanted) < SHORTEST_PREFIX:
        raise TraceNotFound(f"trace id {wanted!r} is too short. Give at least {SHORTEST_PREFIX} digits of it, or 'last'")
    ids = starting(wanted)
    if wanted in ids or len(ids) == 1:
        return wanted if wanted in ids else ids[0]
    if ids:
        raise TraceNotFound(f"{wanted!r} is the beginning of several traces: {', '.join(sorted(ids)[:4])}. Give more digits")
    import difflib

    # nobody types a whole id, and comparing it with all the others takes long: an import asks for each trace
    close = difflib.get_close_matches(wanted, [one[: len(wanted)] for one in newest], n=3) if len(wanted) < _WHOLE else []
    full = [next(trace_id for trace_id in newest if trace_id.startswith(start)) for start in close]
    suggestion = f"Did you mean {' or '.join(full)}?" if full else f"The newest is {newest[0]}"
    raise TraceNotFound(f"no trace {wanted!r}. {suggestion}")
