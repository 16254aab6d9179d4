"""Names and ids of other writers that name nothing."""

from __future__ import annotations

import pytest

from llmtrace.codec import genai
from llmtrace.codec.dialects import decode
from llmtrace.model import AgentInvocation, Operation, Span, ToolExecution, Workflow

UUID = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (ToolExecution("f", call_id="<not specified>"), ToolExecution("f")),
        (ToolExecution("f", call_id=""), ToolExecution("f")),
        (ToolExecution("f", call_id="call_1"), ToolExecution("f", call_id="call_1")),
        (ToolExecution("f", call_id=UUID), ToolExecution("f", call_id=UUID)),
        (Workflow(f"Crew_{UUID}.kickoff"), Workflow("Crew.kickoff")),
        (Workflow(f"Flow {UUID.replace('-', '')}"), Workflow("Flow")),
        (AgentInvocation(f"support-{UUID}"), AgentInvocation("support")),
        (AgentInvocation("support-2024-deadbeef"), AgentInvocation("support-2024-deadbeef")),
        (AgentInvocation(UUID), AgentInvocation(UUID)),
    ],
)
def test_what_names_nothing_is_left_out(before: Operation, after: Operation) -> None:
    """A placeholder is no call id, and a run's random id is no part of its workflow's name; a name is never left empty."""
    span = Span("a" * 32, "b" * 16, "x", 1, 2, operation=before)
    assert decode(genai.encode(span)).operation == after
