"""Agreement with python-jsonschema on schemas of real tools and protocols (MaskBench), as written, formats not asserted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import jsonschema_specifications
import pytest
from jsonschema.validators import validator_for

from llmtrace.validation.compiled_schema import compile_schema
from llmtrace.validation.json_pointers import pointer

FILES = ("BFCL", "Github_trivial", "Glaiveai2K", "Handwritten", "JME", "MCPspec", "Snowplow", "Synthesized")


def _cases(data: Path, name: str) -> Iterator[dict[str, Any]]:
    file = data / "maskbench" / f"{name}.jsonl"
    if not file.is_file():
        pytest.skip("MaskBench is absent: github.com/guidance-ai/jsonschemabench")
    with file.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


@pytest.mark.parametrize("name", FILES)
def test_verdicts_agree(data: Path, name: str) -> None:
    """No schema is refused, and every instance is judged as python-jsonschema judges it: there is no disagreement."""
    disagreements = []
    for case in _cases(data, name):
        compiled = compile_schema(case["schema"])
        assert compiled.problem == "", case["id"]
        draft = validator_for(case["schema"], default=jsonschema.Draft202012Validator)
        oracle = draft(case["schema"], registry=jsonschema_specifications.REGISTRY)
        for test in case["tests"]:
            written, _, problem = compiled.faults(test["data"])
            if problem or bool(written) is oracle.is_valid(test["data"]):
                disagreements.append((case["id"], test["valid"], problem, written))
    assert disagreements == []


@pytest.mark.parametrize("name", FILES)
def test_pointers_lead_to_what_they_name(data: Path, name: str) -> None:
    """Where both find a type, range or length fault, they find it at the same places."""
    simple = {"type", "minimum", "maximum", "minLength", "maxLength", "pattern", "minItems", "maxItems"}
    for case in _cases(data, name):
        compiled = compile_schema(case["schema"])
        draft = validator_for(case["schema"], default=jsonschema.Draft202012Validator)
        oracle = draft(case["schema"], registry=jsonschema_specifications.REGISTRY)
        for test in case["tests"]:
            ours = {
                (pointer(fault.path), fault.keyword) for fault in compiled.faults(test["data"])[0] if fault.keyword in simple
            }
            theirs = {
                (pointer(e.absolute_path), e.validator) for e in oracle.iter_errors(test["data"]) if e.validator in simple
            }
            assert ours == theirs, case["id"]
