"""What vLLM was told to hold an answer to: a JSON Schema, one of some texts, or a regular expression.

By ``structured_outputs`` (the ``extra_body`` of a request, or ``SamplingParams``), and by the ``guided_*`` of older servers. A
grammar and a structural tag are not read: nothing is said of them. Law: a text is judged by the same checks as JSON is.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic_core import from_json, to_json

from llmtrace.model import JsonValue, Violation
from llmtrace.validation.check_values import check_output

CONSTRAINTS = ("structured_outputs", "guided_json", "guided_choice", "guided_regex")
"""Parameters of a request that hold an answer to something."""


def check_structured(text: str, parameters: Mapping[str, JsonValue]) -> tuple[Violation, ...]:
    """What is wrong with an answer, given what the request held it to; empty where nothing is, or where it is free."""
    asked = _asked(parameters)
    if not asked:
        return ()
    schema = _schema(asked)
    if schema is not None:
        return check_output(text, schema)
    held = _of_text(asked)
    if held is None:
        return ()
    try:
        return check_output(to_json(text).decode(), held)
    except ValueError:  # half a surrogate pair
        return ()


def _asked(parameters: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    given = parameters.get("structured_outputs")
    if isinstance(given, Mapping):
        return given
    return {name.removeprefix("guided_"): parameters[name] for name in CONSTRAINTS[1:] if name in parameters}


def _schema(asked: Mapping[str, JsonValue]) -> JsonValue | None:
    schema = asked.get("json")
    if isinstance(schema, str):
        try:
            schema = from_json(schema)
        except (TypeError, ValueError):  # TypeError: half a surrogate pair as it is
            return None
    if isinstance(schema, Mapping):
        return dict(schema)
    return {"type": "object"} if asked.get("json_object") else None


def _of_text(asked: Mapping[str, JsonValue]) -> JsonValue | None:
    choice, regex = asked.get("choice"), asked.get("regex")
    if isinstance(choice, (list, tuple)) and choice:
        return {"enum": list(choice)}
    return {"pattern": rf"^(?:{regex})$"} if isinstance(regex, str) and regex else None
