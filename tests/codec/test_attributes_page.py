"""The page of attributes lists exactly what is written, and its gen_ai names are those of the conventions."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from llmtrace import semconv as sc
from llmtrace.codec import genai, json_text, messages, operations
from llmtrace.model import Evaluation, Inference, JsonValue, Span, Violation
from tests import strategies as some
from tests.conformance import FOLDER, read_registry
from tests.documentation import generated

ROOT = Path(__file__).resolve().parent.parent.parent
SCHEMAS = ROOT.parent / "shared" / "semconv"

NOT_WRITTEN = {
    sc.USAGE_CACHE_CREATION,
    sc.WORKFLOW_NAME,
    sc.OTEL_STATUS_CODE,
    sc.OTEL_STATUS_DESCRIPTION,
    sc.GENERIC_PART,
}
"""Only read, a member of a message part, or only in a `Span`. The page mentions them in its text."""


def page() -> str:
    return generated()["reference/attributes.md"]


def rows() -> set[str]:
    """Return the names with a row in the table."""
    row_names = re.findall(r"^\| `([^`]+)` \| [^|]+ \| .* \|$", page(), re.MULTILINE)
    assert len(set(row_names)) == len(row_names), "a name has two rows"
    return set(row_names)


def names() -> set[str]:
    """Return every attribute and event name of semconv.py."""
    constants = {name: value for name, value in vars(sc).items() if name.isupper() and isinstance(value, str)}
    excluded = {*operations.BY_NAME, sc.CREATE_AGENT, sc.SCOPE_NAME, *NOT_WRITTEN}
    result = {
        value
        for name, value in constants.items()
        if value not in excluded and not name.startswith("METRIC_") and not name.endswith("_PREFIX")
    }
    result |= {sc.REQUEST_PREFIX + name for name in sc.REQUEST_PARAMETERS}
    result |= {prefix + "<name>" for prefix in (sc.CONTEXT_PREFIX, sc.FINDING_PREFIX, sc.ATTRIBUTE_PREFIX, sc.EVENT_PREFIX)}
    result |= {sc.VIOLATION_PREFIX + field for field in Violation.__slots__}  # type: ignore[attr-defined]
    evaluation_fields = set(Evaluation.__slots__) - {"name", "score", "label", "explanation"}  # type: ignore[attr-defined]
    return result | {sc.EVALUATION_PREFIX + field for field in evaluation_fields}


def test_the_page_and_the_names_agree() -> None:
    """Each name of semconv.py has a row, and each row is a name of semconv.py."""
    assert rows() == names()
    assert all(name in page() for name in NOT_WRITTEN)


@given(some.spans())
@settings(deadline=None)
def test_the_page_lists_everything_that_is_written(span: Span) -> None:
    """Every attribute and event of an encoded span is the user's own or on the page."""
    documented = rows()
    span_events = {event.name for event in span.events}
    users = {*span.attributes, *(sc.ATTRIBUTE_PREFIX + name for name in span.attributes)}
    findings = {name for name in genai.attributes(span) if name.startswith(sc.FINDING_PREFIX)}
    assert set(genai.attributes(span)) - users - findings <= documented
    for event in genai.events(span)[len(span.events) :]:
        assert {event.name, *event.attributes} <= documented
    assert {event.name for event in genai.events(span)} <= span_events | documented | {
        sc.EVENT_PREFIX + name for name in span_events
    }


# -- against the files of the conventions, if they are present


def conventions(name: str) -> Any:
    file = SCHEMAS / name
    if not file.is_file():
        pytest.skip(f"the conventions' {name} is absent")
    return json.loads(file.read_text(encoding="utf-8"))


def test_names_are_the_conventions() -> None:
    """Every gen_ai.* and openai.* attribute on the page is in the conventions and not deprecated."""
    if not FOLDER.is_dir():
        pytest.skip("the conventions are absent")
    registry = read_registry()
    current = {entry["key"] for entry in registry["attributes"] if entry["status"] == "main"}
    events = {entry["name"] for entry in registry["events"]}
    ours = {name for name in rows() if name.startswith(("gen_ai.", "openai."))}
    assert ours <= current | events


def check(schema: Any, value: JsonValue) -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator(schema).validate(value)


@given(some.inferences())
@settings(deadline=None, max_examples=50)
def test_content_has_the_conventions_shapes(inference: Inference) -> None:
    """Messages, instructions and tool definitions match the JSON schemas of the conventions, whatever their content."""
    check(conventions("gen-ai-input-messages.json"), json_text.read(messages.write_messages(inference.input)))
    check(conventions("gen-ai-output-messages.json"), json_text.read(messages.write_messages(inference.output)))
    check(conventions("gen-ai-system-instructions.json"), json_text.read(messages.write_parts(inference.system)))
    check(conventions("gen-ai-tool-definitions.json"), json_text.read(messages.write_definitions(inference.tools)))
