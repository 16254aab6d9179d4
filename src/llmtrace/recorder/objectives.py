"""The objectives that the program declared, and the attributes by which a span carries the one it is under.

They stand on the spans so that whoever reads them, in this process or another, knows what was promised.
"""

from __future__ import annotations

from collections.abc import Mapping

from llmtrace.model import JsonValue, Operation

declared: dict[str, Mapping[str, JsonValue]] = {}
"""By the name of an agent, a workflow, a tool, a span or an operation."""
_NONE: Mapping[str, JsonValue] = {}


def attributes_of(operation: Operation, name: str, kind: JsonValue) -> Mapping[str, JsonValue]:
    """What a span that starts now gets: of the objective for its agent, workflow or tool, else for its name, else for its
    ``kind``: the name of the operation (``chat``)."""
    for known_as in (getattr(operation, "name", None), name, kind):
        if known_as in declared:
            return declared[known_as]
    return _NONE
