"""Writes OTLP as JSON lines, at OTLP's content level (the store ``otlp-json:`` writes all content), for log collectors."""

from __future__ import annotations

from pathlib import Path

from llmtrace.content import Content
from llmtrace.model import RawSpan, Sink
from llmtrace.store.otlp_file import OtlpFileStore


class Jsonl(Sink):
    wants_start_marks = False
    takes_encoded = True

    def __init__(self, path: Path, content: Content) -> None:
        self._file = OtlpFileStore(path)
        self._content = content

    def append_encoded(self, raw: RawSpan) -> None:
        self._file.append_encoded(raw if self._content.exports_content else self._content.without_content(raw))


def open(argument: str, content: Content) -> Jsonl:  # noqa: A001
    """Open the sink ``jsonl:PATH``. Raises ValueError without a path."""
    if not argument:
        raise ValueError("the file's path is missing. Write jsonl:PATH")
    return Jsonl(Path(argument).expanduser().absolute(), content)
