"""Corrects names and ids of other writers that name nothing: a placeholder for a call id, a random id in a workflow's name.

A call id joins an execution to its call, and a name is what runs are compared by, so each must be the same only where it means
the same.
"""

from __future__ import annotations

import re

from llmtrace.model import AgentInvocation, Span, ToolExecution, Workflow, replace

_PLACEHOLDER = re.compile(r"[<(\[].*[>)\]]|none|null|unknown|undefined|n/a|", re.IGNORECASE)
"""``<not specified>`` (Google ADK) and the like."""
_UUID = re.compile(r"[_\-:. ]?\b[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\b|_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""With what puts it behind a name: ``Crew_1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed.kickoff`` (CrewAI)."""


def correct_names(span: Span) -> Span:
    """Return the span without a placeholder as its call id, and without a random id in the name of its agent or workflow."""
    operation = span.operation
    if isinstance(operation, ToolExecution):
        if operation.call_id is not None and _PLACEHOLDER.fullmatch(operation.call_id.strip()):
            return replace(span, operation=replace(operation, call_id=None))
    elif isinstance(operation, (AgentInvocation, Workflow)):
        name = _UUID.sub("", operation.name)
        if name and name != operation.name:
            return replace(span, operation=replace(operation, name=name))
    return span
