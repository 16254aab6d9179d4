"""Readings that forms of spans share: ids, times, kinds and statuses, in the many ways of writing them."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any, Final, Literal

from llmtrace.model import JsonValue, Kind

_KINDS: Final[tuple[Kind, ...]] = ("internal", "server", "client", "producer", "consumer")
_STATUSES: Final[dict[str, Literal["unset", "ok", "error"]]] = {"ok": "ok", "error": "error", "1": "ok", "2": "error"}
_DURATION: Final = re.compile(r"P(?:(\d+)D)?T?(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d{1,9}))?S)?")
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9})\d*)?\s*(Z|[+-]\d\d:?\d\d)?")


def id_of(value: JsonValue, digits: int) -> str | None:
    """An id of so many hex digits; a shorter one gets zeros before it (Jaeger leaves them out). None: it is none."""
    if not isinstance(value, str):
        return None
    text = value.lower().removeprefix("0x").rjust(digits, "0")
    if len(text) != digits or not all(char in "0123456789abcdef" for char in text) or not text.strip("0"):
        return None
    return text


def kind_of(value: JsonValue) -> Kind:
    """``client``, ``Client``, ``SPAN_KIND_CLIENT``, ``SpanKind.CLIENT``."""
    text = str(value).lower().rpartition(".")[2].removeprefix("span_kind_")
    return next((kind for kind in _KINDS if kind == text), "internal")


def status_of(value: JsonValue) -> Literal["unset", "ok", "error"]:
    """``Ok``, ``STATUS_CODE_ERROR``, 2."""
    return _STATUSES.get(str(value).lower().removeprefix("status_code_"), "unset")


def time_of(value: JsonValue) -> int | None:
    """Nanoseconds since the epoch, of an ISO 8601 time (UTC where it does not say) or of a number of s, ms, µs or ns."""
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
    """Guess the unit by the size: seconds since the epoch have ten digits, each smaller unit has three more."""
    for limit, scale in ((1e11, 10**9), (1e14, 10**6), (1e17, 10**3), (1e20, 1)):
        if 0 <= value < limit:
            return value * scale if isinstance(value, int) else round(value * scale)
    return None


def duration_of(value: JsonValue) -> int | None:
    """Nanoseconds, of an ISO 8601 duration (``PT1M2.5S``) or of a number of them."""
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
