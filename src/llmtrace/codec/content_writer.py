"""How content and names become the values of attributes.

`codec` writes every field that may hold content through a `ContentWriter`. This one writes it unchanged, for spans that are
clean already. `llmtrace.content` has one that redacts and cuts while it writes, so that writing a span is cleaning it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmtrace.codec import json_text, messages
from llmtrace.model import JsonValue, Message, Part, Recorded, Span, ToolDefinition


class ContentWriter:
    """Writes the content of one span, unchanged."""

    def name(self, name: str) -> str:
        """A name that the program or a server chose: of a model, a span, an agent."""
        return name

    def span_name(self, span: Span) -> str:
        """The name of the span, which may hold that of a tool. Called after the operation was written."""
        return span.name

    def free_name(self, name: str) -> str:
        """A name that a model may have invented: of a tool, a record."""
        return name

    def text(self, text: str) -> str:
        return text

    def document(self, value: JsonValue) -> tuple[str, type]:
        """Return a text as it is and any other value as JSON text, and the class of the value that was written."""
        return value if isinstance(value, str) else json_text.write(value), type(value)

    def result(self, value: JsonValue) -> tuple[str, type]:
        """The same for a result, which may be the list of what a generator gave."""
        return self.document(value)

    def json(self, value: JsonValue) -> str:
        """Return any value as JSON text."""
        return _quoted(*self.document(value))

    def json_result(self, value: JsonValue) -> str:
        return _quoted(*self.result(value))

    def parameters(self, parameters: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
        """The parameters of a request, by name."""
        return parameters

    def messages(self, items: tuple[Message, ...]) -> str:
        return messages.write_messages(items)

    def output(self, items: tuple[Message, ...]) -> str:
        """The messages of an answer."""
        return self.messages(items)

    def parts(self, parts: tuple[Part, ...]) -> str:
        """System instructions that are separate from the messages."""
        return messages.write_parts(parts)

    def definitions(self, tools: tuple[ToolDefinition, ...]) -> str:
        return messages.write_definitions(tools)

    def definition(self, tool: ToolDefinition) -> tuple[str, str | None]:
        """Return the list with this definition as JSON text, and its description."""
        return messages.write_definitions((tool,)), tool.description

    def rest(self, span: Span) -> Span:
        """Return the span with findings, events, links, attributes and resource as they may be written. Called after the
        operation was written, since they may repeat a secret of it."""
        return span

    def recorded(self, recorded: Recorded) -> Recorded:
        """Return the data for a replay as they may be written. Called after the operation was written."""
        return recorded


def _quoted(text: str, written: type) -> str:
    return json_text.write(text) if issubclass(written, str) else text


PLAIN: Final = ContentWriter()
