"""Derives the schema of a function's recorded result from its return annotation.

Law: never raises. The schema accepts the recorded snapshot of every value that fits the annotation: a named tuple may be an
object of its fields, a time needs no zone, flags combine, and a subclass may have more fields.
"""

from __future__ import annotations

import dataclasses
import enum
import typing
from collections import abc
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from llmtrace.model import JsonValue
from llmtrace.validation.annotations import adapt_annotation
from llmtrace.validation.keywords import every_object
from llmtrace.validation.parameters import MISSING

_AWAITABLE = (abc.Awaitable, abc.Coroutine)
_STREAMS = (*(abc.Iterator, abc.Iterable, abc.Generator), *(abc.AsyncIterator, abc.AsyncIterable, abc.AsyncGenerator))
_NOTHING = (MISSING, None, type(None), Any, object, typing.NoReturn)


def result_schema(annotation: Any) -> JsonValue | None:
    """Return the schema for a return annotation; None if the annotation does not restrict a JSON value."""
    if typing.get_origin(annotation) in _AWAITABLE and typing.get_args(annotation):
        annotation = typing.get_args(annotation)[-1]
    if any(annotation is nothing for nothing in _NOTHING) or typing.get_origin(annotation) in _STREAMS:
        return None
    try:
        adapter = TypeAdapter(adapt_annotation(annotation))
        schema = adapter.json_schema(mode="serialization", by_alias=False, schema_generator=_SnapshotSchema)
    except Exception:
        return None
    _release_computed(schema)
    return schema or None


class _SnapshotSchema(GenerateJsonSchema):
    """pydantic's schemas, adapted to types for which a recorded snapshot differs from pydantic's own serialization."""

    def model_schema(self, schema: Any) -> dict[str, Any]:
        hidden = {name for name, field in schema["cls"].__pydantic_fields__.items() if not field.repr}
        return _open(super().model_schema(schema), hidden)

    def dataclass_schema(self, schema: Any) -> dict[str, Any]:
        hidden = {field.name for field in dataclasses.fields(schema["cls"]) if not field.repr}
        return _open(super().dataclass_schema(schema), hidden)

    def enum_schema(self, schema: Any) -> dict[str, Any]:
        described = super().enum_schema(schema)
        if issubclass(schema["cls"], enum.Flag):
            described.pop("enum")
        return described

    def ser_schema(self, schema: Any) -> dict[str, Any] | None:
        """Ignore serializers that the program defines: a snapshot does not call them."""
        return None if schema["type"] in ("function-plain", "function-wrap") else super().ser_schema(schema)

    def datetime_schema(self, schema: Any) -> dict[str, Any]:  # noqa: ARG002 (pydantic's signature)
        return {"type": "string"}

    def time_schema(self, schema: Any) -> dict[str, Any]:
        return self.datetime_schema(schema)

    def timedelta_schema(self, schema: Any) -> dict[str, Any]:
        return self.datetime_schema(schema)

    def named_tuple_schema(self, schema: Any) -> dict[str, Any]:
        return _by_name(super().named_tuple_schema(schema), [field["name"] for field in schema["fields"]])

    def call_schema(self, schema: Any) -> dict[str, Any]:  # earlier versions of pydantic use this for a named tuple
        fields = schema["arguments_schema"]["arguments_schema"]
        return _by_name(super().call_schema(schema), [field["name"] for field in fields])


def _open(schema: dict[str, Any], hidden: set[str]) -> dict[str, Any]:
    """Allow members that a subclass adds, and do not require members that ``repr`` hides, which are not recorded."""
    if schema.get("additionalProperties") is False:
        del schema["additionalProperties"]
    if hidden and "required" in schema:
        schema["required"] = [name for name in schema["required"] if name not in hidden]
    return schema


def _by_name(schema: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Also allow a named tuple as an object of its fields."""
    if schema.get("type") != "array":
        return schema
    fields = dict(zip(names, schema.get("prefixItems", ()), strict=False))
    return {**schema, "type": ["array", "object"], "properties": fields, "required": names}


def _release_computed(schema: JsonValue) -> None:
    """Make computed fields optional: pydantic's dump contains them, but a recorded snapshot does not."""
    for node in every_object(schema):
        properties, required = node.get("properties"), node.get("required")
        if isinstance(properties, dict) and isinstance(required, list):
            read_only = {name for name, member in properties.items() if isinstance(member, dict) and member.get("readOnly")}
            node["required"] = [name for name in required if name not in read_only]
