"""The skill of a tool execution: by the conventions' attributes, or by the tools that frameworks have for skills."""

from __future__ import annotations

import pytest

import llmtrace
from llmtrace import semconv as sc
from llmtrace.codec import dialects, genai
from llmtrace.codec.skills import with_skill
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.model import JsonValue, RawSpan, Span, ToolExecution
from llmtrace.testing import Captured


@pytest.mark.parametrize(
    ("tool", "arguments", "skill", "resource"),
    [
        ("load_skill", {"skill_name": "returns"}, "returns", None),
        ("load_skill_resource", {"skill_name": "returns", "file_path": "references/law.md"}, "returns", "references/law.md"),
        ("run_skill_script", {"skill_name": "returns", "file_path": "scripts/sum.py"}, "returns", "scripts/sum.py"),
        ("run_skill_script", {"skill_name": "returns", "script_name": "sum"}, "returns", "sum"),
        ("read_skill_resource", {"skill_name": "returns", "resource_name": "law"}, "returns", "law"),
        ("get_skill_reference", {"skill_name": "returns", "reference_path": "law.md"}, "returns", "law.md"),
        ("Skill", {"skill": "returns", "args": "x"}, "returns", None),
        ("activate_skill", {"name": "returns"}, "returns", None),
        ("skills", {"name": "Python"}, None, None),
        ("add_skill", {"skill_name": "Python"}, None, None),
        ("load_skill", {"skill_name": 5}, None, None),
        ("load_skill", "returns", None, None),
    ],
)
def test_tools_of_frameworks_tell_the_skill(tool: str, arguments: JsonValue, skill: str | None, resource: str | None) -> None:
    execution = with_skill(ToolExecution(tool, arguments))
    assert (execution.skill, execution.skill_resource) == (skill, resource)


def test_a_recorded_tool_has_the_skill_in_its_name_and_attributes(captured: Captured) -> None:
    @llmtrace.tool
    def load_skill(skill_name: str) -> str:
        return "Be kind."

    load_skill(skill_name="returns")
    (span,) = captured.spans
    assert span.name == "execute_tool load_skill returns"
    assert genai.attributes(span)[sc.SKILL_NAME] == "returns"


def test_another_writers_skill_is_read() -> None:
    attributes: dict[str, JsonValue] = {
        sc.OPERATION_NAME: sc.EXECUTE_TOOL,
        sc.TOOL_NAME: "exec",
        sc.SKILL_NAME: "returns",
        sc.SKILL_RESOURCE: "scripts/sum.py",
        sc.SKILL_SOURCE: "file:///skills/returns",
    }
    span = dialects.decode(RawSpan("1" * 32, "2" * 16, "execute_tool exec", 1, 2, attributes=attributes))
    assert span.operation == ToolExecution("exec", skill="returns", skill_resource="scripts/sum.py")
    assert span.attributes == {sc.SKILL_SOURCE: "file:///skills/returns"}


def test_a_skill_that_the_model_made_up_is_hidden_without_content() -> None:
    execution = ToolExecution("load_skill", {"skill_name": "my PIN is 4711"}, skill="my PIN is 4711")
    span = Span("1" * 32, "2" * 16, "execute_tool load_skill my PIN is 4711", 1, 2, operation=execution)
    content = Content(Config(content="none"))
    assert "4711" not in str(content.write(span))
    opening = content.opening(execution, None)
    assert opening.stored.name == opening.exported.name == "execute_tool load_skill *"
    assert "4711" not in str((opening.stored, opening.exported))
