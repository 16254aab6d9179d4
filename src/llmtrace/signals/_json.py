"""JSON in text, as signals look at it: never raises, whatever the text."""

from __future__ import annotations

import json
from typing import Final

from pydantic_core import from_json

from llmtrace.model import JsonValue

NOT_JSON: Final = object()


def read_json(text: str, *, partial: bool = False) -> JsonValue:
    """The value, or `NOT_JSON`. ``partial``: the beginning of a value will do."""
    try:
        return from_json(text, allow_partial=partial)
    except ValueError:
        return NOT_JSON
    except TypeError:  # a lone surrogate
        return read_json(text.encode("utf-8", "replace").decode(), partial=partial)


def is_cut_json(text: str) -> bool:
    """True if the text is the beginning of a JSON object or array, but not the whole of one."""
    if text.lstrip()[:1] not in ("{", "["):
        return False
    return read_json(text) is NOT_JSON and read_json(text, partial=True) is not NOT_JSON and not _begins_whole(text)


def _begins_whole(text: str) -> bool:
    """True if a whole value stands first, and more after it: too much is not cut. (The partial reading does not look there.)"""
    try:
        json.JSONDecoder(strict=False).raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return False
    return True
