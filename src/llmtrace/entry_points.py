"""The instrumentors as OpenTelemetry's own launcher (``opentelemetry-instrument``) finds them, by entry point.

Each instrumentor is an attribute of this module: ``llmtrace.entry_points:openai``. What the launcher gets has the methods of
its ``BaseInstrumentor`` that it calls; turning one on turns recording on, as ``configure()`` would, with the spans going to
the launcher's provider. Law: none of it raises, so that one that fails never stops the others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from llmtrace import instrumentation, runtime
from llmtrace.recorder import active
from llmtrace.recorder.guard import guard


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


def __getattr__(name: str) -> Callable[[], Instrumentor]:
    if name not in instrumentation.available():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return lambda: Instrumentor(name)
