"""Writes OTLP as JSON lines, at OTLP's content level (the store ``otlp-json:`` writes all content), for log collectors."""

from __future__ import annotations

from pathlib import Path

from llmtrace.content import Content
from llmtrace.model import Sink, Span
from llmtrace.store.otlp_file import OtlpFileStore


class Jsonl(Sink):
    wants_start_marks = False

    def __init__(self, path: Path, content: Content) -> None:
        self._file = OtlpFileStore(path)
        self._content = content

    def append(self, span: Span) -> None:
        self._file.append(span if self._content.exports_content else self._content.without_content(span))


def open(argument: str, content: Content) -> Jsonl:  # noqa: A001
    """Open the sink ``jsonl:PATH``. Raises ValueError without a path."""
    if not argument:
        raise ValueError("the file's path is missing. Write jsonl:PATH")
    return Jsonl(Path(argument).expanduser().absolute(), content)
