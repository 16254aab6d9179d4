"""Restores the types of attributes that a database stores as text.

The OpenTelemetry Collector's tables in ClickHouse have a ``Map(String, String)``: a number of tokens comes back as ``"12"``, a
list as JSON text. Law: an attribute changes only if llmtrace or the conventions define it as a number, a flag or a list, and if
its text can be read as one. A program's own attributes stay text, since their types are unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from llmtrace import semconv as sc
from llmtrace.codec import fields, json_text
from llmtrace.codec.findings import ROWS
from llmtrace.codec.operations import SHAPES
from llmtrace.model import JsonValue

_TYPED: Final = (fields.as_count, fields.as_number, fields.as_flag, fields.as_texts)
_ROWS: Final = (*(row for shape in SHAPES for row in shape.rows), *ROWS)
_TYPED_KEYS: Final = frozenset(row.key for row in _ROWS if row.read in _TYPED) | {sc.SERVER_PORT}
_TEXT_KEYS: Final = frozenset(row.key for row in _ROWS) - _TYPED_KEYS | {
    sc.FINGERPRINT_SYSTEM,
    sc.FINGERPRINT_TOOLS,
    sc.FINGERPRINT_PARAMETERS,
    sc.FINGERPRINT_OUTPUT,
    sc.VCS_CHANGES,
    sc.PACKAGES,
    sc.REQUEST_OTHER,
    sc.RUN_ID,
    sc.OPERATION_RESULT,
}
_TYPED_NAMES: Final = re.compile(
    r"llmtrace\.(?!context\.|attribute\.|env\.)|gen_ai\.(?:request|usage)\.|llm\..*(?:token|usage)|ai\.usage\."
)


def restore_types(attributes: Mapping[str, str]) -> dict[str, JsonValue]:
    return {key: _value(text) if _is_typed(key) else text for key, text in attributes.items()}


def _is_typed(key: str) -> bool:
    return key in _TYPED_KEYS or (key not in _TEXT_KEYS and _TYPED_NAMES.match(key) is not None)


def _value(text: str) -> JsonValue:
    try:
        value = json_text.read(text)
    except ValueError:
        return text
    return value if isinstance(value, (bool, int, float, list)) else text
