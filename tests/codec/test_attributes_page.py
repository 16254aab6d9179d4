"""The pages of attributes name what is written, and nothing else; the names are the conventions' where they say so."""

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
from tests.documentation import generated

ROOT = Path(__file__).resolve().parent.parent.parent
SCHEMAS = ROOT.parent / "shared" / "semconv"

NOT_WRITTEN = {
    sc.USAGE_CACHE_CREATION,
    sc.OTEL_STATUS_CODE,
    sc.OTEL_STATUS_DESCRIPTION,
    sc.GENERIC_PART,
}
"""Read only, a member of a message part, or a name that stands in a `Span` only. The page has them in its prose."""


def page() -> str:
    return generated()["reference/attributes.md"]


def rows() -> set[str]:
    """The names that have a row."""
    found = re.findall(r"^\| `([^`]+)` \| [^|]+ \| .* \|$", page(), re.MULTILINE)
    assert len(set(found)) == len(found), "a name stands twice"
    return set(found)


def names() -> set[str]:
    """Every attribute and event name of semconv.py."""
    constants = {name: held for name, held in vars(sc).items() if name.isupper() and isinstance(held, str)}
    apart = {*operations.BY_NAME, sc.CREATE_AGENT, sc.SCOPE_NAME, *NOT_WRITTEN}
    found = {
        held
        for name, held in constants.items()
        if held not in apart and not name.startswith("METRIC_") and not name.endswith("_PREFIX")
    }
    found |= {sc.REQUEST_PREFIX + name for name in sc.REQUEST_PARAMETERS}
    found |= {prefix + "<name>" for prefix in (sc.CONTEXT_PREFIX, sc.FINDING_PREFIX, sc.ATTRIBUTE_PREFIX, sc.EVENT_PREFIX)}
    found |= {sc.VIOLATION_PREFIX + field for field in Violation.__slots__}  # type: ignore[attr-defined]
    own = set(Evaluation.__slots__) - {"name", "score", "label", "explanation"}  # type: ignore[attr-defined]
    return found | {sc.EVALUATION_PREFIX + field for field in own}


def test_the_page_and_the_names_agree() -> None:
    """Each name of semconv.py has a row, each row a name of semconv.py."""
    assert rows() == names()
    assert all(name in page() for name in NOT_WRITTEN)


@given(some.spans())
@settings(deadline=None)
def test_nothing_is_written_that_the_page_does_not_name(span: Span) -> None:
    """Every attribute and event of an encoded span is the user's or on the page."""
    known = rows()
    span_events = {event.name for event in span.events}
    users = {*span.attributes, *(sc.ATTRIBUTE_PREFIX + name for name in span.attributes)}
    findings = {name for name in genai.attributes(span) if name.startswith(sc.FINDING_PREFIX)}
    assert set(genai.attributes(span)) - users - findings <= known
    for event in genai.events(span)[len(span.events) :]:
        assert {event.name, *event.attributes} <= known
    assert {event.name for event in genai.events(span)} <= span_events | known | {
        sc.EVENT_PREFIX + name for name in span_events
    }


# -- against the conventions' own files, where they are


def conventions(name: str) -> Any:
    file = SCHEMAS / name
    if not file.is_file():
        pytest.skip(f"the conventions' {name} is absent")
    return json.loads(file.read_text(encoding="utf-8"))


def test_names_are_the_conventions() -> None:
    """Every gen_ai.* and openai.* attribute on the pages is one that stands, not a deprecated one."""
    stands = {each["key"] for each in conventions("genai_attributes.json")["attributes"] if each["status"] == "main"}
    events = {each["name"] for each in conventions("genai_attributes.json")["events"]}
    ours = {name for name in rows() if name.startswith(("gen_ai.", "openai."))}
    assert ours <= stands | events


def check(schema: Any, value: JsonValue) -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator(schema).validate(value)


@given(some.inferences())
@settings(deadline=None, max_examples=50)
def test_content_has_the_conventions_shapes(inference: Inference) -> None:
    """Messages, instructions and tool definitions validate against the conventions' JSON schemas, whatever is in them."""
    check(conventions("gen-ai-input-messages.json"), json_text.read(messages.write_messages(inference.input)))
    check(conventions("gen-ai-output-messages.json"), json_text.read(messages.write_messages(inference.output)))
    check(conventions("gen-ai-system-instructions.json"), json_text.read(messages.write_parts(inference.system)))
    check(conventions("gen-ai-tool-definitions.json"), json_text.read(messages.write_definitions(inference.tools)))
