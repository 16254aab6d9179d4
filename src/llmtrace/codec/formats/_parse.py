"""Readers that the formats share: ids, times, kinds, statuses and cells of tables, each in many notations."""

from __future__ import annotations

import ast
import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Final, Literal, NamedTuple

from llmtrace.codec import json_text
from llmtrace.model import JsonValue, Kind

_KINDS: Final[tuple[Kind, ...]] = ("internal", "server", "client", "producer", "consumer")
_STATUSES: Final[dict[str, Literal["unset", "ok", "error"]]] = {"ok": "ok", "error": "error", "1": "ok", "2": "error"}
_DURATION: Final = re.compile(r"P(?:(\d+)D)?T?(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d{1,9}))?S)?")
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9})\d*)?\s*(Z|[+-]\d\d:?\d\d)?")


class Skipped(NamedTuple):
    """A record that was understood, but that llmtrace does not store."""

    name: str
    """Its kind, in the singular: ``Langfuse score``."""
    advice: str = ""
    """What to import instead, if anything."""


def id_of(value: JsonValue, digits: int) -> str | None:
    """Read an id of this many hex digits, also without its leading zeros (Jaeger omits them). Returns None if it is not one."""
    if not isinstance(value, str):
        return None
    text = value.lower().removeprefix("0x").rjust(digits, "0")
    if len(text) != digits or not all(char in "0123456789abcdef" for char in text) or not text.strip("0"):
        return None
    return text


def convert_id(value: JsonValue, digits: int) -> str | None:
    """Convert a product's id to one of OpenTelemetry: from hex digits, a UUID or base64 (MLflow). Any other text is hashed.

    Returns None if the value is neither a text nor an integer.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value:
        return None
    text = value.removeprefix("tr-").removeprefix("0x").replace("-", "").lower()
    if len(text) == digits and _HEX.fullmatch(text) and text.strip("0"):
        return text
    if len(value) == _BASE64_LENGTHS[digits] and value.endswith("="):
        try:
            return base64.b64decode(value, validate=True).hex()
        except (ValueError, binascii.Error):
            pass
    return hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()[:digits]


_HEX: Final = re.compile("[0-9a-f]+")
_BASE64_LENGTHS: Final = {32: 24, 16: 12}
_LONGEST_LITERAL: Final = 1_000_000


def structured(value: JsonValue) -> JsonValue:
    """Read the object or list in a cell of a table: JSON, or Python's ``repr``, which pandas writes to CSV."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return value
    try:
        return json_text.read(value)
    except (ValueError, RecursionError):
        pass
    if len(value) > _LONGEST_LITERAL:
        return value
    for text in (value.strip(), _DATETIME.sub(_iso, value.strip())):
        try:
            literal = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        return literal if isinstance(literal, (dict, list)) else value
    return value


_DATETIME: Final = re.compile(
    r"datetime\.datetime\((\d[\d, ]*)(?:, tzinfo=[\w.]+(?:\([^()]*\))?)?\)|Timestamp\('([^']*)'[^()]*\)"
)


def _iso(match: re.Match[str]) -> str:
    numbers, text = match.groups()
    try:
        return repr(text if numbers is None else datetime(*map(int, numbers.strip(", ").split(","))).isoformat())  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return match[0]


def fields(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members with names in lower case and without separators: ``TraceId`` and ``trace_id`` become ``traceid``."""
    return {name.replace("_", "").replace(".", "").replace(" ", "").lower(): value for name, value in item.items()}


def is_empty(value: JsonValue) -> bool:
    return value is None or value == "" or value == {} or value == []


def kind_of(value: JsonValue) -> Kind:
    """Read a kind such as ``client``, ``Client``, ``SPAN_KIND_CLIENT`` or ``SpanKind.CLIENT``."""
    text = str(value).lower().rpartition(".")[2].removeprefix("span_kind_")
    return next((kind for kind in _KINDS if kind == text), "internal")


def status_of(value: JsonValue) -> Literal["unset", "ok", "error"]:
    """Read a status such as ``Ok``, ``STATUS_CODE_ERROR`` or 2."""
    return _STATUSES.get(str(value).lower().removeprefix("status_code_"), "unset")


def time_of(value: JsonValue) -> int | None:
    """Read nanoseconds since the epoch from an ISO 8601 time (UTC by default) or a number of s, ms, µs or ns."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        return _scaled(value)
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 21:
        return _scaled(int(value))
    match = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    day, time, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{time}{_zone(zone)}").astimezone(timezone.utc)
    except ValueError:
        return None
    return int(moment.timestamp()) * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))


def _zone(zone: str | None) -> str:
    if zone is None or zone == "Z":
        return "+00:00"
    return zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"


def _scaled(value: float) -> int | None:
    """Guess the unit by size: seconds since the epoch have ten digits, each smaller unit three more."""
    for limit, scale in ((1e11, 10**9), (1e14, 10**6), (1e17, 10**3), (1e20, 1)):
        if 0 <= value < limit:
            return value * scale if isinstance(value, int) else round(value * scale)
    return None


def duration_of(value: JsonValue) -> int | None:
    """Read nanoseconds from an ISO 8601 duration (``PT1M2.5S``) or a number of nanoseconds."""
    if isinstance(value, str) and value.startswith("P"):
        match = _DURATION.fullmatch(value)
        if match is None:
            return None
        days, hours, minutes, seconds, fraction = match.groups()
        whole = ((int(days or 0) * 24 + int(hours or 0)) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)
        return whole * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return int(value)
    return None


def mapping(value: Any) -> dict[str, Any]:
    return {str(key): member for key, member in value.items()} if isinstance(value, dict) else {}


def items(value: Any) -> list[dict[str, Any]]:
    return [mapping(item) for item in value if isinstance(item, dict)] if isinstance(value, list) else []
