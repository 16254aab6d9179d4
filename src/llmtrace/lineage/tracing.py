"""`Lineage`: the spans of a run in, each value that the model said out, with the place it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from llmtrace.lineage.arguments import name_of, pointer_of_path, scalars
from llmtrace.lineage.claims import claims
from llmtrace.lineage.definitions import may_choose, shows
from llmtrace.lineage.places import pointer_of
from llmtrace.lineage.provenance import Form, Origin, Provenance, Use, place_of
from llmtrace.lineage.search import find
from llmtrace.lineage.sources import Found, Source
from llmtrace.lineage.values import (
    SPECIFIC,
    Value,
    elements,
    is_chosen,
    is_invented,
    is_round,
    is_well_known,
    read_value,
)
from llmtrace.lineage.visible import Call, Visible
from llmtrace.model import (
    FetchResponse,
    Inference,
    Message,
    Reasoning,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    replace,
)

_NOT_TRACED = Provenance("unknown")
_PIECE, _WHOLE = 40, 60
"""Characters of a long text that are looked for together, and up to which a text is looked for as a whole."""


class Lineage:
    """Where every value came from, over the spans of one run in the order in which they ended."""

    def __init__(self, *, thorough: bool = True) -> None:
        """``thorough``: remember everything, trace the values of answers and plain words too, and say where inside a result
        a value stands. Without it only what can be made up is traced, in arguments, in bounded memory and time."""
        self._thorough = thorough
        self._visible = Visible(bounded=not thorough)

    @property
    def hidden(self) -> Mapping[str, str]:
        """Why some context is not visible, each with the id of the span that shows it. Where there is any, values found
        nowhere are unknown, not ungrounded."""
        return self._visible.hidden

    def begun(self, span: Span) -> None:
        """What an agent was given when its span began. Optional, for traces that are read as a whole: by the time the span
        ends, all that happened in it is over."""
        self._visible.begun(span)

    def add(self, span: Span) -> tuple[Use, ...]:
        """Take in a span that has ended; gives the values that the model put into its calls and, if thorough, its texts."""
        self._visible.ended(span)
        operation = span.operation
        if isinstance(operation, Inference):
            return self._said(span, operation.output, operation.tools)
        if isinstance(operation, FetchResponse):
            return self._said(span, operation.output, ())
        return ()

    def _said(self, span: Span, output: Sequence[Message], tools: Sequence[ToolDefinition]) -> tuple[Use, ...]:
        uses: list[Use] = []
        for choice, message in enumerate(output):
            for part in message.parts:
                self._visible.history.keep_own(part)
                if isinstance(part, ToolCall):
                    definition = next((tool for tool in tools if tool.name == part.name), None)
                    uses += self._call(span, choice, part, definition)
                elif isinstance(part, Text):
                    uses += self._answer(span, choice, part.content) if self._thorough else ()
                elif not isinstance(part, Reasoning):
                    self._visible.opaque(span, part, f"answer {choice + 1}")
        return tuple(uses)

    def _call(self, span: Span, choice: int, call: ToolCall, definition: ToolDefinition | None) -> list[Use]:
        uses: list[Use] = []
        made_up: set[str] = set()
        for path, content in scalars(call.arguments):
            name = name_of(path)
            for piece in elements(content) or (content,):
                value = read_value(piece, name)
                if value is None or not (self._thorough or value.kind in SPECIFIC):
                    continue
                if definition is not None and may_choose(definition.parameters, path, content):
                    continue
                pointer = pointer_of_path(path)
                use = Use(span.span_id, "argument", piece, value.kind, _NOT_TRACED, pointer, path, call.name, call.id, choice)
                use = replace(use, provenance=self._trace(use, value, name, definition))
                uses.append(use)
                if use.provenance.status == "ungrounded":
                    made_up.update(value.keys)
        call_id = call.id if call.id is not None else f"{span.span_id}/{choice}/{call.name}"
        self._visible.remember_call(call_id, Call(call.name, frozenset(made_up)))
        return uses

    def _answer(self, span: Span, choice: int, text: str) -> Iterator[Use]:
        for value in claims(text):
            use = Use(span.span_id, "answer", value.content, value.kind, _NOT_TRACED, choice=choice)
            yield replace(use, provenance=self._trace(use, value, "", None))

    def _trace(self, use: Use, value: Value, name: str, definition: ToolDefinition | None) -> Provenance:
        if value.kind not in SPECIFIC:
            return self._of_words(value)
        if value.kind == "number" and is_chosen(name):
            return Provenance("unknown", reason="a number that a caller sets")
        found = find(self._visible.context, value)
        if found is not None:
            return self._grounded(found, value)
        first = self._visible.made_up.get(value.key)
        if first is not None:
            return Provenance("ungrounded", first=first)
        reason = _excuse(use, value, name) or next(iter(self.hidden), None)
        if reason is not None:
            return Provenance("unknown", reason=reason)
        return self._ungrounded(use, value, definition)

    def _ungrounded(self, use: Use, value: Value, definition: ToolDefinition | None) -> Provenance:
        example = definition is not None and shows(definition, value)
        if example and value.kind == "number":
            return Provenance("grounded", "given")
        first = place_of(use)
        self._visible.remember_made_up(value.key, first)
        return Provenance("ungrounded", "from_example" if example else "", first=first)

    def _of_words(self, value: Value) -> Provenance:
        """Plain words and texts: where they stand, if they do. A model may always choose words of its own."""
        for piece in _pieces(value.text.strip()):
            found = self._visible.context.find_text(piece)
            if found is not None:
                return self._grounded(found, value)
        return Provenance("unknown", reason="words of the model's own")

    def _grounded(self, found: Found, value: Value) -> Provenance:
        form: Form = "derived" if found.derived else "given"
        return Provenance("grounded", form, self._origin(found.first, value), self._origin(found.last, value))

    def _origin(self, source: Source | None, value: Value) -> Origin | None:
        if source is None:
            return None
        pointer = pointer_of(source, value) if self._thorough else ""
        return Origin(source.span_id, source.place, pointer, source.call_id)


def _excuse(use: Use, value: Value, name: str) -> str | None:
    """Why a value that is found nowhere need not be made up."""
    if value.kind == "number" and is_round(value):
        return "a round number"
    if value.kind == "path" and is_well_known(value.text):
        return "a path that every system has"
    if use.tool is not None and is_invented(value, name, use.tool):
        return "a name that a caller invents"
    return None


def _pieces(text: str) -> tuple[str, ...]:
    """What of a text to look for: all of it, or of a long one some pieces from its whole length."""
    if len(text) < 3:
        return ()
    if len(text) <= _WHOLE:
        return (text,)
    stride = max(_PIECE, len(text) // 8)
    return tuple(text[start : start + _PIECE] for start in range(0, len(text) - _PIECE + 1, stride))
