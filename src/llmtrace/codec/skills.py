"""The agent skill that a tool call loads, reads or runs, told by the tools of frameworks and coding agents that have skills.

The conventions have no operation for skills: these are executions of tools with the attributes ``gen_ai.skill.*``. Where a
writer sets none, the tool's name and its arguments say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmtrace.model import ToolExecution, replace

_TOOLS: Final = {
    # Google ADK, Microsoft Agent Framework, OpenAI Agents
    "load_skill": ("skill_name",),
    "load_skill_resource": ("skill_name", "file_path"),
    "read_skill_resource": ("skill_name", "resource_name"),
    "run_skill_script": ("skill_name", "script_name", "file_path"),
    # Agno
    "get_skill_instructions": ("skill_name",),
    "get_skill_reference": ("skill_name", "reference_path"),
    "get_skill_script": ("skill_name", "script_path"),
    # Strands
    "skills": ("skill_name",),
    # Claude Code and its SDK, Gemini CLI, OpenCode
    "Skill": ("skill",),
    "activate_skill": ("name",),
    "skill": ("name",),
}
"""By tool: the argument with the skill's name, and those that may have the name of a resource in it."""


def with_skill(execution: ToolExecution) -> ToolExecution:
    """Return the execution with its skill, if its tool is one of those that use skills. The same object if nothing changes."""
    members, arguments = _TOOLS.get(execution.name), execution.arguments
    if members is None or execution.skill is not None or not isinstance(arguments, Mapping):
        return execution
    skill, *resources = [value if isinstance(value := arguments.get(name), str) and value else None for name in members]
    if skill is None:
        return execution
    return replace(execution, skill=skill, skill_resource=next(filter(None, resources), None))
