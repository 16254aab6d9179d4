"""Tool executions and request parameters as attributes."""

from __future__ import annotations

from typing import Any

import pytest

from llmtrace import semconv as sc
from llmtrace.codec import genai
from llmtrace.model import Custom, Inference, RawSpan, Span, ToolDefinition, ToolExecution, replace

SPAN = Span("0" * 31 + "1", "0" * 15 + "1", "a", 1, 2, run_id="f" * 32)


def attributes(operation: Any) -> dict[str, Any]:
    return genai.attributes(replace(SPAN, operation=operation))


def read(key: str, value: Any) -> Any:
    raw = RawSpan("1" * 32, "2" * 16, "", 1, 2, attributes={sc.OPERATION_NAME: "execute_tool", key: value})
    return genai.decode(raw).operation


@pytest.mark.parametrize(
    ("value", "text", "arguments_form", "result_form"),
    [
        ({"a": 1}, '{"a":1}', None, None),
        ({"value": 1}, '{"value":1}', None, None),
        ({}, "{}", None, None),
        ([1], "[1]", "json", None),
        ("plain words", "plain words", None, None),
        ("42", "42", None, None),
        ('{"a": 1', '{"a": 1', "text", "text"),
        ('{"a": 1}', '{"a": 1}', "text", "text"),
        (" [1]", " [1]", "text", "text"),
        (0, "0", "json", "json"),
        (True, "true", "json", "json"),
    ],
)
def test_a_text_is_written_unchanged_and_any_other_value_as_json(
    value: Any, text: str, arguments_form: str | None, result_form: str | None
) -> None:
    """A second attribute is written if the text alone would be read as another value."""
    operation = ToolExecution("f", value, value, has_result=True)
    encoded = attributes(operation)
    assert encoded[sc.TOOL_CALL_ARGUMENTS] == encoded[sc.TOOL_CALL_RESULT] == text
    assert (encoded.get(sc.TOOL_ARGUMENTS_FORM), encoded.get(sc.TOOL_RESULT_FORM)) == (arguments_form, result_form)
    assert genai.decode(genai.encode(replace(SPAN, operation=operation))).operation == operation


def test_null_and_nothing_differ() -> None:
    """A null result is the text null. Without a result there is no attribute."""
    operation = ToolExecution("f", has_result=True)
    assert attributes(operation)[sc.TOOL_CALL_RESULT] == "null"
    assert genai.decode(genai.encode(replace(SPAN, operation=operation))).operation == operation
    assert sc.TOOL_CALL_RESULT not in attributes(ToolExecution("f"))
    assert attributes(Custom(has_result=True))[sc.OPERATION_RESULT] == "null"
    assert sc.OPERATION_RESULT not in attributes(Custom())


@pytest.mark.parametrize(
    ("written", "result"),
    [
        ('{"value": 1}', {"value": 1}),
        ("[1]", [1]),
        ("42", "42"),
        ("plain words", "plain words"),
        ({"a": 1}, {"a": 1}),
        (False, False),
    ],
)
def test_another_writers_result_is_parsed_if_it_is_an_object_or_a_list(written: Any, result: Any) -> None:
    """Any other text stays text; a structured value is the result itself."""
    assert read(sc.TOOL_CALL_RESULT, written) == ToolExecution("", result=result, has_result=True)


@pytest.mark.parametrize("text", ["[1]", "words", '{"a": 1, "a": 2}', "5"])
def test_another_writers_arguments_stay_text_unless_they_are_an_object(text: str) -> None:
    """The model wrote the text, so reading does not repair it."""
    assert read(sc.TOOL_CALL_ARGUMENTS, text) == ToolExecution("", text)


def test_the_definition_is_written_completely() -> None:
    """It is a list with one item, so that the arguments can be checked again. The description is also an attribute."""
    definition = ToolDefinition("f", {"type": "object"}, "Does it.", strict=True, output={"type": "string"})
    encoded = attributes(ToolExecution("f", definition=definition))
    assert encoded[sc.TOOL_DEFINITIONS] == (
        '[{"type":"function","name":"f","description":"Does it.","parameters":{"type":"object"},"strict":true,'
        '"output":{"type":"string"}}]'
    )
    assert encoded[sc.TOOL_DESCRIPTION] == "Does it."


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("temperature", 1, 1.0),
        ("temperature", {"a": 1}, None),
        ("temperature", True, None),
        ("temperature", 10**400, None),
        ("max_tokens", 5, 5),
        ("max_tokens", 5.0, None),
        ("seed", 1 << 63, None),
        ("stop_sequences", ["a"], ["a"]),
        ("stop_sequences", "a", None),
        ("reasoning.level", "high", "high"),
        ("tool_choice", "auto", None),
    ],
)
def test_a_parameter_of_the_wrong_type_goes_to_the_others(name: str, value: Any, written: Any) -> None:
    """Attributes of the conventions have the types of the conventions, and nothing is lost."""
    operation = Inference("p", parameters={name: value})
    encoded = attributes(operation)
    assert encoded.get(sc.REQUEST_PREFIX + name) == written
    assert (sc.REQUEST_OTHER in encoded) is (written is None)
    assert genai.decode(genai.encode(replace(SPAN, operation=operation))).operation == operation


@pytest.mark.parametrize(
    ("parameters", "output"),
    [
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "json"),
        ({"text": {"format": {"type": "json_object"}}}, "json"),
        ({"response_format": {"type": "text"}}, "text"),
        ({"response_format": "odd", "text": 5}, None),
        ({}, None),
    ],
)
def test_the_output_type_is_derived(parameters: dict[str, Any], output: str | None) -> None:
    """gen_ai.output.type comes from the response format, and is not an attribute after reading."""
    span = replace(SPAN, operation=Inference("p", parameters=parameters))
    assert genai.attributes(span).get(sc.OUTPUT_TYPE) == output
    assert genai.decode(genai.encode(span)) == span
