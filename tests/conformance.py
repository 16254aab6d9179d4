"""Are spans what the GenAI conventions say? Checked on every span that any test makes a recorder emit (see `tests.conftest`).

Against the registry and the JSON Schemas in ``../shared/semconv``: each attribute is known there and has the type that is said
there; messages, tools and instructions fit their schema, and each part of a type that the schema knows fits
that part's own schema, although the schema itself would let it pass as a generic one. Arguments and results of tools may be
anything, as their type *any* in the registry says. ``llmtrace.*`` is ours, and has to be in
`semconv`. What a program adds itself (``span.attributes``) is its own, unless its name is in a namespace of the conventions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import jsonschema_rs

from llmtrace import semconv as sc
from llmtrace.codec import genai
from llmtrace.model import Custom, Inference, RawSpan, Span

FOLDER: Final = Path(__file__).resolve().parents[2] / "shared" / "semconv"

_SCHEMAS: Final = {
    sc.INPUT_MESSAGES: "gen-ai-input-messages.json",
    sc.OUTPUT_MESSAGES: "gen-ai-output-messages.json",
    sc.SYSTEM_INSTRUCTIONS: "gen-ai-system-instructions.json",
    sc.TOOL_DEFINITIONS: "gen-ai-tool-definitions.json",
    sc.RETRIEVAL_DOCUMENTS: "gen-ai-retrieval-documents.json",
    sc.MEMORY_RECORDS: "gen-ai-memory-records.json",
}
_PARTS_IN: Final = frozenset({sc.INPUT_MESSAGES, sc.OUTPUT_MESSAGES})

_CORE: Final = {
    sc.ERROR_TYPE: "string",
    sc.SERVER_ADDRESS: "string",
    sc.SERVER_PORT: "int",
    sc.USER_ID: "string",
    sc.EXCEPTION_TYPE: "string",
    sc.EXCEPTION_MESSAGE: "string",
    sc.EXCEPTION_STACKTRACE: "string",
    "network.transport": "string",
    "network.protocol.name": "string",
    "network.protocol.version": "string",
    "rpc.response.status_code": "string",
    "client.address": "string",
    "client.port": "int",
}
"""Of semantic conventions 1.45.0; the registry of the GenAI conventions refers to them."""

_NAMESPACES: Final = ("gen_ai.", "openai.", "mcp.", "jsonrpc.", "aws.bedrock.", "error.", "server.", "exception.")
"""Names here are the conventions' to give, whoever sets the attribute."""

