"""The instrumentors as OpenTelemetry's own launcher (``opentelemetry-instrument``) finds them, by entry point.

Each instrumentor is an attribute of this module: ``llmtrace.entry_points:openai``. What the launcher gets has the methods of
its ``BaseInstrumentor`` that it calls; turning one on turns recording on, as ``configure()`` would, with the spans going to
the launcher's provider. Law: none of it raises, so that one that fails never stops the others.

The launcher itself gives up at the first instrumentor that raises, whoever's it is. Where llmtrace is installed it goes on with
the next: it has hooks before (`before`) and after (`after`) it turns them on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Any, Final

from llmtrace import instrumentation, runtime
from llmtrace.instrumentation import Patch, Patches
from llmtrace.recorder import active
from llmtrace.recorder.guard import guard

logger = logging.getLogger("llmtrace")

_LOADING: Final = "load_instrumentor"
_tolerant: list[Patches] = []


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
        guard(instrumentation.enable, [self.name])

    def uninstrument(self, **_: Any) -> None:
        guard(instrumentation.disable, [self.name])


def before() -> None:
    """Called by the launcher before it turns anybody's on: one that fails stops no other, until `after`."""
    guard(_before)


def _before() -> None:
    from opentelemetry.instrumentation import distro

    kinds: list[type[Any]] = [distro.BaseDistro]  # type: ignore[attr-defined]  # the module takes no part in type checks
    for kind in kinds:
        kinds += kind.__subclasses__()
        if _LOADING in vars(kind):
            patches = Patches([Patch(kind.__module__, f"{kind.__qualname__}.{_LOADING}", _alone)])
            patches.apply()
            _tolerant.append(patches)


def after() -> None:
    """Called by the launcher when all are on: it is as it was."""
    while _tolerant:
        guard(_tolerant.pop().undo)


def _alone(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """What the launcher itself passes over (a library that is missing, or in another version) it still gets to know."""
    from opentelemetry.instrumentation.dependencies import DependencyConflictError

    try:
        return wrapped(*args, **kwargs)
    except (DependencyConflictError, ImportError):
        raise
    except Exception:
        name = getattr(args[0] if args else kwargs.get("entry_point"), "name", "an instrumentor")
        logger.exception("llmtrace: instrumenting of %s failed; the others go on", name)


def __getattr__(name: str) -> Callable[[], Instrumentor]:
    if name not in instrumentation.available():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return lambda: Instrumentor(name)
