"""Input and output of a model: messages, their parts, and the offered tools.

The shapes follow the OpenTelemetry GenAI message schemas: a message has a role and parts. A part of an unknown type is kept
whole as `Generic`, so nothing is lost on reading.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any, TypeAlias, Union

from llmtrace.model.value import value

JsonValue: TypeAlias = Any
"""None, bool, int, float, str, list of JsonValue, dict of str to JsonValue. Spelt ``Any``: checkers choke on the recursion."""


@value
class Text:
    content: str


@value
class Reasoning:
    content: str


@value
class ToolCall:
    """A call that the model requested. It may never run; see `operations.ToolExecution`.

    ``arguments`` is a dict when the model's text was one JSON object; otherwise it is that raw text, unrepaired.
    """

    name: str
    arguments: JsonValue = None
    id: str | None = None


@value
class ToolResult:
    """A tool's result as the model received it. ``id``: the id of the call."""

    response: JsonValue
    id: str | None = None


@value
class Blob:
    """Inline bytes (image, audio, file). ``content`` is base64; outside memory it is replaced by digest and size."""

    modality: str
    mime_type: str | None = None
    content: str | None = None
    digest: str | None = None
    """``sha256:<hex>`` of the decoded bytes, once ``content`` was removed."""
    size: int | None = None
    """Decoded size in bytes, once ``content`` was removed."""


@value
class Uri:
    uri: str
    modality: str
    mime_type: str | None = None


@value
class File:
    """A file stored by the provider, by its id. Its content is not visible to llmtrace."""

    file_id: str
    modality: str
    mime_type: str | None = None


@value
class ServerToolCall:
    """A call of a tool that the provider runs itself (web search, code interpreter …)."""

    name: str
    server_tool_call: Mapping[str, JsonValue]
    id: str | None = None


@value
class ServerToolResult:
    server_tool_call_response: Mapping[str, JsonValue]
    id: str | None = None


@value
class Compaction:
    """A mark that earlier context was replaced by a summary."""

    content: str | None = None
    id: str | None = None


@value
class Generic:
    """A part of an unknown type, with all its fields except ``type``."""

    type: str
    fields: Mapping[str, JsonValue]


Part: TypeAlias = Union[
    Text, Reasoning, ToolCall, ToolResult, Blob, Uri, File, ServerToolCall, ServerToolResult, Compaction, Generic
]


_DATA = re.compile(r'\s*(?:\{\s*"|\[\s*[{"]|[A-Za-z_]\w*\(\w+=)')
"""The beginning of JSON, or of a Python object's repr."""


def reads_as_data(text: str) -> bool:
    """Return True for JSON and for a Python object's repr, whole or cut: text that is not meant for a person."""
    return _DATA.match(text) is not None


def refusal_as_text(part: Part) -> Part:
    """Return a refusal, which providers separate from text, as a text part; any other part unchanged."""
    if isinstance(part, Generic) and part.type == "refusal" and len(part.fields) == 1:
        (words,) = part.fields.values()
        return Text(words) if isinstance(words, str) else part
    return part


@value
class Message:
    role: str
    """system, developer, user, assistant, tool, or the provider's own role."""
    parts: tuple[Part, ...]
    name: str | None = None
    finish_reason: str | None = None
    cache: dict[Any, Any] | None = field(default=None, compare=False, repr=False)
    """Forms derived from this message, by their maker (a redactor, an encoder). Not part of the value."""

    def text(self) -> str:
        """The text parts, joined by newlines."""
        first: str | None = None
        for part in self.parts:
            if type(part) is Text:
                if first is not None:  # as few have
                    return "\n".join([part.content for part in self.parts if type(part) is Text])
                first = part.content
        return first or ""

    def visible_text(self) -> str:
        """The text parts and refusals, joined by newlines."""
        return "\n".join(part.content for part in map(refusal_as_text, self.parts) if isinstance(part, Text))

    def tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple([part for part in self.parts if isinstance(part, ToolCall)])


@value
class ToolDefinition:
    """An offered tool. ``parameters`` and ``output`` are JSON Schemas, or None without one."""

    name: str
    parameters: JsonValue = None
    description: str | None = None
    type: str = "function"
    strict: bool = False
    """True: the schema counts in its closed form, and formats are asserted; what would be a warning is an error."""
    output: JsonValue = None
    cache: dict[Any, Any] | None = field(default=None, compare=False, repr=False)
    """Forms derived from this definition (its compiled validator, its encoding). Not part of the value."""
    changes: bool | None = None
    """True if each call changes something outside the program, so that the same call twice does it twice; None: unknown."""
    polls: bool = False
    """True if the tool is meant to be called again with the same arguments until its report changes."""
    trusted: bool | None = None
    """Who may have written its results. True: only whom the program trusts, so that every value in them is trusted. False:
    anybody, so that not even a whole field is. None: whole fields of a structured result are trusted, and texts are not."""


def trusted_by_hints(annotations: JsonValue) -> bool | None:
    """Return `ToolDefinition.trusted` from an MCP tool's annotations. They can lower the trust only: the server wrote them."""
    return False if isinstance(annotations, Mapping) and annotations.get("openWorldHint") is True else None


def changes_by_hints(annotations: JsonValue) -> bool | None:
    """Return `ToolDefinition.changes` from an MCP tool's annotations; None if they do not say it.

    An idempotent tool changes nothing more when it is called again.
    """
    if not isinstance(annotations, Mapping):
        return None
    if annotations.get("readOnlyHint") is True or annotations.get("idempotentHint") is True:
        return False
    return True if annotations.get("readOnlyHint") is False or annotations.get("destructiveHint") is True else None
