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
    """Read the parameters of a request. ``names``: the library's names to ours; ``left_out``: recorded elsewhere."""
    parameters: dict[str, Any] = {}
    extra = kwargs.get("extra_body")
    for arguments in (kwargs, extra) if extra is not None and isinstance(extra, Mapping) else (kwargs,):
        for name, value in arguments.items():
            if name in left_out or value is None:
                continue
            if type(value) in _PLAIN:
                parameters[names.get(name, name)] = value
            elif is_given(value):
                parameters[names.get(name, name)] = _snapshot(name, value)
    if isinstance(parameters.get("stop_sequences"), str):
        parameters["stop_sequences"] = [parameters["stop_sequences"]]
    return parameters


def _snapshot(name: str, value: Any) -> Any:
    """Convert a value to JSON now, because the program may change it later."""
    if isinstance(value, type):
        return {"type": "json_schema", "json_schema": {"name": value.__name__}}  # the schema is read from what is sent
    return to_json(list(value) if name == "stop" and isinstance(value, tuple) else value)
