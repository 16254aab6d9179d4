"""The tool calls of recorded runs: what real models sent, and faults of every kind planted in it."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmtrace.model import ToolCall, ToolDefinition
from llmtrace.validation.check_values import check_call
from llmtrace.validation.parse_arguments import parse_arguments
from llmtrace.validation.tool_definitions import read_definition


def _calls(data: Path) -> Iterator[tuple[dict[str, ToolDefinition], str, str]]:
    """Definitions, tool name and raw arguments of every call of the customer-service runs."""
    folder = data / "tau_bench"
    if not folder.is_dir():
        pytest.skip("the recorded runs are absent: github.com/sierra-research/tau-bench")
    raw = json.loads((folder / "airline_tools.json").read_text(encoding="utf-8"))
    tools = {definition.name: definition for definition in map(read_definition, raw)}
    with (folder / "gpt-4o-airline.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            for message in json.loads(line)["traj"]:
                for call in message.get("tool_calls") or ():
                    yield tools, call["function"]["name"], call["function"]["arguments"]


def test_no_recorded_call_is_found_wrong(data: Path) -> None:
    """Not one call of a model that followed its schemas gets an error. Members that no schema lists are warnings."""
    found: Counter[tuple[str, str]] = Counter()
    calls = warned = 0
    for tools, name, raw in _calls(data):
        violations = check_call(ToolCall(name, parse_arguments(raw)), tools)
        calls += 1
        warned += bool(violations)
        found.update((violation.code, violation.severity) for violation in violations)
    assert calls > 500
    assert found.keys() == {("unexpected", "warning")}
    assert warned < calls / 10


Plant = Callable[[dict[str, Any], dict[str, Any]], "str | None"]


def _missing(arguments: dict[str, Any], schema: dict[str, Any]) -> str | None:
    name = next((name for name in schema.get("required", ()) if name in arguments), None)
    if name is not None:
        del arguments[name]
    return name


def _wrong_type(arguments: dict[str, Any], schema: dict[str, Any]) -> str | None:
    name = next((name for name in arguments if schema["properties"][name].get("type") in ("string", "array")), None)
    if name is not None:
        arguments[name] = {"not": "that"}
    return name


def _not_allowed(arguments: dict[str, Any], schema: dict[str, Any]) -> str | None:
    name = next((name for name in arguments if "enum" in schema["properties"][name]), None)
    if name is not None:
        arguments[name] = "none of them"
    return name


def _unexpected(arguments: dict[str, Any], _: dict[str, Any]) -> str | None:
    arguments["not_in_the_schema"] = 1
    return "not_in_the_schema"


PLANTS: dict[str, Plant] = {
    "missing": _missing,
    "wrong_type": _wrong_type,
    "not_allowed": _not_allowed,
    "unexpected": _unexpected,
}


@pytest.mark.parametrize("code", PLANTS)
def test_faults_planted_in_recorded_calls_are_found(data: Path, code: str) -> None:
    """One fault planted in each call that admits it is found at its pointer with its code, and nothing else that is new."""
    planted = 0
    for tools, name, raw in _calls(data):
        arguments = copy.deepcopy(json.loads(raw))
        member = PLANTS[code](arguments, tools[name].parameters)
        if member is None:
            continue
        planted += 1
        before = check_call(ToolCall(name, parse_arguments(raw)), tools)
        found = check_call(ToolCall(name, parse_arguments(json.dumps(arguments))), tools)
        assert [(each.code, each.pointer) for each in found if each not in before] == [(code, f"/{member}")]
    assert planted > 50


def test_damaged_text_of_recorded_calls_is_found(data: Path) -> None:
    """Calls cut off before their end, and with a name that no tool has."""
    for tools, name, raw in _calls(data):
        [cut] = check_call(ToolCall(name, parse_arguments(raw[:-1])), tools)
        assert (cut.code, cut.pointer) == ("malformed_json", "")
        [unknown] = check_call(ToolCall(f"{name}_", parse_arguments(raw)), tools)
        assert unknown.code == "unknown_tool"
        assert f"`{name}`" in unknown.message
