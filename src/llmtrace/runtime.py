"""``configure()``: the one place where the parts are joined."""

from __future__ import annotations

import atexit
import dataclasses
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import TracerProvider

from llmtrace import exporters as exporting
from llmtrace import installed, instrumentation
from llmtrace.config import Config, ContentLevel, OnInvalid, PersonalData, Profile, Unattended, suggest_keywords
from llmtrace.content import Content
from llmtrace.content.keys import words as key_words
from llmtrace.content.paths import parse_path
from llmtrace.errors import ConfigurationError, StoreError
from llmtrace.exporters.forwarding.destination import Destination, is_enabled, named, standard_sinks
from llmtrace.external import tracer_provider as external_provider
from llmtrace.external.processor import ExternalSpans
from llmtrace.fingerprints import fingerprint
from llmtrace.guards import budget as _budget  # noqa: F401 - what a program may use first when it has no descriptor left …
from llmtrace.guards import slo as _slo  # noqa: F401 - … to import it with
from llmtrace.instrumentation import Patch, Patches
from llmtrace.laws import names as signal_names
from llmtrace.laws import user_signals
from llmtrace.locks import collection_paused, finish_imports, fork_safe_lock, importing
from llmtrace.metrics import Metrics
from llmtrace.model import Inference, JsonValue, Scope, Sink, replace
from llmtrace.near_names import most_like
from llmtrace.prices import cost_of
from llmtrace.recorder import Recorder, activate, background, collected
from llmtrace.recorder import context as _context  # noqa: F401
from llmtrace.recorder import feedback as _feedback  # noqa: F401
from llmtrace.recorder import open_span as _open_span  # noqa: F401
from llmtrace.recorder.guard import guard, report
from llmtrace.recorder.hooks import Hooks
from llmtrace.recorder.identity import Identity
from llmtrace.recorder.repository import WorkingTree
from llmtrace.recorder.resource import describe, program_folder
from llmtrace.semconv import SCOPE_NAME
from llmtrace.store import Store, open_store
from llmtrace.store.memory import MemoryStore
from llmtrace.version import __version__

if TYPE_CHECKING:
    from llmtrace.evaluation import Evaluator
    from llmtrace.exporters.forwarding.forwarder import Forwarder
    from llmtrace.external.ingest import Ingestor
    from llmtrace.model.reviews import Decision, ReviewRequest

logger = logging.getLogger("llmtrace")


@dataclasses.dataclass(slots=True)
class _Running:
    config: Config
    store: Store | None
    external: ExternalSpans | None
    """Takes the spans of other instrumentations; None without a store to put them in."""
    forwarder: Forwarder | None = None


_running: _Running | None = None
_lock = fork_safe_lock()
_at_exit = False
_only_store: str | None = None
"""See `record_only_into`."""
FLUSH_SECONDS = 5.0
"""How long `flush` waits by default."""


@suggest_keywords
def configure(
    *,
    store: str | os.PathLike[str] | None = None,
    store_headers: Mapping[str, str] | None = None,
    content: ContentLevel | None = None,
    redact: bool | str | Sequence[PersonalData] | None = None,
    redact_keys: Sequence[str] | None = None,
    redact_paths: Sequence[str] | None = None,
    redact_patterns: Sequence[str] | None = None,
    redact_with: Callable[[str], str] | None = None,
    replayable: bool | None = None,
    fingerprint_env: Sequence[str] | None = None,
    max_content_bytes: int | None = None,
    issues: str | os.PathLike[str] | None = None,
    max_store_bytes: int | None = None,
    max_store_days: float | None = None,
    on_invalid: OnInvalid | None = None,
    notify: Callable[[ReviewRequest], Decision | None] | str | None = None,
    review_timeout: float | None = None,
    review_wait: float | None = None,
    review_terminal: bool | None = None,
    unattended: Unattended | None = None,
    receipt_reads: int | None = None,
    instrument: Sequence[str] | None = None,
    signals: Sequence[str] | None = None,
    vllm_tool_parser: str | None = None,
    request_id_hosts: Sequence[str] | None = None,
    prices: Mapping[str, Any] | None = None,
    service_name: str | None = None,
    older_metrics: bool | None = None,
    exporters: Sequence[str] | None = None,
    otlp_profile: Profile | None = None,
    otlp_sample: float | None = None,
    tracer_provider: TracerProvider | None = None,
) -> None:
    """Turn recording on: a local store, all quality signals, and every installed library that can be instrumented.

    Works without arguments. Each option also has a variable ``LLMTRACE_<OPTION>`` and is described in `Config`; None counts as
    not set. ``tracer_provider``: the OpenTelemetry provider that gets our spans too (default: the global one, once it is set;
    llmtrace sets none). A second call replaces all options from then on.

    Raises TypeError for an unknown option and `ConfigurationError` for a wrong value; recording stays then as it was. A wrong
    LLMTRACE_* variable is logged in one line and ignored, and a store that cannot be opened is replaced by memory.
    """
    options = dict(locals())  # of all parameters, which a test compares with the fields of `Config`
    del options["tracer_provider"]
    config = Config.read(**options)
    arguments = frozenset(name for name, value in options.items() if value is not None)
    with _lock:
        try:
            with importing, collection_paused():  # a fork waits until it is done
                _configure(config, tracer_provider, arguments)
        except ConfigurationError:
            raise
        except Exception as error:
            report(configure, error)


