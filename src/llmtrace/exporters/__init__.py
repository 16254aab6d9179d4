"""Send spans to places beside the store. A new exporter is a file in this folder with ``open(argument, content) -> Sink``.

Other packages add exporters by entry points of the group ``llmtrace.exporters``: the exporter's name, and such a function. OTLP
is not a sink: `forwarding` reads the journal, and is the only sender. Law: an exporter never waits on the calling thread or
raises into it, and content leaves only if it may (`Content.exports_content`).
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Iterable, Iterator

from llmtrace import installed
from llmtrace.content import Content
from llmtrace.errors import ConfigurationError
from llmtrace.model import Sink
from llmtrace.recorder.guard import report

logger = logging.getLogger("llmtrace")

GROUP = "llmtrace.exporters"
OTLP = "otlp"


def sinks(names: Iterable[str], content: Content, *, strict: bool = False) -> Iterator[Sink]:
    """Open the exporters with these names (``console``, ``jsonl:PATH``). One that cannot be opened is logged and skipped.

    ``strict``: raise `ConfigurationError` for it instead.
    """
    for name in names:
        kind, _, argument = name.partition(":")
        if kind == OTLP:
            continue
        try:
            yield _open(kind, argument, content)
        except ValueError as error:
            if strict:
                raise ConfigurationError(f"configure(exporters=[{name!r}]): {error}") from None
            logger.warning("llmtrace: exporter %r is ignored: %s", name, error)
        except Exception as error:
            report(sinks, error)


def _open(kind: str, argument: str, content: Content) -> Sink:
    """Open an exporter. Raises ValueError for an unknown exporter, and for an argument that the exporter cannot use."""
    if kind in _built_in():
        sink: Sink = importlib.import_module(f"{__name__}.{kind}").open(argument, content)
        return sink
    for entry in installed.entries(GROUP, _built_in()):
        if entry.name == kind:
            open_exporter = installed.load(entry)
            if open_exporter is None:
                raise ValueError(f"the package of {entry.value} cannot be loaded")
            sink = open_exporter(argument, content)
            if not isinstance(sink, Sink):
                raise ValueError(f"{entry.value} returned {type(sink).__name__}, not a llmtrace.model.Sink")
            return sink
    raise ValueError(f"unknown exporter {kind!r}; expected {', '.join([OTLP, *available()])}")


def available() -> list[str]:
    """Return the names of all exporters except OTLP, built-in and installed."""
    return [*_built_in(), *(entry.name for entry in installed.entries(GROUP, _built_in()))]


def _built_in() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)
