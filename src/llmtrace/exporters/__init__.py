"""Exporters: where spans go besides the store. A new sink is one file in this folder, with ``open(argument, content)``.

OTLP is not a sink: the `Forwarder` reads the journal, and nothing else sends. Law: an exporter never waits on the calling
thread or raises into it, and content leaves only if it may (`Content.exports_content`).
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Iterable, Iterator

from llmtrace.content import Content
from llmtrace.errors import ConfigurationError
from llmtrace.model import Sink
from llmtrace.recorder.guard import report

logger = logging.getLogger("llmtrace")

OTLP = "otlp"


def sinks(names: Iterable[str], content: Content, *, strict: bool = False) -> Iterator[Sink]:
    """The sinks by these names (``console``, ``jsonl:PATH``); one that cannot work is named in a log line and left out.

    ``strict``: it raises `ConfigurationError` instead.
    """
    known = available()
    for name in names:
        kind, _, argument = name.partition(":")
        if kind == OTLP:
            continue
        if kind not in known:
            listed = ", ".join([OTLP, *known])
            if strict:
                raise ConfigurationError(f"configure(exporters=[{name!r}]): unknown exporter {kind!r}; expected {listed}")
            logger.warning("llmtrace: exporters: there is no %r; there are %s. It is left out", kind, listed)
            continue
        try:
            sink: Sink = importlib.import_module(f"{__name__}.{kind}").open(argument, content)
        except ValueError as error:
            if strict:
                raise ConfigurationError(f"configure(exporters=[{name!r}]): {error}") from None
            logger.warning("llmtrace: exporters: %s: %s. It is left out", kind, error)
        except Exception as error:
            report(sinks, error)
        else:
            yield sink


def available() -> list[str]:
    """The names of the sinks."""
    names = sorted(module_info.name for module_info in pkgutil.iter_modules(__path__))
    return [name for name in names if name != OTLP and not name.startswith("_")]
