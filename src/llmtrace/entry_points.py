"""The instrumentors as OpenTelemetry's own launcher (``opentelemetry-instrument``) finds them, by entry point.

Each instrumentor is an attribute of this module: ``llmtrace.entry_points:openai``. What the launcher gets has the methods of
its ``BaseInstrumentor`` that it calls; turning one on turns recording on, as ``configure()`` would, with the spans going to
the launcher's provider. Law: none of it raises, so that one that fails never stops the others.

The launcher itself gives up at the first instrumentor that raises, whoever's it is. So ours are turned on ahead of them all,
at the hook that it has for this (`ahead`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from importlib.metadata import entry_points
from typing import Any, Final

from llmtrace import instrumentation, runtime
from llmtrace.recorder import active
from llmtrace.recorder.guard import guard

GROUP: Final = "opentelemetry_instrumentor"
_DISABLED: Final = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"


class Instrumentor:
    """One instrumentor, by its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def instrumentation_dependencies(self) -> Collection[str]:
        """None: a library that is not there is simply not patched."""
        return ()

    def instrument(self, **options: Any) -> None:
        """Turn recording on, if it is not, and this instrumentor with it. ``tracer_provider``: default, the global one."""
        if active() is None:
            runtime.configure(instrument=(), tracer_provider=options.get("tracer_provider"))
        guard(instrumentation.instrument, [self.name])

    def uninstrument(self, **_: Any) -> None:
        guard(instrumentation.uninstrument, [self.name])


def ahead() -> None:
    """Turn ours on before the launcher comes to anybody's, but for those that the user disabled. One whose library somebody
    else instruments too waits for its turn: the later of two wrappers is the outer one, and decides."""
    guard(_ahead)


def _ahead() -> None:
    disabled = {name.strip() for name in os.environ.get(_DISABLED, "").split(",")}
    if "*" in disabled:
        return
    others = {one.name.replace("-", "_") for one in entry_points(group=GROUP)}
    for name in instrumentation.available():
        if f"llmtrace-{name}" not in disabled and name not in others:
            Instrumentor(name).instrument()


def __getattr__(name: str) -> Callable[[], Instrumentor]:
    if name not in instrumentation.available():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return lambda: Instrumentor(name)
