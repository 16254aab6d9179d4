"""Spans from OTLP JSON: one request per line, as the Collector's file exporter and ``llmtrace export`` write it, or one
document over many lines. ``-`` is stdin.

Law: a line that cannot be read is reported with its number, and the others are read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from llmtrace.cli.options import BadInput
from llmtrace.codec import genai, otlp
from llmtrace.model import Span


class BadLine(NamedTuple):
    number: int
    reason: str


def read(path: str) -> Iterator[Span | BadLine]:
    """Every span of a file, and what could not be read. Raises BadInput if there is no such file, or no span in it."""
    found, bad = 0, ""
    with _opened(path) as file:
        for item in _read(file):
            found += isinstance(item, Span)
            if isinstance(item, BadLine) and not bad:
                bad = f"; line {item.number}: {item.reason}"
            yield item
    if not found:
        raise BadInput(f'{path} holds no spans{bad}.\nExpected OTLP as JSON: a line, or the file, is {{"resourceSpans": […]}}.')


def _read(file: BinaryIO) -> Iterator[Span | BadLine]:
    first = file.readline()
    parsed = _parsed(1, first)
    if isinstance(parsed, BadLine):  # a document that was written over several lines begins with a line that is none
        rest = file.read()
        whole = _parsed(1, first + rest)
        if isinstance(whole, list):
            yield from whole
            return
        yield parsed
        lines = iter(rest.splitlines())
    else:
        yield from parsed
        lines = iter(file)
    for number, line in enumerate(lines, 2):
        parsed = _parsed(number, line)
        if isinstance(parsed, BadLine):
            yield parsed
        else:
            yield from parsed


def _parsed(number: int, line: bytes) -> list[Span] | BadLine:
    if not line.strip():
        return []
    try:
        return [genai.decode(raw) for raw in otlp.from_json(line)]
    except (ValueError, UnicodeError) as error:
        return BadLine(number, f"not OTLP JSON ({str(error).splitlines()[0] if str(error) else type(error).__name__})")


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - only opening may be blamed on the user; the block below closes it
    except IsADirectoryError:
        raise BadInput(f"{path} is a folder.\nName a file of OTLP JSON lines; a store is named by --store.") from None
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}.") from None
    with file:
        yield file
