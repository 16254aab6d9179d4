"""Where jsonschema-rs cannot be imported, or does not know a pattern, python-jsonschema checks."""

from __future__ import annotations

import json
import subprocess
import sys

from llmtrace.model import ToolDefinition
from llmtrace.validation.check_values import check_arguments
from llmtrace.validation.compiled_schema import compile_schema
from llmtrace.validation.python_engine import PythonEngine
from tests.validation.test_check_values import PLANTED, SCHEMA, VALID

PROGRAM = """
import copy, json, sys
if {blocked}:
    sys.modules["jsonschema_rs"] = None
from llmtrace.model import ToolDefinition
from llmtrace.validation import compiled_schema
from llmtrace.validation.check_values import check_arguments
from tests.validation.test_check_values import PLANTED, SCHEMA, VALID
assert (compiled_schema.load_rust_engine() is None) is {blocked}
tool = ToolDefinition("refund", SCHEMA, cache={{}})
assert check_arguments(VALID, tool) == ()
for mutate, *_ in PLANTED:
    arguments = copy.deepcopy(VALID)
    mutate(arguments)
    print([(v.code, v.pointer, v.keyword, v.severity, v.message, v.expected, v.got) for v in check_arguments(arguments, tool)])
"""


def _output(blocked: bool) -> str:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(blocked=blocked)], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_violations_are_the_same_to_the_letter() -> None:
    """For every planted fault: code, pointer, keyword, severity, message, expected, got."""
    lines = _output(blocked=False).splitlines()
    assert len(lines) == len(PLANTED)
    assert _output(blocked=True).splitlines() == lines


def test_a_pattern_of_python_alone() -> None:
    """A pattern that ECMA 262 does not know is checked if it can be in linear time; else that is said, and only that."""
    known = ToolDefinition("t", {"properties": {"a": {"pattern": r"^\d+\Z"}, "n": {"type": "integer"}}}, cache={})
    assert isinstance(compile_schema(known.parameters)._written, PythonEngine)
    assert check_arguments({"a": "12"}, known) == ()
    assert [each.code for each in check_arguments({"a": "x", "n": "1"}, known)] == ["wrong_type", "bad_format"]
    unknown = ToolDefinition("t", {"properties": {"a": {"pattern": r"(?a:x)(?=x)"}, "n": {"type": "integer"}}})
    found = check_arguments({"a": "x", "n": "1"}, unknown)
    assert [(each.code, each.severity, each.pointer) for each in found] == [
        ("wrong_type", "error", "/n"),
        ("schema", "warning", "/a"),
    ]


def test_the_fallback_is_not_imported_for_ordinary_schemas() -> None:
    """Checking calls does not import jsonschema, which takes 100 ms."""
    program = (
        "import json, sys\n"
        "from llmtrace.model import ToolDefinition\n"
        "from llmtrace.validation.check_values import check_arguments\n"
        "check_arguments({'a': 1}, ToolDefinition('t', json.loads(sys.argv[1])))\n"
        "check_arguments({'a': 1}, ToolDefinition('t', {'type': 'strin'}))\n"
        "assert 'jsonschema' not in sys.modules\n"
    )
    run = subprocess.run([sys.executable, "-c", program, json.dumps(SCHEMA)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_draft_4_and_draft_7_schemas_without_a_dialect() -> None:
    """A schema that says no draft and is not one of 2020-12 is read as the older draft that it is of."""
    for engine_schema, wrong in (
        ({"properties": {"a": {"items": [{"type": "string"}, {"type": "integer"}]}}}, {"a": ["x", "y"]}),
        ({"properties": {"a": {"minimum": 1, "exclusiveMinimum": True}}}, {"a": 1}),
    ):
        found = check_arguments(wrong, ToolDefinition("t", engine_schema))
        assert [each.severity for each in found] == ["error"]
    assert VALID
