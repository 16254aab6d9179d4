"""docs/reference/validation.md says what is so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from llmtrace.model import Code, ToolDefinition
from llmtrace.validation import compiled_schema, limits, violations
from llmtrace.validation.check_values import check_arguments
from llmtrace.validation.parse_arguments import parse_arguments

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "reference/validation.md").read_text(encoding="utf-8")
ROWS = [[cell.strip().strip("`") for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line.startswith("| `")]
CODES = [row for row in ROWS if len(row) == 5]


def test_every_code_has_a_row() -> None:
    """The table of codes lists each code once, in order, and no other."""
    assert [row[0] for row in CODES] == list(get_args(Code))


@pytest.mark.parametrize("row", [row for row in CODES if row[2]], ids=lambda row: str(row[0]))
def test_the_example_of_each_code(row: list[str]) -> None:
    """The example's arguments against its schema give that code, at that pointer, and nothing else."""
    code, _, schema, arguments, pointer = row
    [found] = check_arguments(parse_arguments(arguments), ToolDefinition("t", json.loads(schema)))
    assert (found.code, found.pointer) == (code, pointer)


def test_the_limits() -> None:
    """The limits on the page are those of the code."""
    page = " ".join(PAGE.split())
    assert f"At most {violations.MOST} violations" in page
    assert f"values {limits.MAX_DEPTH} levels deep" in page
    assert f"{compiled_schema.MAX_BYTES >> 10} KiB" in page
    assert f"{limits.MAX_VISITS:,} applied subschemas a check" in page
