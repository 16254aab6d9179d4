"""Spans from OTLP JSON: lines, or one document; what cannot be read is named by its line. Other forms: tests/codec/formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmtrace.cli.options import BadInput
from llmtrace.cli.read_spans import read
from llmtrace.codec import genai, otlp
from llmtrace.codec.formats import Unreadable
from llmtrace.model import Span
from tests.cli.traces import silent

SPANS = silent()


def lines() -> list[bytes]:
    return [otlp.to_json_line([genai.encode(span)]).strip() for span in SPANS]


def test_lines_and_document_are_the_same(tmp_path: Path) -> None:
    """One request a line, a pretty-printed request, and a mixture of line ends give the same spans."""
    whole = tmp_path / "whole.json"
    document = otlp.to_json_line([genai.encode(span) for span in SPANS])
    whole.write_text(json.dumps(json.loads(document), indent=2))
    by_line = tmp_path / "lines.jsonl"
    by_line.write_bytes(b"\r\n".join(lines()) + b"\n\n")
    assert list(read(str(whole))) == list(read(str(by_line))) == list(SPANS)


def test_a_bad_line_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    """A torn first, middle or last line costs only itself."""
    path = tmp_path / "torn.jsonl"
    first, second, third, _ = lines()
    path.write_bytes(b"\n".join([first[40:], second, b"\xff\xfe", third, first[:50]]))
    found = list(read(str(path)))
    assert [item.where for item in found if isinstance(item, Unreadable)] == ["line 1", "line 3", "line 5"]
    assert [item.span_id[-1] for item in found if isinstance(item, Span)] == ["2", "3"]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"{}", b'{"resourceSpans": []}'])
def test_a_file_without_spans_is_refused(tmp_path: Path, content: bytes) -> None:
    """Nothing found is no success."""
    path = tmp_path / "empty.jsonl"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="contains no spans"):
        list(read(str(path)))


def test_a_file_of_something_else_says_where_reading_failed(tmp_path: Path) -> None:
    """The only line, torn: the message names it."""
    path = tmp_path / "torn.jsonl"
    path.write_bytes(lines()[0][:-30])
    with pytest.raises(BadInput, match="contains no spans; line 1: not JSON"):
        list(read(str(path)))


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    """A folder, or no file at all, is named with what to do."""
    with pytest.raises(BadInput, match="is a folder"):
        list(read(str(tmp_path)))
    with pytest.raises(BadInput, match="No such file"):
        list(read(str(tmp_path / "none.jsonl")))