def record_only_into(url: str | None) -> None:
    """From the next `configure` on, record into this store only, whatever the program says, and send nothing anywhere."""
    global _only_store
    _only_store = url


def _configure(config: Config, tracer_provider: TracerProvider | None, arguments: frozenset[str]) -> None:
    """``arguments``: the options that code set, not variables. A wrong one raises before anything changes."""
    global _running, _at_exit
    check_values(config, arguments, tracer_provider)
    if _only_store is not None:
        config = dataclasses.replace(config, store=_only_store, exporters=())
    strict = "exporters" in arguments
    exporters = list(exporting.sinks(standard_sinks(config.exporters, tracer_provider), Content(config), strict=strict))
    before = _running
    destination, always = (guard(named, config.exporters) if _only_store is None else None) or (None, False)
    is_sent = destination is not None or (before is not None and before.forwarder is not None)
    if before is not None and _same_store(before.config, config) and not is_sent:
        store = before.store
    else:
        store = _open(config, only_sends=destination is not None, strict="store" in arguments)
    content, resource = Content(config), describe(config.service_name, env=config.fingerprint_env)
    external = None if store is None else guard(_external, config, store, content, resource, tracer_provider)
    sinks: list[Sink] = [sink for sink in (store, external, Metrics(older=config.older_metrics)) if sink is not None]
    forwarder: Forwarder | None = None
    if destination is not None:
        own_provider = tracer_provider is not None
        forwarding = guard(_forward, destination, config, store, always=always, own_provider=own_provider)
        if forwarding is not None:
            forwarder = forwarding[0]
            sinks += forwarding[1]
    tree = None if store is None else WorkingTree(program_folder())
    hooks = Hooks(
        external_run=None if external is None else external.run_at,
        place_in=None if external is None else external.place_in,
        external_conversation=None if external is None else external.conversation_at,
        make_replay_key=store.replay_key if config.replayable and store is not None and not store.is_remote else None,
        working_tree=tree,
        review_store=store,
    )
    recorder = build(
        config,
        sinks=[*sinks, *exporters],
        tracer_provider=tracer_provider,
        content=content,
        resource=resource,
        hooks=hooks,
    )
    if tree is not None:
        guard(tree.read_in_background)
    activate(recorder)
    _running = _Running(config, store, external, forwarder)
    if before is not None:
        guard(collected.settle)
        guard(_close, before, keep=store, successor=forwarder)
    guard(instrumentation.enable, config.instrument)
    guard(instrumentation.warn_of_absent, config.instrument or ())
    if not _at_exit:
        _at_exit = True
        atexit.register(_end)


def check_values(config: Config, arguments: Collection[str], tracer_provider: object = None) -> None:
    """Raise `ConfigurationError` for names and rules among ``arguments`` that `Config` cannot judge."""
    if tracer_provider is not None and not hasattr(tracer_provider, "get_tracer"):
        raise ConfigurationError(f"configure(tracer_provider={tracer_provider!r}): expected an OpenTelemetry TracerProvider")
    if "signals" in arguments:
        known_signals = (*signal_names(), *user_signals.registered)
        hint = "; a signal of your own is registered before configure() is called"
        _check_names("signals", [name.removeprefix("-") for name in config.signals or ()], known_signals, hint)
    if "instrument" in arguments:
        _check_names("instrument", config.instrument or (), instrumentation.available())
    if "exporters" in arguments:
        for exporter in config.exporters or ():
            if exporter.startswith("otlp:") and is_enabled():
                _check_destination(exporter)
    for option in _RULES.keys() & arguments:
        for rule in getattr(config, option):
            try:
                _RULES[option](rule)
            except (ValueError, re.error) as error:
                raise ConfigurationError(f"configure({option}=[{rule!r}]): this rule cannot be used: {error}") from None


