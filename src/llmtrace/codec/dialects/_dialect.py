"""`Dialect`: how the spans of one other instrumentation are recognised and read."""

from __future__ import annotations

from llmtrace.codec.dialects._span_reader import SpanReader
from llmtrace.model import Operation, RawSpan


class Dialect:
    """Reads the spans of one other instrumentation. Derive from it, set ``name`` and ``marks``, define `read`."""

    name: str
    marks: frozenset[str]
    """Names of attributes, events and spans. Every span that the dialect knows has at least one of them, so that a database
    can tell which spans no dialect knows."""

    def knows(self, raw: RawSpan) -> bool:
        """Return True if the span is written in this dialect. Called for every span, so it must be cheap.

        Default: one of its attributes is among ``marks``.
        """
        return not self.marks.isdisjoint(raw.attributes)

    def read(self, reader: SpanReader) -> Operation | None:
        """Return what the span did, and take the attributes and events that say it out of the reader.

        None: the attributes, renamed in ``reader.rest`` where necessary, say it in the names of the GenAI conventions.
        """
        raise NotImplementedError

    def place(self, raw: RawSpan) -> RawSpan:
        """Return the span where it belongs in a trace, and with the status that it had.

        Override it for spans that lose their trace id on the way, or get a status from another span.
        """
        return raw