_KINDS: Final[dict[str, Callable[[Any], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "double": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "string[]": lambda value: isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value),
    "any": lambda value: isinstance(value, str),  # content goes out as JSON text
}

_OWN: Final = frozenset(value for name, value in vars(sc).items() if name.isupper() and isinstance(value, str))


def read_registry(folder: Path = FOLDER) -> dict[str, Any]:
    """The registry with what its release v0.1.0 changed after the file was made (CHANGELOG.md and execute-tool.md there):
    a workflow is an agent's span and counts in an agent's metric, and failed tools have an event of their own. The operation's
    name, which "stays", is a label of that metric, since nothing else would tell the two apart."""
    registry: dict[str, Any] = json.loads((folder / "genai_attributes.json").read_text(encoding="utf-8"))
    registry["attributes"] = [one for one in registry["attributes"] if one["key"] != sc.WORKFLOW_NAME]
    registry["events"].append({"name": sc.TOOL_EXCEPTION_EVENT})
    registry["metrics"] = [one for one in registry["metrics"] if one["name"] != "gen_ai.invoke_workflow.duration"]
    agents = next(one for one in registry["metrics"] if one["name"] == sc.METRIC_INVOKE_AGENT_DURATION)
    agents["attributes"].append(sc.OPERATION_NAME)
    return registry


class Conventions:
    """The registry, read once."""

    def __init__(self, folder: Path = FOLDER) -> None:
        registry = read_registry(folder)
        self._types = {one["key"]: one["type"].replace("enum(string)", "string") for one in registry["attributes"]} | _CORE
        documents = {key: _read(folder / file) for key, file in _SCHEMAS.items()}
        self._schemas = {key: jsonschema_rs.validator_for(document) for key, document in documents.items()}
        self._parts = {
            key: {kind: jsonschema_rs.validator_for(part) for kind, part in _parts(documents[key])} for key in _PARTS_IN
        }

    def faults(self, span: Span) -> list[str]:
        """What of an emitted span is not as the conventions say; each names the attribute."""
        raw = genai.encode(span)
        theirs = {key for key in span.attributes if not key.startswith(_NAMESPACES)}
        found = [fault for key, value in raw.attributes.items() if key not in theirs for fault in self._attribute(key, value)]
        for event in raw.events:
            if event.name in (sc.EVALUATION_EVENT, sc.EXCEPTION_EVENT, sc.VIOLATION_EVENT):
                found += [fault for key, value in event.attributes.items() for fault in self._attribute(key, value)]
        return [f"{span.name!r}: {fault}" for fault in (*found, *_required(span, raw))]

    def _attribute(self, key: str, value: Any) -> Iterator[str]:
        if key.startswith("llmtrace."):
            if not _is_own(key):
                yield f"{key} is not in semconv.py"
            return
        kind = self._types.get(key)
        if kind is None:
            yield f"{key} is not in the registry"
        elif not _KINDS[kind](value):
            yield f"{key} should be {kind}, is {value!r:.80}"
        elif key in _SCHEMAS:
            yield from self._content(key, value)

    def _content(self, key: str, value: str) -> Iterator[str]:
        try:
            content = json.loads(value)
        except ValueError:
            yield f"{key} is no JSON: {value:.80}"
            return
        for error in self._schemas[key].iter_errors(content):
            yield f"{key}: {error.message:.200}"
        if key in _PARTS_IN and isinstance(content, list):
            for part in (part for message in content for part in message["parts"]):
                schema = self._parts[key].get(part["type"])
                for error in () if schema is None or _may_lack_content(part) else schema.iter_errors(part):
                    yield f"{key}: a part of type {part['type']}: {error.message:.200}"


def _read(path: Path) -> Any:
    """A schema. Where it says that a member is itself a schema of draft 7, it may be of any draft here."""
    return json.loads(
        path.read_text(encoding="utf-8"),
        object_hook=lambda one: {"type": ["object", "boolean"]} if "json-schema.org/draft-07" in one.get("$ref", "") else one,
    )


def _parts(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The kinds of parts that a schema of messages knows by their type."""
    for name, part in document["$defs"].items():
        kind = part.get("properties", {}).get("type", {}).get("const")
        if kind is not None:
            yield kind, {"$ref": f"#/$defs/{name}", "$defs": document["$defs"]}


def _may_lack_content(part: Mapping[str, Any]) -> bool:
    """Exception: outside memory, inline bytes give way to digest and size (`Blob`), which the schema has no form for."""
    return part["type"] == "blob" and "content" not in part and "digest" in part


def _is_own(key: str) -> bool:
    prefixes = (
        sc.CONTEXT_PREFIX,
        sc.FINDING_PREFIX,
        sc.VIOLATION_PREFIX,
        sc.EVALUATION_PREFIX,
        sc.ATTRIBUTE_PREFIX,
        sc.EVENT_PREFIX,
    )
    return key in _OWN or key.startswith(prefixes)


def _required(span: Span, raw: RawSpan) -> Iterator[str]:
    """What every span of an operation says, and an error with it."""
    if not isinstance(span.operation, Custom) and sc.OPERATION_NAME not in raw.attributes:
        yield f"{sc.OPERATION_NAME} is missing"
    if isinstance(span.operation, Inference):
        if not raw.attributes.get(sc.PROVIDER_NAME):
            yield f"{sc.PROVIDER_NAME} is missing"
        if span.operation.server_port is not None and span.operation.server_address is None:
            yield f"{sc.SERVER_PORT} without {sc.SERVER_ADDRESS}"
    if raw.status == "error" and sc.ERROR_TYPE not in raw.attributes:
        yield f"{sc.ERROR_TYPE} is missing"


__all__ = ["FOLDER", "Conventions", "read_registry"]
