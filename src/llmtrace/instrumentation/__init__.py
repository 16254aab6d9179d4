"""Instrumentors record the calls of installed libraries, one instrumentor for each library.

A file in this folder is the instrumentor of one library; other packages add theirs by entry points ``llmtrace.instrumentors``.
This module exports the tools for authors of instrumentors; docs/how_to/adding_a_provider.md shows how to use them.

- The contract: `Endpoint` (derive from it), `Call`, `Fields`, `Headers`.
- The functions to wrap: `Patch`, `Wrapper`, and the wrappers `traced`, `traced_async`, `traced_generator`.
- Streams: `Reader` (derive from it), `watch_stream`, `watch_generator`, `closing`, `aclosing`.
- Within a call: `call_of`, `count_attempt`.
- To read content: `parse_arguments`, `read_definition`, `read_messages_cached`, `read_tools_cached`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from llmtrace.instrumentation._instrumentors import (
    Instrumentor,
    Library,
    available,
    disable,
    enable,
    end_streams,
    instrument,
    is_on,
    library_of,
    load,
    warn_of_absent,
)
from llmtrace.instrumentation._patches import Patch, Patches, Wrapper

if TYPE_CHECKING:
    from llmtrace.instrumentation._cache import read_messages_cached, read_tools_cached
    from llmtrace.instrumentation._generators import traced_generator, watch_generator
    from llmtrace.instrumentation._provider import Call, Endpoint, Fields, Headers, call_of, count_attempt, traced, traced_async
    from llmtrace.instrumentation._streams import Reader, aclosing, closing, watch_stream
    from llmtrace.validation.parse_arguments import parse_arguments
    from llmtrace.validation.tool_definitions import read_definition

_ENGINE = (
    *(f"llmtrace.instrumentation.{name}" for name in ("_provider", "_streams", "_generators", "_cache")),
    *("llmtrace.validation.parse_arguments", "llmtrace.validation.tool_definitions"),
)
"""Modules with names that instrumentors use but `configure` does not need: imported with the first provider's library."""


def __getattr__(name: str) -> Any:
    for module in _ENGINE if name in __all__ else ():
        names = vars(importlib.import_module(module))
        if name in names:
            return names[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Call",
    "Endpoint",
    "Fields",
    "Headers",
    "Instrumentor",
    "Library",
    "Patch",
    "Patches",
    "Reader",
    "Wrapper",
    "aclosing",
    "available",
    "call_of",
    "closing",
    "count_attempt",
    "disable",
    "enable",
    "end_streams",
    "instrument",
    "is_on",
    "library_of",
    "load",
    "parse_arguments",
    "read_definition",
    "read_messages_cached",
    "read_tools_cached",
    "traced",
    "traced_async",
    "traced_generator",
    "warn_of_absent",
    "watch_generator",
    "watch_stream",
]
