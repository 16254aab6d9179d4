"""``configure()``: the one place where the parts are joined."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from opentelemetry.trace import TracerProvider

from llmtrace import exporters as exporting
from llmtrace import instrumentation
from llmtrace.config import Config, ContentLevel, OnInvalid, Profile
from llmtrace.content import Content
from llmtrace.errors import StoreError
from llmtrace.exporters._destination import named, standard_sinks
from llmtrace.fingerprints import fingerprint
from llmtrace.foreign import provider
from llmtrace.foreign.intake import Intake
from llmtrace.foreign.processor import ForeignSpans
from llmtrace.guards import budget as _budget  # noqa: F401 - what a program may use first when it has no descriptor left …
from llmtrace.guards import slo as _slo  # noqa: F401 - … to import it with
from llmtrace.imports import importing
from llmtrace.instrumentation._patches import Patch, Patches
from llmtrace.metrics import Metrics
from llmtrace.model import Inference, JsonValue, Operation, Scope, Span, replace
from llmtrace.prices import cost_usd
from llmtrace.recorder import Recorder, Sink, activate, background, deferred
from llmtrace.recorder import context as _context  # noqa: F401
from llmtrace.recorder import feedback as _feedback  # noqa: F401
from llmtrace.recorder.guard import guard
from llmtrace.recorder.identity import Identity
from llmtrace.recorder.resource import describe
from llmtrace.semconv import SCOPE_NAME
from llmtrace.store import Store, open_store
from llmtrace.store.memory import MemoryStore
from llmtrace.version import __version__

if TYPE_CHECKING:
    from llmtrace.evaluation import Evaluator, RunState
    from llmtrace.exporters._sending import Sending
    from llmtrace.signals import AnySignal

logger = logging.getLogger("llmtrace")


@dataclass(slots=True)
class _Running:
    config: Config
    store: Store | None
    others: ForeignSpans | None
    """Takes what other instrumentations record; None where there is no store to put it in."""
    sending: Sending | None = None


_running: _Running | None = None
_lock = threading.Lock()
_at_exit = False


def configure(
    *,
    store: str | os.PathLike[str] | None = None,
    store_headers: Mapping[str, str] | None = None,
    content: ContentLevel | None = None,
    redact: bool | None = None,
    redact_keys: Sequence[str] | None = None,
    redact_paths: Sequence[str] | None = None,
    redact_patterns: Sequence[str] | None = None,
    redact_with: Callable[[str], str] | None = None,
    max_content_bytes: int | None = None,
    max_store_bytes: int | None = None,
    max_store_days: float | None = None,
    on_invalid: OnInvalid | None = None,
    instrument: Sequence[str] | None = None,
    signals: Sequence[str] | None = None,
    vllm_tool_parser: str | None = None,
    prices: Mapping[str, Any] | None = None,
    service_name: str | None = None,
    older_metrics: bool | None = None,
    exporters: Sequence[str] | None = None,
    otlp_profile: Profile | None = None,
    otlp_sample: float | None = None,
    tracer_provider: TracerProvider | None = None,
    **unknown: Any,
) -> None:
    """Turn recording on: a local store, all quality signals, and every installed library that can be instrumented.

    Works without arguments. Each option also has a variable ``LLMTRACE_<OPTION>`` and is described in `Config`;
    ``tracer_provider`` is the OpenTelemetry provider whose spans ours shall be too (default: the global one, once it is
    set; llmtrace sets none). A second call changes the options from then on. Never raises: a wrong option is named in one
    log line and left out; a store that cannot be opened is replaced by memory.
    """
    options = {
        "store": store,
        "store_headers": store_headers,
        "content": content,
        "redact": redact,
        "redact_keys": redact_keys,
        "redact_paths": redact_paths,
        "redact_patterns": redact_patterns,
        "redact_with": redact_with,
        "max_content_bytes": max_content_bytes,
        "max_store_bytes": max_store_bytes,
        "max_store_days": max_store_days,
        "on_invalid": on_invalid,
        "instrument": instrument,
        "signals": signals,
        "vllm_tool_parser": vllm_tool_parser,
        "prices": prices,
        "service_name": service_name,
        "older_metrics": older_metrics,
        "exporters": exporters,
        "otlp_profile": otlp_profile,
        "otlp_sample": otlp_sample,
        **unknown,
    }
    with _lock:
        guard(_configure, Config.read(**options), tracer_provider)


def _configure(config: Config, tracer_provider: TracerProvider | None) -> None:
    global _running, _at_exit
    if tracer_provider is not None and not hasattr(tracer_provider, "get_tracer"):
        logger.warning("llmtrace: configure(tracer_provider=%r): expected a TracerProvider; it is ignored", tracer_provider)
        tracer_provider = None
    before = _running
    sending = guard(_sending, config, tracer_provider)
    kept = before is not None and _same_store(before.config, config) and sending is None and before.sending is None
    opened = before.store if before is not None and kept else _open(config, sending)
    content, resource = Content(config), describe(config.service_name)  # once: their patterns and detectors take 20 ms
    others = None if opened is None else guard(_others, config, opened, tracer_provider, content, resource)
    sinks: list[Sink] = [sink for sink in (opened, others, Metrics(older=config.older_metrics)) if sink is not None]
    if sending is not None:
        sinks += guard(sending.join, opened) or ()
    sinks += exporting.sinks(standard_sinks(config.exporters, tracer_provider), content)
    recorder = build(config, sinks=sinks, tracer_provider=tracer_provider, content=content, resource=resource)
    recorder.foreign_run = None if others is None else others.run_at
    activate(recorder)
    _running = _Running(config, opened, others, sending)
    if before is not None:
        guard(deferred.settle)
        guard(_close, before, kept=opened, again=sending)
    guard(instrumentation.instrument, config.instrument)
    if not _at_exit:
        _at_exit = True
        atexit.register(shutdown)


def _sending(config: Config, tracer_provider: TracerProvider | None) -> Sending | None:
    """The sending by OTLP that is asked for; None where there is none."""
    destination, always = named(config.exporters)
    if destination is None:
        return None
    from llmtrace.exporters._sending import Sending

    return Sending(destination, config, always=always, own=tracer_provider is not None)


def _others(
    config: Config,
    store: Store,
    tracer_provider: TracerProvider | None,
    content: Content,
    resource: Mapping[str, JsonValue],
) -> ForeignSpans:
    """Take the spans that other instrumentations make in this process into the store, too."""
    found = ForeignSpans(Intake(store, content=content, evaluator=_evaluator(config)))
    provider.hand_to(found)
    provider.stand_in(resource)
    provider.listen(tracer_provider)
    provider.listen()
    _SETTING.apply()
    return found


def _set_provider(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    try:
        return wrapped(*args, **kwargs)
    finally:
        guard(provider.listen)


_SETTING = Patches([Patch("opentelemetry.trace", "set_tracer_provider", _set_provider)])


def _close(running: _Running, kept: Store | None = None, again: Sending | None = None) -> None:
    """``again``: goes on sending what ``running`` has not sent, where that stays in a journal."""
    if running.others is not None:
        guard(running.others.close)
    if running.sending is not None:
        from llmtrace.exporters._forwarder import EXIT_SECONDS

        goes_on = again is not None and again.destination.id == running.sending.destination.id and running.sending.journals
        guard(running.sending.close, 0.0 if goes_on else EXIT_SECONDS)
    if running.store is not None and running.store is not kept:
        guard(running.store.close)
    if running.sending is not None:
        guard(running.sending.tidy)


class _LazyEvaluator:
    """An `Evaluator` that imports validation and the quality signals when the first run begins, and not by `configure`.

    While they cannot be imported, since the program has no file descriptor left, runs are recorded and not evaluated.
    """

    def __init__(self, names: tuple[str, ...] | None) -> None:
        self._names = names
        self._evaluator: Evaluator | None = None

    def _load(self) -> Evaluator | None:
        if self._evaluator is None:
            with importing:
                from llmtrace.evaluation import Evaluator
                from llmtrace.signals import load

                self._evaluator = Evaluator(load(self._names))
        return self._evaluator

    @property
    def signals(self) -> tuple[AnySignal, ...]:
        evaluator = guard(self._load)
        return () if evaluator is None else evaluator.signals

    def start(self) -> RunState | None:
        evaluator = guard(self._load)
        return None if evaluator is None else evaluator.start()

    def validate(self, state: RunState | None, span: Span) -> Span:
        return span if state is None or self._evaluator is None else self._evaluator.validate(state, span)

    def evaluate(self, state: RunState | None, span: Span) -> Span:
        return span if state is None or self._evaluator is None else self._evaluator.evaluate(state, span)

    def finish(self, state: RunState | None, span: Span) -> Span:
        return span if state is None or self._evaluator is None else self._evaluator.finish(state, span)


def _evaluator(config: Config) -> Evaluator:
    return cast("Evaluator", _LazyEvaluator(config.signals))


def build(
    config: Config,
    *,
    sinks: Sequence[Sink],
    tracer_provider: TracerProvider | None = None,
    identity: Identity | None = None,
    content: Content | None = None,
    resource: Mapping[str, JsonValue] | None = None,
) -> Recorder:
    """A recorder with all its parts, for `configure` and for tests."""

    def enrich(operation: Operation) -> Operation:
        if not isinstance(operation, Inference):
            return operation
        model = operation.response_model or operation.request_model
        cost = operation.cost_usd
        if cost is None and operation.usage is not None and model is not None:
            cost = cost_usd(operation.provider, model, operation.usage, config.prices or None, operation.request_model)
        return replace(operation, cost_usd=cost, fingerprint=operation.fingerprint or fingerprint(operation))

    recorder = Recorder(
        content=content or Content(config),
        evaluator=_evaluator(config),
        sinks=sinks,
        enrich=enrich,
        resource=describe(config.service_name) if resource is None else resource,
        scope=Scope(SCOPE_NAME, __version__),
        identity=identity,
        tracer_provider=tracer_provider,
        on_invalid=config.on_invalid,
    )
    recorder.signal_names = config.signals
    recorder.vllm_tool_parser = config.vllm_tool_parser
    recorder.renewed = lambda: _evaluator(config)
    background.join(recorder)
    return recorder


def flush() -> None:
    """Hand everything recorded so far to the operating system and send what is to be sent (two seconds at most are waited for
    that); signals in the background are waited for, some seconds at most. Never raises."""
    running = _running
    guard(instrumentation.end_forgotten)
    guard(deferred.settle)
    guard(background.drain)
    if running is not None and running.others is not None:
        guard(running.others.force_flush)
    if running is not None and running.store is not None:
        guard(running.store.flush)
    if running is not None and running.sending is not None:
        guard(running.sending.flush)


def shutdown() -> None:
    """Turn recording off: flush, close the store, take the instrumentation off. Called at exit; never raises."""
    global _running
    guard(deferred.settle)
    guard(background.drain)
    with _lock:
        running, _running = _running, None
        activate(None)
        guard(instrumentation.uninstrument)
        guard(_SETTING.undo)
        guard(provider.hand_to, None)
        guard(provider.step_back)
        if running is not None:
            guard(_close, running)


def _same_store(before: Config, now: Config) -> bool:
    return (before.store, before.max_store_bytes, before.max_store_days) == (
        now.store,
        now.max_store_bytes,
        now.max_store_days,
    )


def _open(config: Config, sending: Sending | None) -> Store | None:
    if config.store == "off":
        return None
    try:
        spool = None if sending is None else sending.spool(config)
        if spool is not None:
            return spool
        return open_store(config.store, config=config)
    except StoreError as error:
        logger.warning("llmtrace: %s; spans are kept in memory and are lost when the program ends", error)
    except Exception as error:
        logger.warning(
            "llmtrace: the store %r could not be opened (%s); spans are kept in memory and are lost when the program ends",
            config.store,
            type(error).__name__,
        )
    return MemoryStore()
