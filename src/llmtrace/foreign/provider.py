"""How a span processor of ours gets to the spans of other instrumentations: on the program's TracerProvider, where it has one.

A program that has none gets none from us either. OpenTelemetry hands out a proxy as long as nobody has set a provider;
`stand_in` puts another proxy in its place, whose tracers record for our processor, and go over to the program's provider when
it sets one, as the proxy's own do. ``opentelemetry.trace._PROXY_TRACER_PROVIDER`` is private: where a version of
OpenTelemetry has none, nothing is done.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import ProxyTracer, ProxyTracerProvider

_SLOT = "_PROXY_TRACER_PROVIDER"


class Relay(SpanProcessor):
    """What is on a provider for good, since nothing can be taken off one: it hands on to ``target``, if there is one now."""

    target: SpanProcessor | None = None

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if self.target is not None:
            self.target.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        if self.target is not None:
            self.target.on_end(span)


_relay = Relay()
_relayed: weakref.WeakSet[Any] = weakref.WeakSet()
"""Providers that the relay is on."""


def listen(provider: object = None) -> None:
    """Be told of the spans of ``provider`` (default: the global one), if it is one of the SDK's, from now on."""
    provider = trace.get_tracer_provider() if provider is None else provider
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


class StandIn(ProxyTracerProvider):
    """A proxy whose tracers record, as long as nobody has set a provider."""

    def __init__(self, resource: Mapping[str, Any]) -> None:
        self.recording = TracerProvider(resource=Resource(resource), id_generator=OsIds(), shutdown_on_exit=False)
        listen(self.recording)

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        tracer = super().get_tracer(*args, **kwargs)
        if isinstance(tracer, ProxyTracer):
            tracer._noop_tracer = self.recording.get_tracer(*args, **kwargs)  # type: ignore[assignment]
        return tracer


def stand_in(resource: Mapping[str, Any]) -> None:
    """Have spans recorded that would go nowhere."""
    present = getattr(trace, _SLOT, None)
    if isinstance(present, ProxyTracerProvider) and not isinstance(present, StandIn):
        setattr(trace, _SLOT, StandIn(resource))


def step_back() -> None:
    """Put a proxy of OpenTelemetry's own back."""
    if isinstance(getattr(trace, _SLOT, None), StandIn):
        setattr(trace, _SLOT, ProxyTracerProvider())
