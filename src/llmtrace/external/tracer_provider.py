"""Brings the spans of other instrumentations to our span processor: from the program's TracerProvider, if it has one.

A program without a TracerProvider gets none from us. Until a provider is set, OpenTelemetry returns proxy tracers, many of them
when a library is imported, before anything is configured. `record_proxies` makes each of them record for our processor. When
the program sets a provider, they switch to it as usual. ``ProxyTracer._tracer`` is private: if a version of OpenTelemetry does
not have it, nothing is done.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.trace import NoOpTracer, ProxyTracer

from llmtrace.recorder.otel import SystemIds
from llmtrace.semconv import SCOPE_NAME

_SLOT = "_tracer"
_GIVEN = ("_instrumenting_module_name", "_instrumenting_library_version", "_schema_url", "_attributes")


class Relay(SpanProcessor):
    """Forwards spans to ``target``, if it is set. The relay stays on a provider, because processors cannot be removed.

    Most spans are our own; they are recognised by their scope and not forwarded.
    """

    target: SpanProcessor | None = None
    _own_scope: object = None
    """The scope object of our own spans that was seen last."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        scope: Any = span.instrumentation_scope
        if self.target is not None and (scope is None or scope is not self._own_scope) and not self._is_own(scope):
            self.target.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        scope: Any = span.instrumentation_scope
        if self.target is not None and (scope is None or scope is not self._own_scope) and not self._is_own(scope):
            self.target.on_end(span)

    def _is_own(self, scope: Any) -> bool:
        if scope is None or scope.name != SCOPE_NAME:
            return False
        self._own_scope = scope
        return True


_relay = Relay()
_relayed: weakref.WeakSet[Any] = weakref.WeakSet()
"""Providers that have the relay."""
_last_provider: Callable[[], Any] = weakref.ref(_relay)
"""The global provider of the SDK that was seen last. `listen` is called for every span of ours, so it must be fast."""
MOST_WRAPPERS = 8
"""Nested wrappers around a provider that are followed, at most."""


def listen(provider: object = None) -> None:
    """Put the relay on ``provider`` (default: the global one), if it is one of the SDK's or a proxy of one."""
    global _last_provider
    if provider is None:
        provider = getattr(trace, "_TRACER_PROVIDER", None) or trace.get_tracer_provider()
        if _last_provider() is provider:
            return
        if isinstance(provider, TracerProvider):  # a proxy may get another provider later, so check it each time
            _last_provider = weakref.ref(provider)
    wrapped = _sdk_provider(provider)
    if wrapped is not None and wrapped not in _relayed:
        _relayed.add(wrapped)
        wrapped.add_span_processor(_relay)


def _sdk_provider(provider: object) -> TracerProvider | None:
    """Return the SDK's provider: this one, or the one that it wraps (logfire's proxy); None if it has none (yet)."""
    for _ in range(MOST_WRAPPERS):
        if isinstance(provider, TracerProvider):
            return provider
        members = getattr(provider, "__dict__", {}).values()
        provider = next((member for member in members if isinstance(member, trace.TracerProvider)), None)
    return None


def forward_to(target: SpanProcessor | None) -> None:
    """Forward the spans of all providers to ``target``, or drop them if it is None."""
    _relay.target = target


class RecordingProxy(property):
    """Replaces `ProxyTracer._tracer`: returns a recording tracer where OpenTelemetry would return a no-op one."""

    def __init__(self, original: property, resource: Mapping[str, Any]) -> None:
        super().__init__(self.tracer_of)
        self.original = original
        self.recording = TracerProvider(resource=Resource(resource), id_generator=SystemIds(), shutdown_on_exit=False)
        listen(self.recording)

    def tracer_of(self, proxy: ProxyTracer) -> trace.Tracer:
        tracer: trace.Tracer = self.original.__get__(proxy)
        if type(tracer) is not NoOpTracer:
            return tracer
        attributes = vars(proxy)
        maker, tracer = attributes.get("_llmtrace", (None, None))
        if maker is not self:
            tracer = self.recording.get_tracer(*[attributes.get(name) for name in _GIVEN])  # type: ignore[arg-type]
            attributes["_llmtrace"] = self, tracer
        return tracer


def record_proxies(resource: Mapping[str, Any]) -> None:
    """Record the spans of proxy tracers that no provider would record."""
    original = vars(ProxyTracer).get(_SLOT)
    if isinstance(original, property) and not isinstance(original, RecordingProxy):
        setattr(ProxyTracer, _SLOT, RecordingProxy(original, resource))


def restore_proxies() -> None:
    """Undo `record_proxies`."""
    present = vars(ProxyTracer).get(_SLOT)
    if isinstance(present, RecordingProxy):
        setattr(ProxyTracer, _SLOT, present.original)
