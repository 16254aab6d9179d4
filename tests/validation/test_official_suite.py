"""The official JSON Schema test suite: the required tests of drafts 7 and 2020-12, against the verdict as written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmtrace.validation.compiled_schema import close, compile_engine, compile_schema
from llmtrace.validation.limits import MAX_VISITS

DRAFTS = {
    "draft7": "http://json-schema.org/draft-07/schema#",
    "draft2020-12": "https://json-schema.org/draft/2020-12/schema",
}

# What differs, all of it. Nothing is fetched: a schema that refers to another document is not used, and that is said.
REFERS_ELSEWHERE = {
    ("draft2020-12", "dynamicRef.json"): {
        "strict-tree schema, guards against misspelled properties",
        "tests for implementation dynamic anchor and reference link",
        "$ref and $dynamicAnchor are independent of order - $defs first",
        "$ref and $dynamicAnchor are independent of order - $ref first",
        "$ref to $dynamicRef finds detached $dynamicAnchor",
    },
}
# A dialect of the schema's own, whose rules would have to be fetched: it is read as 2020-12, so `minimum` counts.
OWN_DIALECT = ("draft2020-12", "vocabulary.json", "schema that uses custom metaschema with with no validation vocabulary")


def _cases(data: Path, draft: str) -> Iterator[tuple[str, str, Any, list[dict[str, Any]]]]:
    folder = data / "json_schema_test_suite" / "tests" / draft
    if not folder.is_dir():
        pytest.skip("the official suite is absent: github.com/json-schema-org/JSON-Schema-Test-Suite")
    for file in sorted(folder.glob("*.json")):
        for case in json.loads(file.read_text(encoding="utf-8")):
            schema = case["schema"]
            if isinstance(schema, dict):
                schema = {"$schema": DRAFTS[draft], **schema}
            yield file.name, case["description"], schema, case["tests"]


def _refers_elsewhere(draft: str, file: str, description: str) -> bool:
    return file == "refRemote.json" or description in REFERS_ELSEWHERE.get((draft, file), ())


@pytest.mark.parametrize(("draft", "least"), [("draft7", 900), ("draft2020-12", 1200)])
def test_every_required_test_passes(data: Path, draft: str, least: int) -> None:
    """Every instance is judged as the suite says, but for the differences listed above."""
    wrong, passed = [], 0
    for file, description, schema, tests in _cases(data, draft):
        compiled = compile_schema(schema)
        for test in tests:
            written, _, problem = compiled.faults(test["data"])
            if _refers_elsewhere(draft, file, description) and problem:
                assert "another document" in problem
            elif (draft, file, description) != OWN_DIALECT and (problem or (not written) is not test["valid"]):
                wrong.append((file, description, test["description"], problem))
            else:
                passed += 1
    assert wrong == []
    assert passed > least


@pytest.mark.parametrize("draft", DRAFTS)
def test_remote_references_alone_are_refused(data: Path, draft: str) -> None:
    """No schema of the suite is refused but those that refer to another document."""
    refused = {
        (file, description)
        for file, description, schema, _ in _cases(data, draft)
        if compile_schema(schema).problem and not _refers_elsewhere(draft, file, description)
    }
    assert refused == set()


@pytest.mark.parametrize("draft", DRAFTS)
def test_the_closed_form_only_narrows(data: Path, draft: str) -> None:
    """What the closed form of a schema takes, the schema itself takes."""
    narrower = 0
    for file, description, schema, tests in _cases(data, draft):
        closed = close(schema)
        if closed is schema or _refers_elsewhere(draft, file, description):
            continue
        written, visits = compile_engine(schema, formats=False)
        assert visits == MAX_VISITS
        narrowed, _ = compile_engine(closed, formats=False)
        for test in tests:
            assert written.is_valid(test["data"]) or not narrowed.is_valid(test["data"]), (file, description)
            narrower += 1
    assert narrower > 50


@pytest.mark.parametrize("draft", DRAFTS)
def test_the_fast_answer_is_the_full_answer(data: Path, draft: str) -> None:
    """A value passes exactly if it has no fault, against the schema as written and its closed form."""
    for file, description, schema, tests in _cases(data, draft):
        compiled = compile_schema(schema)
        for test in tests:
            written, closed, problem = compiled.faults(test["data"])
            assert compiled.passes(test["data"]) is not bool(written or closed or problem), (file, description)
