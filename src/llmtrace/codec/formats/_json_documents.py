"""Reads the JSON documents in a file: one in each line, one over many lines, or several of both kinds.

The objects of a list are documents too, and are read one by one, since exports are lists of any size. Law: a torn document does
not affect the others. After one, reading goes on at the next line that begins with a bracket.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import BinaryIO, Final

from llmtrace.model import JsonValue

_DECODER: Final = json.JSONDecoder()
_BETWEEN: Final = re.compile(r"[\s,]*")
_LIST: Final = re.compile(r"\[\s*(?=\{)")
_NEXT: Final = re.compile(r"\n(?=[{\[])")
_CHUNK: Final = 1 << 20
"""Number of bytes that are read at a time."""
_MAX_TOKEN: Final = 16
"""Number of characters of the longest literal or escape. An error closer to the end of the text may be a cut-off one."""


def read(file: BinaryIO) -> Iterator[tuple[int, JsonValue | ValueError]]:
    """Yield every document, or a ValueError if it is broken, with the number of its first line (from 1)."""
    utf8 = codecs.getincrementaldecoder("utf-8-sig")("replace")
    text, place, line = "", 0, 1
    count: int | None = None
    """Number of items of the present list that were read, or None outside a list."""
    while True:
        start = _end(_BETWEEN, text, place)
        line += text.count("\n", place, start)
        place = start
        if len(text) - place < _MAX_TOKEN and (more := utf8.decode(file.read(_CHUNK))):
            text, place = text[place:] + more, 0
        elif place == len(text):
            if count is not None:
                yield line, _broken_list(count)
            return
        elif count is not None and text[place] == "]":
            place, count = place + 1, None
        elif count is None and (end := _end(_LIST, text, place)) > place:
            line += text.count("\n", place, end)
            place, count = end, 0
        else:
            value, end = _decode(text, place, is_item=count is not None)
            if isinstance(value, Exception):
                # read as much again as is waiting, so that a huge object is not parsed anew for each chunk
                if _may_be_cut(value, text) and (more := utf8.decode(file.read(max(_CHUNK, len(text) - place)))):
                    text, place = text[place:] + more, 0
                    continue
                value = _not_json(value) if count is None else _broken_list(count)
            yield line, value
            count = None if count is None or isinstance(value, ValueError) else count + 1
            line += text.count("\n", place, end)
            place = end


def _decode(text: str, place: int, *, is_item: bool) -> tuple[JsonValue | Exception, int]:
    """Return the document at ``place`` and its end, or an error and the beginning of the next line with a bracket.

    An item of a list may be any value.
    """
    try:
        if not is_item and text[place] not in "{[":
            raise ValueError("it begins without a bracket")
        return _DECODER.raw_decode(text, place)
    except (ValueError, RecursionError) as error:
        following = _NEXT.search(text, place)
        return error, len(text) if following is None else following.end()


def _end(pattern: re.Pattern[str], text: str, place: int) -> int:
    """Return the end of a match at ``place``, or ``place`` if there is none."""
    match = pattern.match(text, place)
    return place if match is None else match.end()


def _may_be_cut(error: Exception, text: str) -> bool:
    """Return True if the text may be the beginning of a document."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.pos > len(text) - _MAX_TOKEN or error.msg.startswith("Unterminated string")


def _not_json(error: Exception) -> ValueError:
    reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error) or "nested too deeply"
    return ValueError(f"not JSON ({reason})")


def _broken_list(count: int) -> ValueError:
    return ValueError(f"not JSON (the list is cut off or broken after {count} of its items)")
