"""`Content`: the one door through which content leaves memory.

``clean`` returns the span that may be stored: redacted, without inline bytes, truncated. ``without_content`` returns the one
for places that must not have content. Laws: neither raises, and neither changes its argument. A value that the user's rules
cannot be applied to is dropped. If cleaning itself fails, only the span's ids and times are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from llmtrace import semconv
from llmtrace.config import Config
from llmtrace.content.messages import Messages
from llmtrace.content.redaction import Redactor
from llmtrace.content.redaction_stats import RedactionStats
from llmtrace.content.strip import strip_tool_name, without_content
from llmtrace.content.values import WIDEST, Values, changed, map_items, mapping
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Embedding,
    Evaluation,
    Failure,
    FetchResponse,
    Inference,
    JsonValue,
    Memory,
    Operation,
    Plan,
    Recorded,
    Retrieval,
    Review,
    Span,
    ToolExecution,
    Violation,
    Workflow,
    replace,
)

logger = logging.getLogger("llmtrace")


class Opening(NamedTuple):
    """Name and attributes with which a span may start."""

    name: str
    attributes: Mapping[str, JsonValue]


class Content:
    """Redaction, truncation and the content level of a `Config`, applied to spans."""

    def __init__(self, config: Config) -> None:
        redactor = Redactor(config, blobs=True)
        self._level = "none" if redactor.broken else config.content
        self._values = values = Values(redactor, config.max_content_bytes)
        messages = Messages(values)
        read_by_field: dict[str, Callable[[Any, RedactionStats], Any]] = {
            **dict.fromkeys(_NAMES, values.untrusted_name),
            **dict.fromkeys(("request_model", "response_model"), values.name),
            **dict.fromkeys(("input", "output"), messages.messages),
            "system": messages.system,
            "tools": messages.definitions,
            "definition": messages.definition,
            "parameters": self._parameters,
            "result": self._result,
        }
        self._fields = {
            operation_class: [(field, read_by_field.get(field, values.document)) for field in fields]
            for operation_class, fields in _FIELDS.items()
        }
        self._resource: tuple[Any, Mapping[str, JsonValue]] = (None, {})
        self._has_reported = False

    @property
    def exports_content(self) -> bool:
        """True if OpenTelemetry spans and exporters may have content too."""
        return self._level == "all"

    def clean(self, span: Span) -> Span:
        """Return the span as it may leave memory: for the local store, and for OpenTelemetry if `exports_content`.

        At level ``none`` it has no content. Returns the same object if nothing had to be changed. Never raises.
        """
        if self._level == "none":
            return self.without_content(span)
        try:
            return self._clean(span)
        except Exception as error:
            return self._span_without_content(span, error)

    def opening(self, name: str, operation: Operation, attributes: Mapping[str, JsonValue]) -> tuple[Opening, Opening]:
        """Return the redacted start of a span, for the local store and for OpenTelemetry. Without content, a tool's
        name that a model invented is hidden."""
        redact, stats = self._values.name, RedactionStats()
        shown = {key: redact(value, stats) if type(value) is str else value for key, value in attributes.items()}
        stored = exported = Opening(redact(name, stats), shown)
        if isinstance(operation, ToolExecution) and self._level != "all":
            hidden = strip_tool_name(operation.name)
            if hidden != operation.name:
                name = name.replace(operation.name, hidden) if operation.name else name
                exported = Opening(redact(name, stats), {**shown, semconv.TOOL_NAME: hidden})
        return exported if self._level == "none" else stored, exported

    def without_content(self, span: Span) -> Span:
        """Return the span without content (see `llmtrace.content.strip`), other texts redacted. Never raises."""
        try:
            stripped = self._clean(without_content(span))
            if stripped.attributes.get(semconv.CONTENT_LEVEL) != "none":  # a broken rule drops every text, this mark among them
                stripped = replace(stripped, attributes={**stripped.attributes, semconv.CONTENT_LEVEL: "none"})
            return stripped
        except Exception as error:
            return self._span_without_content(span, error)

    def _clean(self, span: Span) -> Span:
        stats = RedactionStats()
        operation = self._operation(span.operation, stats)
        name = self._values.name(span.name, stats)
        changes = (
            self._findings_changes(span, stats)
            if span.failure or span.violations or span.evaluations or span.events or span.links
            else {}
        )
        attributes = self._values.attributes(span.attributes, stats) if span.attributes else span.attributes
        if stats.redacted or stats.cut:
            attributes = _with_counts(attributes, stats)
        resource = self._clean_resource(span.resource)
        if span.recorded is not None and (span.recorded.exchanges or operation is not span.operation):
            recorded = self._recorded(span.recorded, span.operation, operation)
            if recorded is not span.recorded:
                changes = {**changes, "recorded": recorded}
        same = operation is span.operation and name is span.name and attributes is span.attributes and resource is span.resource
        if same and not changes:
            return span
        return replace(span, operation=operation, name=name, attributes=attributes, resource=resource, **changes)

    def _findings_changes(self, span: Span, stats: RedactionStats) -> dict[str, Any]:
        """Clean failure, violations, evaluations, events and links; returns the fields that changed. Most spans have none."""
        changes = {
            "failure": span.failure and self._failure(span.failure, stats),
            "violations": map_items(span.violations, lambda violation: self._violation(violation, stats)),
            "evaluations": map_items(span.evaluations, lambda evaluation: self._evaluation(evaluation, stats)),
            "events": map_items(span.events, lambda event: self._clean_owner(event, stats)),
            "links": map_items(span.links, lambda link: self._clean_owner(link, stats)),
        }
        return {name: new for name, new in changes.items() if new is not getattr(span, name)}

    def _recorded(self, recorded: Recorded, raw: Operation, clean: Operation) -> Recorded:
        """Drop the recorded answer if it cannot be stored exactly as received, and note why a replay cannot use it."""
        redactor, stats = self._values.redactor, RedactionStats()
        reason, exchanges = "", recorded.exchanges
        for name in ("output", "result"):
            if getattr(raw, name, None) is not getattr(clean, name, None):
                reason = "redacted"
        if sum([len(exchange.body) + len(exchange.message) for exchange in exchanges]) > self._values.limit:
            reason, exchanges = "cut", ()
        for exchange in exchanges:
            for text in (exchange.body.decode(errors="replace"), exchange.message):
                if text and not redactor.is_clean_body(text):
                    reason = "redacted"
            if redactor.in_value(exchange.headers, stats) is not exchange.headers:
                reason = "redacted"
        return replace(recorded, exchanges=(), unusable=reason) if reason else recorded

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

    # -- findings, and what the program added

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
            pointer=values.text(violation.pointer, stats),
            message=values.text(violation.message, stats),
            expected=values.redactor.in_value(violation.expected, stats),
            tool=values.optional_untrusted_name(violation.tool, stats),
        )

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
            label=values.optional_untrusted_name(evaluation.label, stats),
            pointer=evaluation.pointer and values.text(evaluation.pointer, stats),
        )

    def _clean_owner(self, owner: Any, stats: RedactionStats) -> Any:
        attributes = self._values.attributes(owner.attributes, stats) if owner.attributes else owner.attributes
        name = getattr(owner, "name", None)
        if name is None:
            return changed(owner, attributes=attributes)
        return changed(owner, attributes=attributes, name=self._values.name(name, stats))

    def _clean_resource(self, resource: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
        """Clean the resource, once for all spans. It belongs to the program, so the span does not count its redactions."""
        original, cleaned = self._resource
        if original is not resource:
            cleaned = self._values.attributes(resource, RedactionStats())
            self._resource = (resource, cleaned)
        return cleaned

    # -- operations

    def _operation(self, operation: Operation, stats: RedactionStats) -> Operation:
        changes: dict[str, Any] = {}
        for name, read in self._fields.get(type(operation), ()):
            old = getattr(operation, name)
            if old:
                new = read(old, stats)
                if new is not old:
                    changes[name] = new
        return replace(operation, **changes) if changes else operation

    def _parameters(self, parameters: Mapping[str, JsonValue], stats: RedactionStats) -> Mapping[str, JsonValue]:
        return mapping(self._values.document(parameters, stats), parameters)

    def _result(self, result: JsonValue, stats: RedactionStats) -> JsonValue:
        if type(result) is list and len(result) > 1:
            result = self._values.redactor.in_chunks(result, stats)
        return self._values.document(result, stats)


_NAMES = ("name", "agent_name", "record_id", "store_id", "data_source_id", "tool")
_FIELDS: dict[type, tuple[str, ...]] = {
    Inference: ("input", "output", "system", "tools", "parameters", "request_model", "response_model"),
    ToolExecution: ("arguments", "repaired", "result", "definition", "name"),
    AgentInvocation: ("name", "description", "input", "output"),
    Workflow: ("name", "input", "output"),
    Retrieval: ("data_source_id", "query", "documents", "request_model"),
    Memory: ("store_id", "record_id", "query", "records"),
    FetchResponse: ("output",),
    Plan: ("agent_name",),
    Review: ("payload", "value", "question", "reason", "note", "tool", "decided_by"),
    Embedding: ("request_model", "response_model"),
    Custom: ("arguments", "result"),
}
"""Fields of an operation that hold content or a name. A secret found in an earlier one is removed from later ones."""


def _pointer_segments(pointer: str) -> Sequence[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _with_counts(attributes: Mapping[str, JsonValue], stats: RedactionStats) -> Mapping[str, JsonValue]:
    for name, count in ((semconv.CONTENT_REDACTED, stats.redacted), (semconv.CONTENT_TRUNCATED, stats.cut)):
        before = attributes.get(name)
        if count:
            attributes = {**attributes, name: count + (before if type(before) is int else 0)}
    return attributes
