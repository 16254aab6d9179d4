"""``configure()``: the one place where the parts are joined."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.trace import TracerProvider

from llmtrace import instrumentation
from llmtrace.config import Config, ContentLevel, OnInvalid
from llmtrace.content import Content
from llmtrace.errors import StoreError
from llmtrace.evaluation import Evaluator
from llmtrace.fingerprints import fingerprint
from llmtrace.metrics import Metrics
from llmtrace.model import Inference, Operation, Scope, replace
from llmtrace.prices import cost_usd, preload
from llmtrace.recorder import Recorder, Sink, activate
from llmtrace.recorder.guard import guard
from llmtrace.recorder.identity import Identity
from llmtrace.recorder.resource import describe
from llmtrace.semconv import SCOPE_NAME
from llmtrace.signals import load
from llmtrace.store import Store, open_store
from llmtrace.store.memory import MemoryStore
from llmtrace.version import __version__

logger = logging.getLogger("llmtrace")


@dataclass(slots=True)
class _Running:
    config: Config
    store: Store | None


_running: _Running | None = None
_lock = threading.Lock()
_at_exit = False


def configure(
    *,
    store: str | os.PathLike[str] | None = None,
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
    prices: Mapping[str, Any] | None = None,
    service_name: str | None = None,
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
        "prices": prices,
        "service_name": service_name,
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
    opened = before.store if before is not None and _same_store(before.config, config) else _open(config)
    sinks: list[Sink] = [Metrics()] if opened is None else [opened, Metrics()]
    activate(build(config, sinks=sinks, tracer_provider=tracer_provider))
    _running = _Running(config, opened)
    if before is not None and before.store is not None and before.store is not opened:
        guard(before.store.close)
    guard(instrumentation.instrument, config.instrument)
    preload()
    if not _at_exit:
        _at_exit = True
        atexit.register(shutdown)


def build(
    config: Config,
    *,
    sinks: Sequence[Sink],
    tracer_provider: TracerProvider | None = None,
    identity: Identity | None = None,
) -> Recorder:
    """A recorder with all its parts, for `configure` and for tests."""

    def enrich(operation: Operation) -> Operation:
        if not isinstance(operation, Inference):
            return operation
        model = operation.response_model or operation.request_model
        cost = operation.cost_usd
        if cost is None and operation.usage is not None and model is not None:
            cost = cost_usd(operation.provider, model, operation.usage, config.prices or None)
        return replace(operation, cost_usd=cost, fingerprint=operation.fingerprint or fingerprint(operation))

    return Recorder(
        content=Content(config),
        evaluator=Evaluator(load(config.signals)),
        sinks=sinks,
        enrich=enrich,
        resource=describe(config.service_name),
        scope=Scope(SCOPE_NAME, __version__),
        identity=identity,
        tracer_provider=tracer_provider,
        on_invalid=config.on_invalid,
    )


def flush() -> None:
    """Hand everything recorded so far to the operating system and bring the index up to date. Never raises."""
    running = _running
    guard(instrumentation.end_forgotten)
    if running is not None and running.store is not None:
        guard(running.store.flush)


def shutdown() -> None:
    """Turn recording off: flush, close the store, take the instrumentation off. Called at exit; never raises."""
    global _running
    with _lock:
        running, _running = _running, None
        activate(None)
        guard(instrumentation.uninstrument)
        if running is not None and running.store is not None:
            guard(running.store.close)


def _same_store(before: Config, now: Config) -> bool:
    return (before.store, before.max_store_bytes, before.max_store_days) == (
        now.store,
        now.max_store_bytes,
        now.max_store_days,
    )


def _open(config: Config) -> Store | None:
    if config.store == "off":
        return None
    try:
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
