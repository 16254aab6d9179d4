"""The instrumentors for OpenTelemetry's launcher (``opentelemetry-instrument``), which finds them by entry point.

Each instrumentor is an attribute of this module: ``llmtrace.entry_points:openai``. It has the methods of ``BaseInstrumentor``
that the launcher calls. Turning one on also turns recording on, as ``configure()`` would, with spans going to the launcher's
provider. Law: none of it raises.

The launcher itself stops at the first instrumentor that raises, of any package. Where llmtrace is installed, it goes on with
the next: the launcher calls `before` and `after` around turning them on.
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
    """An instrumentor of llmtrace, by its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return nothing: a library that is not installed is simply not patched."""
        return ()

    def instrument(self, **options: Any) -> None:
        """Turn recording on, if it is not, and this instrumentor with it. ``tracer_provider``: default, the global one."""
        if active() is None:
            runtime.configure(instrument=(), tracer_provider=options.get("tracer_provider"))
        guard(instrumentation.enable, [self.name])

    def uninstrument(self, **_: Any) -> None:
        guard(instrumentation.disable, [self.name])


def before() -> None:
    """Called by the launcher before it turns instrumentors on: from now until `after`, one that raises does not stop the
    others."""
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
    """Called by the launcher when all are on: undo `before`."""
    while _tolerant:
        guard(_tolerant.pop().undo)


def _alone(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """Load one instrumentor; log its error, except those that the launcher handles itself (missing library, other version)."""
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
