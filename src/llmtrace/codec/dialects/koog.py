"""Koog (Kotlin). Known by ``koog.*`` attributes; everything else has the conventions' names.

Content that the program hides is written as the text ``HIDDEN:non-empty``. It counts as not recorded.
"""

from __future__ import annotations

from typing import Final

from llmtrace import semconv as sc
from llmtrace.codec.dialects import _former_names
from llmtrace.codec.dialects._dialect import Dialect, SpanReader
from llmtrace.model import Operation

_HIDDEN: Final = "HIDDEN:non-empty"
_CONTENT: Final = (
    sc.INPUT_MESSAGES,
    sc.OUTPUT_MESSAGES,
    sc.SYSTEM_INSTRUCTIONS,
    sc.TOOL_CALL_ARGUMENTS,
    sc.TOOL_CALL_RESULT,
    sc.TOOL_DEFINITIONS,
)


class Koog(Dialect):
    name = "koog"
    marks = frozenset({"koog.event.id", "koog.node.id", "koog.strategy.name"})

    def read(self, reader: SpanReader) -> Operation | None:
        _former_names.use_current_names(reader)
        reader.rename({"system_instructions": sc.SYSTEM_INSTRUCTIONS})
        for key in _CONTENT:
            if isinstance(reader.rest.get(key), str) and _HIDDEN in reader.rest[key]:
                reader.drop(key)
        return None


DIALECT = Koog()
