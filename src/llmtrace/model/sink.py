"""Base class of the receivers of spans: the journal, metrics, exporters, budgets' files."""

from __future__ import annotations

from llmtrace.model.operations import Operation
from llmtrace.model.spans import RawSpan, Span


class Sink:
    """Receives spans from the recorder. Derive from it and define `append`.

    Every method is called on the thread of the program, so none may wait for a disk, a network or another process. Spans arrive
    cleaned (redacted, at the content level of the local store), except in `on_span_end` and `on_span_start`.
    """

    wants_start_marks = True
    """Also call `append` when a span starts; that span is small and its ``end`` is None."""
    takes_encoded = False
    """Call `append_encoded` in place of `append`. A span is encoded once for all such sinks."""

    def append(self, span: Span) -> None:
        """Take a span that ended, or a start mark."""
        raise NotImplementedError

    def append_encoded(self, raw: RawSpan) -> None:
        """Take the encoded form of a span that ended, or of a start mark."""
        raise NotImplementedError

    def on_span_end(self, span: Span) -> bool:  # noqa: ARG002  default
        """Called when a span ended. Return False if this sink does not need it in `append`.

        ``span`` is not cleaned: keep nothing of it but names and numbers.
        """
        return True

    def on_span_start(self, span_id: str, operation: Operation) -> None:
        """Called when a span started. Keep nothing of the operation but names and numbers."""

    def on_first_chunk(self, span_id: str) -> None:
        """Called when the first chunk of a streamed answer came."""
