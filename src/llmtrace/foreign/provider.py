"""How a span processor of ours gets to the spans of other instrumentations: on the program's TracerProvider, where it has one.

A program that has none gets none from us either. OpenTelemetry hands out proxies of tracers as long as nobody has set a
provider, many of them when a library is imported, before anybody is configured; `stand_in` has each of them record for our
processor, and they go over to the program's provider when it sets one, as they always do. ``ProxyTracer._tracer`` is private:
where a version of OpenTelemetry has none, nothing is done.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import NoOpTracer, ProxyTracer

from llmtrace.semconv import SCOPE_NAME

_SLOT = "_tracer"
_GIVEN = ("_instrumenting_module_name", "_instrumenting_library_version", "_schema_url", "_attributes")


class Relay(SpanProcessor):
    """What is on a provider for good, since nothing can be taken off one: it hands on to ``target``, if there is one now.
    Spans of ours, which are most, go by at once: they are known by their scope."""

    target: SpanProcessor | None = None
    _own: object = None
    """The scope of ours, as the tracer that was seen last has it."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        scope: Any = span.instrumentation_scope
        if self.target is not None and (scope is None or scope is not self._own) and not self._is_own(scope):
            self.target.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        scope: Any = span.instrumentation_scope
        if self.target is not None and (scope is None or scope is not self._own) and not self._is_own(scope):
            self.target.on_end(span)

    def _is_own(self, scope: Any) -> bool:
        if scope is None or scope.name != SCOPE_NAME:
            return False
        self._own = scope
        return True


_relay = Relay()
_relayed: weakref.WeakSet[Any] = weakref.WeakSet()
"""Providers that the relay is on."""
_heard: Callable[[], Any] = weakref.ref(_relay)
"""The global provider that was seen last: every span of ours asks for it."""


def listen(provider: object = None) -> None:
    """Be told of the spans of ``provider`` (default: the global one), if it is one of the SDK's, from now on."""
    global _heard
    if provider is None:
        provider = getattr(trace, "_TRACER_PROVIDER", None) or trace.get_tracer_provider()
        if _heard() is provider:
            return
        _heard = weakref.ref(provider)
    if provider not in _relayed and isinstance(provider, TracerProvider):
        _relayed.add(provider)
        provider.add_span_processor(_relay)


def hand_to(target: SpanProcessor | None) -> None:
    """Have all those spans handed to ``target``; None: to nobody."""
    _relay.target = target


class OsIds(IdGenerator):
    """Ids from the operating system: ``random.seed()`` in the program cannot make them repeat."""

    def generate_span_id(self) -> int:
        return int.from_bytes(os.urandom(8), "big") or 1

    def generate_trace_id(self) -> int:
        return int.from_bytes(os.urandom(16), "big") or 1


class StandIn(property):
    """In place of how a proxy finds its tracer: where that is one that does nothing, one that records."""

    def __init__(self, own: property, resource: Mapping[str, Any]) -> None:
        super().__init__(self.tracer_of)
        self.own = own
        self.recording = TracerProvider(resource=Resource(resource), id_generator=OsIds(), shutdown_on_exit=False)
        listen(self.recording)

    def tracer_of(self, proxy: ProxyTracer) -> trace.Tracer:
        found: trace.Tracer = self.own.__get__(proxy)
        return self._ours(proxy) if type(found) is NoOpTracer else found

    def _ours(self, proxy: ProxyTracer) -> trace.Tracer:
        held = vars(proxy)
        maker, tracer = held.get("_llmtrace", (None, None))
        if maker is not self:
            tracer = self.recording.get_tracer(*[held.get(name) for name in _GIVEN])  # type: ignore[arg-type]
            held["_llmtrace"] = self, tracer
        return tracer  # type: ignore[no-any-return]


def stand_in(resource: Mapping[str, Any]) -> None:
    """Have spans recorded that would go nowhere."""
    own = vars(ProxyTracer).get(_SLOT)
    if isinstance(own, property) and not isinstance(own, StandIn):
        setattr(ProxyTracer, _SLOT, StandIn(own, resource))


def step_back() -> None:
    """Let proxies be as they were."""
    present = vars(ProxyTracer).get(_SLOT)
    if isinstance(present, StandIn):
        setattr(ProxyTracer, _SLOT, present.own)
