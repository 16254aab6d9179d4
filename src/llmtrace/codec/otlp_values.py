"""What OTLP's two encodings share: enumeration values, the grouping of spans, and integers beyond 64 bits."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from llmtrace.codec import json_text
from llmtrace.model import JsonValue, Kind, RawSpan, Scope

KINDS: Final[tuple[Kind, ...]] = ("internal", "internal", "server", "client", "producer", "consumer")
"""Span kinds by OTLP number. 0 is "unspecified", which is read as internal."""
KIND_NUMBERS: Final[dict[Kind, int]] = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
STATUSES: Final[tuple[Literal["unset", "ok", "error"], ...]] = ("unset", "ok", "error")
"""Status codes by OTLP number."""
MAX_DEPTH: Final = 24
"""Lists and dicts nested deeper are written as JSON text. Protobuf readers stop at 100 nested messages; a level needs three."""

_BIG: Final = b"llmtrace:int:"


class Group(NamedTuple):
    """Spans of one resource and one scope."""

    scope: Scope
    spans: list[RawSpan]


def group_spans(spans: Iterable[RawSpan]) -> list[tuple[RawSpan, list[Group]]]:
    """Group spans by resource, then by scope, in order of first appearance. The first span of each resource is returned too."""
    resources: dict[str, tuple[RawSpan, dict[tuple[str, str], Group]]] = {}
    texts: dict[int, str] = {}  # spans of one process share one resource object, so that its text is written once
    for span in spans:
        text = texts.get(id(span.resource))
        if text is None:  # compare texts, since in Python 1 == True == 1.0
            text = texts[id(span.resource)] = json_text.write(span.resource)
        _, groups = resources.setdefault(text, (span, {}))
        scope = (span.scope.name, span.scope.version)
        groups.setdefault(scope, Group(span.scope, [])).spans.append(span)
    return [(first, list(groups.values())) for first, groups in resources.values()]


def is_int64(value: int) -> bool:
    return -(1 << 63) <= value < 1 << 63


def bytes_of_int(value: int) -> bytes:
    """Encode an integer beyond 64 bits."""
    return _BIG + str(value).encode()


def value_of_bytes(data: bytes) -> JsonValue:
    """Decode an integer that `bytes_of_int` encoded. Other bytes become base64 text, since JSON has no bytes."""
    if data.startswith(_BIG):
        try:
            return int(data[len(_BIG) :])
        except ValueError:
            pass
    return base64.b64encode(data).decode()
