"""Reads the JSON documents in a file: one in each line, one over many lines, or several of both kinds.

Law: a torn line does not affect the others. A document over several lines begins with a line that is not JSON by itself, and
ends with a line that begins with the closing bracket. The objects of a list are read one by one, since exports are lists of any
size.
"""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Generator, Iterator
from typing import BinaryIO, Final

from llmtrace.codec import json_text
from llmtrace.model import JsonValue

_LIST: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[\s*\{")
_LIST_HEAD: Final = 256
"""Number of bytes in which the beginning of a list of objects is searched."""
_BETWEEN: Final = re.compile(r"[\s,]*")
_CHUNK: Final = 1 << 20
"""Number of bytes that are read at a time."""


class Peekable(io.BufferedIOBase):
    """A binary file with `peek` for its next bytes, even if it cannot seek."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._head = b""

    def readable(self) -> bool:
        return True

    def peek(self, size: int) -> bytes:
        while len(self._head) < size:
            more = self._file.read(size - len(self._head))
            if not more:
                break
            self._head += more
        return self._head[:size]

    def read(self, size: int | None = -1, /) -> bytes:
        head = self._head
        if size is None or size < 0:
            self._head = b""
            return head + self._file.read()
        self._head = head[size:]
        return head[:size] if len(head) >= size else head + self._file.read(size - len(head))

    def read1(self, size: int = -1, /) -> bytes:
        return self.read(size if size >= 0 else _CHUNK)

    def put_back(self, data: bytes) -> None:
        self._head = data + self._head

    def readline(self, _: int | None = -1, /) -> bytes:
        head, end = self._head, self._head.find(b"\n") + 1
        if end:
            self._head = head[end:]
            return head[:end]
        self._head = b""
        return head + self._file.readline()


def read(file: Peekable) -> Iterator[tuple[int, JsonValue | ValueError]]:
    """Yield every document, or a ValueError if it is broken, with the number of its first line (from 1)."""
    first = 1
    while _LIST.match(file.peek(_LIST_HEAD)):
        first = yield from _objects(file, first)
    yield from _lines(file, first)


def _objects(file: Peekable, line: int) -> Generator[tuple[int, JsonValue | ValueError], None, int]:
    """Yield the objects of a list. Returns the line number after the list, and leaves the rest in the file."""
    decoder, utf8 = json.JSONDecoder(), codecs.getincrementaldecoder("utf-8-sig")("replace")
    text = utf8.decode(file.read(_CHUNK))
    place, count = text.index("[") + 1, 0
    line += text.count("\n", 0, place)
    while True:
        start = _BETWEEN.match(text, place).end()  # type: ignore[union-attr]
        line += text.count("\n", place, start)
        if text[start : start + 1] == "]":
            file.put_back(text[start + 1 :].encode())
            return line
        try:
            value, place = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            # read as much again as is waiting, so that a huge object is not parsed anew for each chunk
            more = b"" if isinstance(error, RecursionError) else file.read(max(_CHUNK, len(text) - start))
            text, place = text[start:] + utf8.decode(more), 0
            if more:
                continue
            yield line, ValueError(f"the list is cut off or broken after {count} of its items")
            rest = [part.encode() for part in text.splitlines(keepends=True)]
            yield from (item for item in _torn(rest[1:], line + 1) if not isinstance(item[1], ValueError))
            return line + len(rest)
        count += 1
        yield line, value
        line += text.count("\n", start, place)


def _lines(file: Peekable, first: int) -> Iterator[tuple[int, JsonValue | ValueError]]:
    block: list[bytes] = []
    """Lines of a document that has not ended yet."""
    first_of_block = 0
    for number, line in enumerate(file, first):
        line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if block:
            alone = None if _is_bare(block[0]) or line[:1] not in (b"{", b"[") else _value(line)
            if alone is None or isinstance(alone, ValueError):
                block.append(line)
                whole = _value(b"".join(block)) if line[:1] in (b"}", b"]") else None
                if whole is not None and not isinstance(whole, ValueError):
                    yield first_of_block, whole
                    block = []
                continue
            yield from _torn(block, first_of_block)  # this line is a document, so the lines before it were torn
            block = []
        if not line.strip():
            continue
        value = _value(line)
        if isinstance(value, ValueError) and line.lstrip()[:1] in (b"{", b"["):
            block, first_of_block = [line], number
        else:
            yield number, value
    if block:
        yield from _rest(block, first_of_block)


def _is_bare(line: bytes) -> bool:
    return line.strip() in (b"{", b"[")


def _rest(block: list[bytes], first: int) -> Iterator[tuple[int, JsonValue | ValueError]]:
    """Read the last lines if they are not one document: documents without a line break between them, or torn lines."""
    documents, place = [], 0
    try:
        text = b"".join(block).decode()
        decoder = json.JSONDecoder()
        while text[place:].strip():
            place += len(text[place:]) - len(text[place:].lstrip())
            value, place = decoder.raw_decode(text, place)
            documents.append((first + text.count("\n", 0, place), value))
    except (ValueError, RecursionError):
        yield from _torn(block, first)
        return
    yield from documents


def _torn(block: list[bytes], first: int) -> Iterator[tuple[int, JsonValue | ValueError]]:
    """Read each line by itself. Report the lines of a broken document only once."""
    is_reported = False
    for number, line in enumerate(block, first):
        value = _value(line) if line.strip() else None
        if isinstance(value, (dict, list)):
            yield number, value
            is_reported = False
        elif isinstance(value, ValueError) and (not is_reported or line[:1] in (b"{", b"[")):
            yield number, value
            is_reported = True


def _value(text: bytes) -> JsonValue | ValueError:
    try:
        return json_text.read(text.decode())
    except RecursionError:
        return ValueError("nested too deeply")
    except ValueError as error:
        return ValueError(str(error).partition("\n")[0])
