"""One line on stderr that says what a command is doing: on a terminal only, and only where it takes more than a second."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TextIO, TypeVar

from llmtrace.cli.terminal import Screen
from llmtrace.text.unsafe_characters import clean

T = TypeVar("T")

AFTER = 1.0
"""Seconds until the line appears."""
_EVERY = 0.25


class Progress:
    """Shows the line while its block runs. What is printed meanwhile must wait until the block has ended."""

    def __init__(self, text: str, stream: TextIO | None = None) -> None:
        """``stream``: default, stderr."""
        self.text = text
        self._stream = sys.stderr if stream is None else stream
        self._ended = threading.Event()
        self._writer: threading.Thread | None = None

    def __enter__(self) -> Progress:
        if self._stream is not None and self._stream.isatty():
            self._writer = threading.Thread(target=self._write, name="llmtrace progress", daemon=True)
            self._writer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        if self._writer is not None:
            self._writer.join()

    def count(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items, with how many there were after the text."""
        text = self.text
        for number, item in enumerate(items, 1):
            self.text = f"{text}: {number:,}"
            yield item

    def _write(self) -> None:
        began = time.monotonic()
        if self._ended.wait(AFTER):
            return
        width = Screen(self._stream).width - 1
        while not self._ended.is_set():
            line = f"{clean(self.text)} … {time.monotonic() - began:.0f} s"
            print(f"\r\x1b[K{line[:width]}", end="", file=self._stream, flush=True)
            self._ended.wait(_EVERY)
        print("\r\x1b[K", end="", file=self._stream, flush=True)
