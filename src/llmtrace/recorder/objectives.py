"""The objectives (SLOs) that the program declared, and the attributes that put them on spans.

Each span carries its objective, so that every reader, in this process or another, can check it.
"""

from __future__ import annotations

from collections.abc import Mapping

from llmtrace.model import JsonValue, Operation

declared: dict[str, Mapping[str, JsonValue]] = {}
"""By the name of an agent, a workflow, a tool, a span or an operation."""
_NONE: Mapping[str, JsonValue] = {}


def attributes_of(operation: Operation, name: str, kind: JsonValue) -> Mapping[str, JsonValue]:
    """Return the attributes of the objective for a span that starts now: declared for its agent, workflow or tool, else for its
    name, else for its ``kind``, the name of the operation (``chat``)."""
    for known_as in (getattr(operation, "name", None), name, kind):
        if known_as in declared:
            return declared[known_as]
    return _NONE
