"""How a trace is found again: by its id or the beginning of it, by words, by what a `Query` says. Every store agrees on it.

A text query holds terms between spaces. A term matches where its words stand side by side, the last one as a beginning:
``ORD-12`` finds "ord-1234". A trace matches if each term does in one of its spans.
"""

from __future__ import annotations

import difflib
import functools
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from llmtrace.errors import TraceNotFound
from llmtrace.model import Blob, Span
from llmtrace.text.patterns import lazy_pattern

if TYPE_CHECKING:
    from llmtrace.store import Query
    from llmtrace.store.summary import TraceSummary

SHORTEST_PREFIX = 4
_LONGEST_TEXT = 200_000
_LONGEST_WORD = 64

# Scripts written without spaces: each character is a word of its own, so that any part of a sentence can be found.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_SEPARATING = {code: " " for code in range(128) if not chr(code).isalnum()}
_WORD = lazy_pattern(f"[{_UNSPACED}]|[^\\W_{_UNSPACED}]+")


def words(text: str) -> list[str]:
    """Words in small letters; what is no letter or digit separates them."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return [word[:_LONGEST_WORD] for word in _WORD.findall(text[:_LONGEST_TEXT].casefold())]


def indexed(text: str) -> str:
    """The words of a text, as SQLite's tokenizer takes them: those of `words`, found faster where it is plain."""
    if text.isascii():
        plain = text[:_LONGEST_TEXT]
        if not _has_long_word(plain) and "\0" not in plain:
            return plain
        plain = plain.translate(_SEPARATING)
        if not _has_long_word(plain):
            return plain
    elif "\n" in text and len(text) <= _LONGEST_TEXT:
        return "\n".join(map(indexed, text.split("\n")))  # most lines are plain
    return " ".join(words(text))


def _has_long_word(plain: str) -> bool:
    at = 0
    while at + _LONGEST_WORD < len(plain):
        at = plain.rfind(" ", at, at + _LONGEST_WORD + 1) + 1
        if at == 0:
            return True
    return False


def phrases(query: str) -> list[list[str]]:
    """The words of each term of a text query; terms without any are left out."""
    return [found for term in query.split() if (found := words(term))]


def matches(spans: Iterable[Span], query: str) -> bool:
    """Whether each term of the query is in one of these spans."""
    joined = "\n".join(text_of(span) for span in spans)
    return all(needle in joined for needle in needles(query))


def text_of(span: Span) -> str:
    """The words of a span, each after a space: where a needle is in it, the span has the term."""
    return " " + " ".join(word for piece in pieces(span) for word in words(text_in(piece)))


def needles(query: str) -> list[str]:
    """The terms of a query, as they stand in `text_of`."""
    return [" " + " ".join(phrase) for phrase in phrases(query)]


def pieces(span: Span) -> Iterator[Any]:
    """What one may search a span by: its name, each message, arguments, results, findings, attributes."""
    operation = span.operation
    yield span.name
    kind: type = type(operation)
    lists, values = _searched(kind)
    for name in lists:
        yield from getattr(operation, name)
    for name in values:
        held = getattr(operation, name)
        if held is not None:
            yield held
    if span.failure is not None:
        yield f"{span.failure.type} {span.failure.message}"
    for evaluation in span.evaluations:
        yield f"{evaluation.name} {evaluation.explanation}"
    for violation in span.violations:
        yield f"{violation.code} {violation.pointer} {violation.message}"
    if span.attributes:
        yield span.attributes


_LISTS = ("system", "input", "output")
_VALUES = ("name", "agent_name", "arguments", "result", "query", "documents", "records", "response_id", "call_id")


@functools.cache
def _searched(kind: type) -> tuple[list[str], list[str]]:
    """Of an operation: fields with a list of what is searched piece by piece, and those with one piece."""
    names = {field.name for field in fields(kind)}
    return [name for name in _LISTS if name in names], [name for name in _VALUES if name in names]


def text_in(piece: Any) -> str:
    """The texts and numbers in one of `pieces`, in order."""
    if type(piece) is str:
        return piece
    found: list[str] = []
    _collect(piece, found, 0)
    return " ".join(found)


def _collect(held: Any, found: list[str], depth: int) -> None:
    kind = type(held)
    if kind is str:
        found.append(held)
    elif kind is int or kind is float:
        found.append(str(held))
    elif held is not None and depth < 32:
        for inner in _inside(held, kind):
            _collect(inner, found, depth + 1)


def _inside(held: Any, kind: type) -> Iterable[Any]:
    if kind is dict:
        return held.values()  # type: ignore[no-any-return]
    if kind in (list, tuple):
        return held  # type: ignore[no-any-return]
    return [getattr(held, name) for name in _fields(kind)]


@functools.cache
def _fields(kind: type) -> tuple[str, ...]:
    """The fields of a model value that hold text; none of anything else, nor of a blob, whose text is base64."""
    if kind is Blob or not is_dataclass(kind):
        return ()
    return tuple(field.name for field in fields(kind) if field.compare)


def keeps(query: Query, summary: TraceSummary) -> bool:
    """Whether a summary is what a query asks for; its text is not looked at here."""
    if query.since is not None and summary.start < query.since:
        return False
    if query.until is not None and summary.start >= query.until:
        return False
    if query.health is not None and summary.health != query.health:
        return False
    return query.agent is None or query.agent in summary.agents


def resolve(wanted: str, newest: Sequence[str], starting: Callable[[str], list[str]]) -> str:
    """The full trace id that ``wanted`` (an id, its beginning, or "last") means.

    ``newest``: ids, newest first, enough of them to suggest from. ``starting``: ids that begin with a text, a few of them.
    Raises TraceNotFound, with what may have been meant.
    """
    wanted = wanted.strip().lower()
    if not newest:
        raise TraceNotFound("the store holds no traces yet. Try: llmtrace demo")
    if wanted == "last":
        return newest[0]
    if len(wanted) < SHORTEST_PREFIX:
        raise TraceNotFound(f"{wanted!r} is too short: give at least {SHORTEST_PREFIX} digits of a trace id, or 'last'")
    found = starting(wanted)
    if wanted in found or len(found) == 1:
        return wanted if wanted in found else found[0]
    if found:
        raise TraceNotFound(f"{wanted!r} is the beginning of several traces: {', '.join(sorted(found)[:4])}")
    near = difflib.get_close_matches(wanted, [trace_id[: len(wanted)] for trace_id in newest], n=3)
    full = [next(trace_id for trace_id in newest if trace_id.startswith(start)) for start in near]
    meant = f"; did you mean {' or '.join(full)}?" if full else f"; the newest is {newest[0]}"
    raise TraceNotFound(f"no trace {wanted!r}{meant}")
