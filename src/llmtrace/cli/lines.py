"""Spans from a file, in any form that `codec.formats` knows and in the writing of any instrumentation. ``-`` is stdin.

Law: what cannot be read is reported with its place, and the rest is read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from llmtrace.cli.options import BadInput
from llmtrace.codec import formats
from llmtrace.codec.dialects import decode
from llmtrace.model import Span


class BadLine(NamedTuple):
    where: str
    """``line 3``, counted from 1; ``the file``."""
    reason: str


def read(path: str, progress: Callable[[float], None] | None = None) -> Iterator[Span | BadLine]:
    """Every span of a file, and what could not be read. Raises BadInput if there is no such file, or no span in it.

    ``progress`` is told which part of the file was read (0 to 1); of stdin it is not known.
    """
    found, bad = 0, ""
    with _opened(path) as file:
        for item in formats.read(file if progress is None else cast("BinaryIO", _Watched(file, progress))):
            if isinstance(item, formats.Unreadable):
                bad = bad or f"; {item.where}: {item.reason}"
                yield BadLine(*item)
            else:
                found += 1
                yield decode(item)
    if not found:
        raise BadInput(f"{path} holds no spans{bad}.\nExpected {formats.EXPECTED}.")


class _Watched:
    """A file that tells how far it was read."""

    def __init__(self, file: BinaryIO, progress: Callable[[float], None]) -> None:
        self._file = file
        self._progress = progress
        try:
            self._size = os.fstat(file.fileno()).st_size
        except (OSError, ValueError):
            self._size = 0
        self._read = 0

    def read(self, size: int = -1) -> bytes:
        return self._seen(self._file.read(size))

    def readline(self) -> bytes:
        return self._seen(self._file.readline())

    def _seen(self, data: bytes) -> bytes:
        self._read += len(data)
        self._progress(min(1.0, self._read / self._size) if self._size else 0.0)
        return data


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - only opening may be blamed on the user; the block below closes it
    except IsADirectoryError:
        raise BadInput(f"{path} is a folder.\nName a file of spans; a store is named by --store.") from None
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}.") from None
    with file:
        yield file
