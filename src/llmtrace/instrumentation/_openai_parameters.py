"""What an OpenAI request asks for besides its messages and tools, by the conventions' names where they have one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmtrace.content import to_json
from llmtrace.instrumentation._stainless import is_given

NOT_OF_THE_REQUEST = frozenset({"model", "tools", "stream", "extra_headers", "extra_query", "extra_body", "timeout"})
"""Arguments of every method that are recorded elsewhere, or are no part of the body."""

_PLAIN = frozenset({str, int, float, bool, type(None)})


def read_parameters(kwargs: Mapping[str, Any], names: Mapping[str, str], left_out: frozenset[str]) -> dict[str, Any]:
    """``names``: the library's name to ours, where they differ; ``left_out``: what is recorded elsewhere."""
    found: dict[str, Any] = {}
    extra = kwargs.get("extra_body")
    for given in (kwargs, extra) if extra is not None and isinstance(extra, Mapping) else (kwargs,):
        for name, value in given.items():
            if name in left_out or value is None:
                continue
            if type(value) in _PLAIN:
                found[names.get(name, name)] = value
            elif is_given(value):
                found[names.get(name, name)] = _snapshot(name, value)
    if isinstance(found.get("stop_sequences"), str):
        found["stop_sequences"] = [found["stop_sequences"]]
    return found


def _snapshot(name: str, value: Any) -> Any:
    """As JSON, now: the program may change it later."""
    if isinstance(value, type):
        return {"type": "json_schema", "json_schema": {"name": value.__name__}}  # the schema is read from what is sent
    return to_json(list(value) if name == "stop" and isinstance(value, tuple) else value)
