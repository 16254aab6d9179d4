"""`Content`: the one door through which content leaves memory.

``write`` returns the attributes of a span as they may be stored: redacted, without inline bytes, truncated. They are cleaned
while they are written: `codec` writes each field through the span's `_Cleaner`. ``without_content`` returns a written span for
places that must not have content. Laws: neither raises, and neither changes its argument. A value that the user's rules cannot
be applied to is dropped. If cleaning itself fails, only the span's ids and times are kept.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from llmtrace import semconv
from llmtrace.codec import genai, operations
from llmtrace.codec.content_writer import ContentWriter
from llmtrace.config import Config
from llmtrace.content import strip
from llmtrace.content.messages import Messages
from llmtrace.content.redaction import Redactor
from llmtrace.content.redaction_stats import RedactionStats
from llmtrace.content.values import WIDEST, Values, changed, map_items, mapping
from llmtrace.model import (
    Evaluation,
    Failure,
    JsonValue,
    Kind,
    Message,
    Operation,
    Part,
    RawSpan,
    Recorded,
    Span,
    ToolDefinition,
    ToolExecution,
    Violation,
    replace,
)

logger = logging.getLogger("llmtrace")


class Start(NamedTuple):
    """Redacted name and attributes with which a span may start."""

    name: str
    attributes: Mapping[str, JsonValue]


class Opening(NamedTuple):
    """What is known of a span when it starts."""

    name: str
    """As the program gave it, else by the conventions."""
    kind: Kind
    stored: Start
    exported: Start


_MOST_OPENINGS = 1024
_LONGEST_OPENING = 512
"""Characters of all names of a start that is remembered, at most."""
_PLAIN = frozenset({str, int, type, type(None)})


class Content:
    """Redaction, truncation and the content level of a `Config`, applied to spans."""

    def __init__(self, config: Config) -> None:
        redactor = Redactor(config, blobs=True)
        self._level = "none" if redactor.broken else config.content
        self.values = values = Values(redactor, config.max_content_bytes)
        self.messages = Messages(values)
        self._openings: dict[object, Opening] = {}
        self._resource: tuple[Any, Mapping[str, JsonValue]] = (None, {})
        self._has_reported = False

    @property
    def exports_content(self) -> bool:
        """True if OpenTelemetry spans and exporters may have content too."""
        return self._level == "all"

    def write(self, span: Span) -> RawSpan:
        """Write the span as it may leave memory: for the local store, and for OpenTelemetry if `exports_content`.

        At level ``none`` it has no content. Its attributes are a new dict. Never raises.
        """
        try:
            cleaner = _Cleaner(self)
            raw = genai.encode(span, cleaner)
            stats = cleaner.stats
            if stats.redacted or stats.cut:
                raw = replace(raw, attributes=_with_counts(raw.attributes, stats))
        except Exception as error:
            raw = genai.encode(self._span_without_content(span, error))
        return self.without_content(raw) if self._level == "none" else raw

    def clean(self, span: Span) -> Span:
        """Return the span as it is read after `write`. Never raises."""
        return genai.decode(self.write(span))

    def opening(self, operation: Operation, name: str | None) -> Opening:
        """Return the start of a span, for the local store and for OpenTelemetry. Without content, a tool's name that a model
        invented is hidden. ``name``: default, by the conventions.

        It is made once for all calls with the same model, server, tool or agent.
        """
        key = name, *operations.start_key(operation)
        try:
            opening = self._openings.get(key)
        except Exception:  # a field with a wrong value, such as a list as the model
            opening = None
        if opening is None:
            opening = self._make_opening(operation, name)
            # values of other types may equal plain ones, and be written in another way
            if all(type(part) in _PLAIN for part in key) and sum(map(len, map(str, key))) <= _LONGEST_OPENING:
                if len(self._openings) >= _MOST_OPENINGS:
                    self._openings.clear()
                self._openings[key] = opening
        ids = operations.ids(operation)
        if ids:
            ids = self._redacted(ids)
            stored, exported = opening.stored, opening.exported
            opening = Opening(
                opening.name,
                opening.kind,
                Start(stored.name, {**stored.attributes, **ids}),
                Start(exported.name, {**exported.attributes, **ids}),
            )
        return opening

    def _make_opening(self, operation: Operation, name: str | None) -> Opening:
        usual_name, kind, attributes = genai.opening(operation)
        name, stats = name or usual_name, RedactionStats()
        shown = self._redacted(attributes)
        stored = exported = Start(self.values.name(name, stats), shown)
        if isinstance(operation, ToolExecution) and self._level != "all":
            exported = self._start_with_hidden_names(name, attributes, shown, stats)
        return Opening(name, kind, exported if self._level == "none" else stored, exported)

    def _start_with_hidden_names(
        self, name: str, attributes: Mapping[str, JsonValue], shown: Mapping[str, JsonValue], stats: RedactionStats
    ) -> Start:
        """Return the start of a tool execution without names that the model may have invented. ``shown``: the redacted
        ``attributes``."""
        hidden = {key: strip.shown_name(str(shown[key])) for key in strip.FREE_NAMES if shown.get(key)}
        for key, written in hidden.items():
            name = name.replace(str(attributes[key]), written)
        return Start(self.values.name(name, stats), {**shown, **hidden})

    def _redacted(self, attributes: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        redact, stats = self.values.name, RedactionStats()
        return {key: redact(value, stats) if type(value) is str else value for key, value in attributes.items()}

    def without_content(self, raw: RawSpan) -> RawSpan:
        """Return a written span without content (see `llmtrace.content.strip`). Verdicts stay, because they are not content.
        Never raises."""
        try:
            return strip.without_content(raw)
        except Exception as error:
            return genai.encode(self._span_without_content(genai.decode(raw), error))

    def _span_without_content(self, span: Span, error: Exception) -> Span:
        if not self._has_reported:
            self._has_reported = True
            logger.error("llmtrace: the content of a span could not be cleaned (%s); it is left out.", type(error).__name__)
        return Span(
            span.trace_id,
            span.span_id,
            type(span.operation).__name__,
            span.start,
            span.end,
            span.parent_id,
            span.kind,
            run_id=span.run_id,
            sequence=span.sequence,
            failure=span.failure and Failure(str(span.failure.type)),
            attributes={semconv.CONTENT_LEVEL: "none"},
            scope=span.scope,
        )

    def clean_resource(self, resource: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
        """Clean the resource, once for all spans. It belongs to the program, so the span does not count its redactions."""
        original, cleaned = self._resource
        if original is not resource:
            cleaned = self.values.attributes(resource, RedactionStats())
            self._resource = (resource, cleaned)
        return cleaned


class _Cleaner(ContentWriter):
    """Writes the content of one span redacted and cut, and counts what it removed."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._values = content.values
        self._messages = content.messages
        self.stats = RedactionStats()
        self._has_changed_answer = False
        """True if an answer or result was not written exactly as it was received."""

    def name(self, name: str) -> str:
        return self._values.name(name, self.stats)

    def span_name(self, span: Span) -> str:
        name, operation = span.name, span.operation
        tool = operation.name if isinstance(operation, ToolExecution) else getattr(operation, "tool", None)
        if tool and tool in name:  # as the operation names it, so that no other form of the tool's name is left
            trial = RedactionStats()
            trial.secrets = self.stats.secrets
            name = name.replace(tool, self._values.free_name(tool, trial))
        return self.name(name)

    def free_name(self, name: str) -> str:
        return self._values.free_name(name, self.stats)

    def text(self, text: str) -> str:
        return self._values.text(text, self.stats)

    def document(self, value: JsonValue) -> tuple[str, type]:
        return super().document(self._values.document(value, self.stats))

    def result(self, value: JsonValue) -> tuple[str, type]:
        clean = value
        if type(clean) is list and len(clean) > 1:
            clean = self._values.redactor.in_chunks(clean, self.stats)
        clean = self._values.document(clean, self.stats)
        self._has_changed_answer |= clean is not value
        return super().document(clean)

    def parameters(self, parameters: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
        return mapping(self._values.document(parameters, self.stats), parameters)

    def messages(self, items: tuple[Message, ...]) -> str:
        return self._messages.messages(items, self.stats)[0]

    def output(self, items: tuple[Message, ...]) -> str:
        text, is_changed = self._messages.messages(items, self.stats)
        self._has_changed_answer |= is_changed
        return text

    def parts(self, parts: tuple[Part, ...]) -> str:
        return self._messages.parts(parts, self.stats)

    def definitions(self, tools: tuple[ToolDefinition, ...]) -> str:
        return self._messages.definitions(tools, self.stats)

    def definition(self, tool: ToolDefinition) -> tuple[str, str | None]:
        return self._messages.definition(tool, self.stats)

    def rest(self, span: Span) -> Span:
        if span.failure or span.violations or span.evaluations or span.events or span.links:
            span = self._clean_findings(span, self.stats)
        attributes, resource = span.attributes, self._content.clean_resource(span.resource)
        if attributes:
            attributes = self._values.attributes(attributes, self.stats)
        if attributes is span.attributes and resource is span.resource:
            return span
        return replace(span, attributes=attributes, resource=resource)

    def recorded(self, recorded: Recorded) -> Recorded:
        """Drop the recorded answer if it cannot be stored exactly as received, and note why a replay cannot use it."""
        redactor, stats = self._values.redactor, RedactionStats()
        reason, exchanges = "redacted" if self._has_changed_answer else "", recorded.exchanges
        if sum([len(exchange.body) + len(exchange.message) for exchange in exchanges]) > self._values.limit:
            reason, exchanges = "cut", ()
        for exchange in exchanges:
            for text in (exchange.body.decode(errors="replace"), exchange.message, exchange.cause):
                is_clean = redactor.is_clean_error if (exchange.status or 0) >= 400 else redactor.is_clean_body
                if text and (not is_clean(text) or any(secret in text for secret in self.stats.secrets)):
                    reason = "redacted"
            if redactor.in_value(exchange.headers, stats) is not exchange.headers:
                reason = "redacted"
            if exchange.status is None and exchange.body and not self._is_clean_object(exchange.body):
                reason = "redacted"
        return replace(recorded, exchanges=(), unusable=reason) if reason else recorded

    def _is_clean_object(self, body: bytes) -> bool:
        """Return True if all rules leave the recorded result or exception of a tool as it is: its texts, and what its members
        are called."""
        try:
            kept = json.loads(body)
        except ValueError:
            return True  # not one of these: its text is searched as that of any answer
        return self._values.redactor.in_value(kept, RedactionStats()) is kept

    # -- findings, and what the program added

    def _clean_findings(self, span: Span, stats: RedactionStats) -> Span:
        return changed(
            span,
            failure=span.failure and self._failure(span.failure, stats),
            violations=map_items(span.violations, lambda violation: self._violation(violation, stats)),
            evaluations=map_items(span.evaluations, lambda evaluation: self._evaluation(evaluation, stats)),
            events=map_items(span.events, lambda event: self._clean_owner(event, stats)),
            links=map_items(span.links, lambda link: self._clean_owner(link, stats)),
        )

    def _failure(self, failure: Failure, stats: RedactionStats) -> Failure:
        return changed(
            failure,
            type=self._values.name(failure.type, stats),
            message=self._values.text(failure.message, stats),
            stacktrace=self._values.text(failure.stacktrace, stats),
        )

    def _violation(self, violation: Violation, stats: RedactionStats) -> Violation:
        values, got = self._values, violation.got
        if got is not None:
            got = values.truncated(values.redactor.in_context(got, _pointer_segments(violation.pointer), stats), stats)
        return changed(
            violation,
            got=got,
            pointer=self._pointer(violation.pointer, stats),
            message=values.text(violation.message, stats),
            expected=values.redactor.in_value(violation.expected, stats),
            tool=values.optional_free_name(violation.tool, stats),
        )

    def _pointer(self, pointer: str, stats: RedactionStats) -> str:
        """Redact a JSON Pointer. Its names are read one by one where a slash in them is escaped, which may hide a secret."""
        if "~" in pointer:
            names = [self._values.text(name, stats) for name in _pointer_segments(pointer)]
            pointer = "".join(f"/{name.replace('~', '~0').replace('/', '~1')}" for name in names)
        return self._values.text(pointer, stats)

    def _evaluation(self, evaluation: Evaluation, stats: RedactionStats) -> Evaluation:
        values = self._values
        evidence: Any = evaluation.evidence
        if evidence:
            before = stats.size
            evidence = values.redactor.in_value(evidence, stats)
            if evaluation.pointer and isinstance(evidence, dict):
                where = _pointer_segments(evaluation.pointer)
                placed = {name: values.redactor.in_context(item, where, stats) for name, item in evidence.items()}
                evidence = evidence if all(placed[name] is item for name, item in evidence.items()) else placed
            if (stats.size - before) * WIDEST > values.limit:
                evidence = values.truncated(evidence, stats)
            evidence = mapping(evidence, evaluation.evidence)
        return changed(
            evaluation,
            evidence=evidence,
            explanation=values.text(evaluation.explanation, stats),
            name=values.name(evaluation.name, stats),
            label=values.optional_free_name(evaluation.label, stats),
            pointer=evaluation.pointer and self._pointer(evaluation.pointer, stats),
        )

    def _clean_owner(self, owner: Any, stats: RedactionStats) -> Any:
        attributes = self._values.attributes(owner.attributes, stats) if owner.attributes else owner.attributes
        name = getattr(owner, "name", None)
        if name is None:
            return changed(owner, attributes=attributes)
        return changed(owner, attributes=attributes, name=self._values.name(name, stats))


def _pointer_segments(pointer: str) -> Sequence[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _with_counts(attributes: Mapping[str, JsonValue], stats: RedactionStats) -> Mapping[str, JsonValue]:
    for name, count in ((semconv.CONTENT_REDACTED, stats.redacted), (semconv.CONTENT_TRUNCATED, stats.cut)):
        before = attributes.get(name)
        if count:
            attributes = {**attributes, name: count + (before if type(before) is int else 0)}
    return attributes