def _check_destination(exporter: str) -> None:
    destination, _ = named([exporter])
    if destination is None:
        raise ConfigurationError(
            f"configure(exporters=[{exporter!r}]): expected the address of a collector, as in 'otlp:http://localhost:4318'"
        )
    if destination.protocol == "grpc" and not installed.has_grpc():
        raise ConfigurationError(f"configure(exporters=[{exporter!r}]): {installed.NO_GRPC}")


def _check_names(option: str, names: Sequence[str], available: Sequence[str], hint: str = "") -> None:
    for name in names:
        if name not in available:
            near = most_like(name, available)
            choices = f"did you mean {near!r}?" if near else f"expected some of {', '.join(available)}"
            raise ConfigurationError(f"configure({option}=[{name!r}]): {choices}{hint}")


def _check_key(rule: str) -> None:
    if not key_words(rule):
        raise ValueError("expected a key name such as 'ssn'")


_RULES: dict[str, Callable[[Any], object]] = {
    "redact_keys": _check_key,
    "redact_paths": parse_path,
    "redact_patterns": re.compile,
}


def _forward(
    destination: Destination, config: Config, store: Store | None, *, always: bool, own_provider: bool
) -> tuple[Forwarder, tuple[Sink, ...]]:
    """Import the forwarder, which only a program that sends needs, and start it."""
    from llmtrace.exporters.forwarding.sending import forward

    return forward(destination, config, store, always=always, own_provider=own_provider)


def _external(
    config: Config,
    store: Store,
    content: Content,
    resource: Mapping[str, JsonValue],
    tracer_provider: TracerProvider | None,
) -> ExternalSpans:
    """Take the spans that other instrumentations make in this process into the store, too."""

    def make_ingestor() -> Ingestor:
        with importing:
            from llmtrace.external.ingest import Ingestor

        return Ingestor(store, content=content, prices=config.prices or None, make_evaluator=lambda: _make_evaluator(config))

    spans = ExternalSpans(make_ingestor)
    external_provider.forward_to(spans)
    external_provider.record_proxies(resource)
    external_provider.listen(tracer_provider)
    external_provider.listen()
    _SETTING.apply()
    return spans


