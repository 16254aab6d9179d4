"""vLLM's child processes: they send spans of their start wherever ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`` points, although
nobody asked the engine to trace, and whoever uses llmtrace is likely to have set it for the program.

So while an engine without an endpoint of its own starts its children, the variable is out of their sight. Law: it is back when
the engine is made, or was refused.
"""

from __future__ import annotations

import os
from typing import Any

from llmtrace.recorder import active
from llmtrace.recorder.guard import guard

VARIABLE = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


def starting(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """Wrapper for the functions that start an engine's processes; one of their arguments is its configuration."""
    endpoint = os.environ.get(VARIABLE)
    if endpoint is None or active() is None or guard(_is_traced, args, kwargs) is not False:
        return wrapped(*args, **kwargs)
    del os.environ[VARIABLE]
    try:
        return wrapped(*args, **kwargs)
    finally:
        os.environ.setdefault(VARIABLE, endpoint)


def _is_traced(args: Any, kwargs: dict[str, Any]) -> bool | None:
    """Return True if the engine writes spans; None if that is unknown."""
    for argument in (*kwargs.values(), *args):
        observed = getattr(argument, "observability_config", None)
        if observed is not None:
            return observed.otlp_traces_endpoint is not None
    return None
