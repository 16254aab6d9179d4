"""A file of OTLP as JSON lines, for what picks files up, at the content level of OTLP (the store ``otlp-json:`` has all)."""

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
    """Raises ValueError where no file is named."""
    if not argument:
        raise ValueError("no file is named; write jsonl:PATH")
    return Jsonl(Path(argument).expanduser().absolute(), content)
