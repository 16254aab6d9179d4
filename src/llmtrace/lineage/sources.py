"""One thing that a model could see, and a finding in it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from llmtrace.lineage import dates
from llmtrace.lineage.forms import has_mark, keys_in, may_hold_date
from llmtrace.lineage.measures import Measure
from llmtrace.lineage.periods import Period
from llmtrace.lineage.provenance import Rule
from llmtrace.lineage.ranges import Range, ranges_in
from llmtrace.model import JsonValue

MOST_KEPT = 64
"""Keys of one kind that are kept with a source; more are read out of its text again."""


@dataclass(slots=True)
class Source:
    """One thing that was visible: a message, a system prompt, a tool's result."""

    span_id: str
    place: str
    """What it is, for people: ``message 2 (user)``, ``result of look_up``."""
    content: JsonValue
    echo: frozenset[str] = frozenset()
    """Keys of values that the model had made up before and that this source only repeats: it is no evidence for them."""
    asked: bool = False
    """True for what a user, a developer or an operator wrote."""
    call_id: str | None = None
    part: int = 0
    """Of a message with several parts, which of them."""
    places: Any = None
    """What `passages` knows of it."""
    _text: str | None = None
    _marked: bool | None = None
    _dated: bool | None = None
    _words: set[str] | None = None
    _dates: set[str] | None = None
    months: frozenset[str] | None = None
    """Those that it may name, where all its words were read and what counts from a date was entered elsewhere."""
    numbers: Sequence[tuple[float, str]] | None = None
    """The numbers at its beginning with what they count, once somebody asked."""
    sizes: Sequence[float] | None = None
    """The same numbers alone."""
    measures: tuple[Measure, ...] | None = None
    """Those at its beginning that stand with a unit, once somebody asked."""
    periods: tuple[Period, ...] | None = None
    """Those that it tells of, once somebody asked."""
    totals: Collection[float] | None = None
    """What the records in it come to, once somebody asked."""
    ranges: tuple[Range, ...] | None = None
    """What `named_ranges` gives, once somebody asked."""

    @property
    def text(self) -> str:
        if self._text is None:
            content = self.content
            self._text = content if type(content) is str or isinstance(content, str) else as_text(content)
        return self._text

    @property
    def marked(self) -> bool:
        """False where no word of the text can have keys."""
        if self._marked is None:
            self._marked = has_mark(self.text)
        return self._marked

    @property
    def dated(self) -> bool:
        """False where no word of the text can be a date."""
        if self._dated is None:
            self._dated = self.marked and may_hold_date(self.text)
        return self._dated

    def word_keys(self) -> set[str]:
        """The keys of its words. Not to be changed."""
        keys = self._words
        if keys is None:
            keys = keys_in(self.text) if self.marked else set()
            if len(keys) <= MOST_KEPT:
                self._words = keys
        return keys

    def date_keys(self) -> set[str]:
        """The keys of its dates that take more than a word. Not to be changed."""
        keys = self._dates
        if keys is None:
            months = self.months
            keys = dates.dates_in(self.text) if months is None else dates.dates_by_name(self.text, months)
            if len(keys) <= MOST_KEPT:
                self._dates = keys
        return keys

    def named_ranges(self) -> tuple[Range, ...]:
        """The identifiers that its text names by the first and the last of them."""
        if self.ranges is None:
            self.ranges = ranges_in(self.text) if self.marked else ()
        return self.ranges

    def echoing(self, echo: frozenset[str]) -> Source:
        """The same text where it only repeats these keys; so nobody asked for anything by it."""
        copy = Source(self.span_id, self.place, self.content, echo, False, self.call_id, self.part)
        copy._text, copy._marked, copy._dated, copy._words, copy._dates = (
            self._text,
            self._marked,
            self._dated,
            self._words,
            self._dates,
        )
        return copy


def as_text(content: JsonValue) -> str:
    """Content as JSON, or as Python shows what is none."""
    try:
        return to_json(content, inf_nan_mode="constants").decode()
    except Exception:  # no JSON after all; a cycle or an object that cannot be written must not break the search
        try:
            return repr(content)
        except Exception:
            return ""


@dataclass(slots=True)
class Found:
    first: Source | None
    """None when the source itself is forgotten."""
    last: Source | None
    rule: Rule = ""
    """How the value follows from what stands there; empty where it stands there itself."""
    inputs: tuple[tuple[Source, JsonValue], ...] = ()
    """Of a value that was computed or joined: what from."""