def _set_provider(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    try:
        return wrapped(*args, **kwargs)
    finally:
        guard(external_provider.listen)


_SETTING = Patches([Patch("opentelemetry.trace", "set_tracer_provider", _set_provider, is_plain=True)])


def _close(running: _Running, keep: Store | None = None, successor: Forwarder | None = None) -> None:
    """``keep``: a store that stays open. ``successor``: sends what ``running`` has not sent, if that stays in a journal."""
    if running.external is not None:
        guard(running.external.close)
    if running.forwarder is not None:
        from llmtrace.exporters.forwarding.forwarder import EXIT_SECONDS

        journaled_for = running.forwarder.destination.id if running.forwarder.journals else None
        goes_on = successor is not None and successor.destination.id == journaled_for
        guard(running.forwarder.close, 0.0 if goes_on else EXIT_SECONDS)
    if running.store is not None and running.store is not keep:
        guard(running.store.close)
    if running.forwarder is not None:
        guard(running.forwarder.tidy)


def _make_evaluator(config: Config) -> Evaluator:
    """Import validation and the quality signals. The first span needs them, `configure` does not."""
    with importing:
        from llmtrace.evaluation import Evaluator
        from llmtrace.laws import load

        return Evaluator(load(config.signals))


def build(
    config: Config,
    *,
    sinks: Sequence[Sink],
    tracer_provider: TracerProvider | None = None,
    identity: Identity | None = None,
    content: Content | None = None,
    resource: Mapping[str, JsonValue] | None = None,
    hooks: Hooks | None = None,
) -> Recorder:
    """A recorder with all its parts, for `configure` and for tests."""

    def enrich(inference: Inference) -> Inference:
        return replace(
            inference,
            fingerprint=inference.fingerprint or fingerprint(inference),
            cost_usd=cost_of(inference, config.prices or None) if inference.cost_usd is None else inference.cost_usd,
        )

    recorder = Recorder(
        config,
        content=content or Content(config),
        make_evaluator=lambda: _make_evaluator(config),
        sinks=sinks,
        hooks=(hooks or Hooks())._replace(enrich=enrich),
        resource=describe(config.service_name, env=config.fingerprint_env) if resource is None else resource,
        scope=Scope(SCOPE_NAME, __version__),
        identity=identity,
        tracer_provider=tracer_provider,
    )
    background.join(recorder)
    return recorder


def flush(timeout: float = FLUSH_SECONDS) -> bool:
    """Hand over everything recorded so far, and return True if that was done within ``timeout`` seconds (default 5).

    That is: written to the store, judged by the signals that run in the background, and taken by the OTLP endpoint, where there
    is one. False: some of it waits; it is not lost, and is handed over later. Not needed in normal use: each finished span is
    with the operating system already. A TracerProvider of your own has its own ``force_flush``. Raises only
    `ConfigurationError`, for a timeout that is not a number of 0 or more.
    """
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout >= 0:
        raise ConfigurationError(f"flush(timeout={timeout!r}): expected seconds, 0 or more")
    deadline = time.monotonic() + timeout
    running = _running

    def remaining() -> float:
        return max(0.0, deadline - time.monotonic())

    is_ended = guard(collected.settle, remaining())
    is_judged = guard(background.drain, remaining()) and is_ended
    if running is None:
        return bool(is_judged)
    if running.external is not None:
        guard(running.external.force_flush)
    if running.store is not None:
        guard(running.store.flush)
    is_written = running.store is None or not guard(running.store.has_unwritten)
    is_sent = running.forwarder is None or guard(running.forwarder.flush, remaining())
    return bool(is_judged and is_written and is_sent)


def recorded_store() -> Store | None:
    """Return the store that this program records into; None if it keeps no traces."""
    return None if _running is None else _running.store


def shutdown() -> None:
    """Turn recording off: flush, close the store, take the instrumentation off. Never raises."""
    global _running
    guard(collected.settle)
    settle_receipts()
    guard(background.drain_at_exit)
    with _lock:
        running, _running = _running, None
        activate(None)
        guard(instrumentation.disable)
        guard(_SETTING.undo)
        guard(external_provider.forward_to, None)
        guard(external_provider.restore_proxies)
    if running is not None:
        guard(_close, running)


def _end() -> None:
    """Flush and close when the program ends, and go on recording: other exit handlers, and destructors, run after this one.

    Their spans open the journal again. They are sent by the next program with the same destination.
    """
    guard(instrumentation.end_streams)
    guard(collected.settle)
    settle_receipts()
    guard(background.drain_at_exit)
    running = _running
    if running is not None:
        guard(_close, running)
    guard(finish_imports)


def settle_receipts(recorder: Recorder | None = None) -> None:
    """Settle the receipts that are pending. ``recorder``: only of the changes that it recorded."""
    module = sys.modules.get("llmtrace.guards.late_receipts")  # imported with the first one
    if module is not None:
        guard(module.late_receipts.settle_all, recorder)


def _same_store(before: Config, now: Config) -> bool:
    return (before.store, before.max_store_bytes, before.max_store_days) == (
        now.store,
        now.max_store_bytes,
        now.max_store_days,
    )


def _open(config: Config, *, only_sends: bool, strict: bool) -> Store | None:
    """``strict``: a URL that no store understands raises `ConfigurationError`."""
    if config.store == "off":
        return None
    try:
        if only_sends:
            from llmtrace.exporters.forwarding.sending import send_queue

            if (queue := send_queue(config)) is not None:
                return queue
        return open_store(config.store, config=config)
    except ConfigurationError as error:
        if strict:
            raise
        logger.warning("llmtrace: %s; spans are kept in memory and are lost when the program ends", error)
    except StoreError as error:
        logger.warning("llmtrace: %s; spans are kept in memory and are lost when the program ends", error)
    except Exception as error:
        logger.warning(
            "llmtrace: the store %r could not be opened (%s); spans are kept in memory and are lost when the program ends",
            config.store,
            type(error).__name__,
        )
    return MemoryStore()
