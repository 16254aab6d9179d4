"""Checks an answer against the constraint that a request gave vLLM: a JSON Schema, a choice of texts, or a pattern.

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
    """Check an answer against the request's constraint. Returns no violations if it is valid or not constrained."""
    constraints = _constraints(parameters)
    if not constraints:
        return ()
    schema = _schema(constraints)
    if schema is not None:
        return check_output(text, schema)
    text_schema = _of_text(constraints)
    if text_schema is None:
        return ()
    try:
        return check_output(to_json(text).decode(), text_schema)
    except ValueError:  # half a surrogate pair
        return ()


def _constraints(parameters: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    structured = parameters.get("structured_outputs")
    if isinstance(structured, Mapping):
        return structured
    return {name.removeprefix("guided_"): parameters[name] for name in CONSTRAINTS[1:] if name in parameters}


def _schema(constraints: Mapping[str, JsonValue]) -> JsonValue | None:
    schema = constraints.get("json")
    if isinstance(schema, str):
        try:
            schema = from_json(schema)
        except (TypeError, ValueError):  # TypeError: half a surrogate pair as it is
            return None
    if isinstance(schema, Mapping):
        return dict(schema)
    return {"type": "object"} if constraints.get("json_object") else None


def _of_text(constraints: Mapping[str, JsonValue]) -> JsonValue | None:
    choice, regex = constraints.get("choice"), constraints.get("regex")
    if isinstance(choice, (list, tuple)) and choice:
        return {"enum": list(choice)}
    return {"pattern": rf"^(?:{regex})$"} if isinstance(regex, str) and regex else None
