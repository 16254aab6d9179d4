"""llmtrace: records what an LLM agent did, checks each step as it happens, walks back from a wrong answer to its cause.

Public names only. Each is imported when it is first used, so that ``import llmtrace`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from llmtrace.version import __version__

if TYPE_CHECKING:
    from llmtrace.decorators.operations import agent, span, workflow
    from llmtrace.decorators.signal import signal
    from llmtrace.decorators.tool_function import tool
    from llmtrace.guards.budget import Budget, budget
    from llmtrace.guards.slo import slo
    from llmtrace.recorder.context import context, extract, inject, wrap
    from llmtrace.recorder.feedback import feedback
    from llmtrace.recorder.outcome import outcome
    from llmtrace.runtime import configure, flush, shutdown
    from llmtrace.tools import Tools

_HOME = {
    "Budget": "llmtrace.guards.budget",
    "Tools": "llmtrace.tools",
    "agent": "llmtrace.decorators.operations",
    "budget": "llmtrace.guards.budget",
    "configure": "llmtrace.runtime",
    "context": "llmtrace.recorder.context",
    "extract": "llmtrace.recorder.context",
    "feedback": "llmtrace.recorder.feedback",
    "flush": "llmtrace.runtime",
    "inject": "llmtrace.recorder.context",
    "outcome": "llmtrace.recorder.outcome",
    "shutdown": "llmtrace.runtime",
    "signal": "llmtrace.decorators.signal",
    "slo": "llmtrace.guards.slo",
    "span": "llmtrace.decorators.operations",
    "tool": "llmtrace.decorators.tool_function",
    "workflow": "llmtrace.decorators.operations",
    "wrap": "llmtrace.recorder.context",
}

__all__ = [
    "Budget",
    "Tools",
    "__version__",
    "agent",
    "budget",
    "configure",
    "context",
    "extract",
    "feedback",
    "flush",
    "inject",
    "outcome",
    "shutdown",
    "signal",
    "slo",
    "span",
    "testing",
    "tool",
    "workflow",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name in ("testing", "errors"):
        return importlib.import_module(f"llmtrace.{name}")
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'llmtrace' has no attribute {name!r}")
    found = getattr(importlib.import_module(home), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
