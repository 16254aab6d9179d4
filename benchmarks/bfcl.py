"""The function documents of BFCL as tool definitions, and the calls that models made of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import report
from llmtrace.model import ToolCall, ToolDefinition
from llmtrace.validation.parse_arguments import parse_arguments
from llmtrace.validation.tool_definitions import read_definition

_WORDS = {"dict": "object", "float": "number", "tuple": "array"}


def definitions(folder: Path) -> dict[str, dict[str, ToolDefinition]]:
    """By the id of a question: the tools on offer by their plain names."""
    found: dict[str, dict[str, ToolDefinition]] = {}
    for file in (folder / "docs_2024_08_11").glob("*.json"):
        for row in report.rows(file):
            functions = row["function"] if isinstance(row["function"], list) else [row["function"]]
            found[row["id"]] = {plain(one["name"]): read_definition(as_schema(one)) for one in functions}
    return found


def answers(folder: Path) -> Iterator[tuple[dict[str, Any], list[ToolCall], tuple[ToolDefinition, ...]]]:
    """Each answer of a model as it stands in the file, its calls, and the tools that were on offer."""
    offered = definitions(folder)
    for row in report.rows(folder / "calls_2024_08_11.jsonl"):
        tools = offered.get(row["id"])
        if tools is None:
            continue
        named = tuple(ToolDefinition(name, tool.parameters, tool.description) for name, tool in tools.items())
        calls = [
            ToolCall(plain(name), parse_arguments(raw) if isinstance(raw, str) else raw)
            for call in row["calls"]
            for name, raw in call.items()
        ]
        yield row, calls, named


def plain(name: str) -> str:
    return name.replace(".", "_")


def as_schema(definition: dict[str, Any]) -> dict[str, Any]:
    """BFCL's documents say dict, float, tuple, any where JSON Schema says object, number, array, nothing."""

    def change(node: Any) -> Any:
        if isinstance(node, dict):
            made = {key: change(member) for key, member in node.items()}
            kind = made.get("type")
            if isinstance(kind, str):
                if kind in ("any", "Any"):
                    del made["type"]
                else:
                    made["type"] = _WORDS.get(kind, kind)
            return made
        return [change(item) for item in node] if isinstance(node, list) else node

    return {"name": definition["name"], "parameters": change(definition["parameters"])}
