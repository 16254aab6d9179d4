"""llmtrace: records what an LLM agent did, checks each step as it happens, walks back from a wrong answer to its cause.

Public names only. Each is imported when it is first used, so that ``import llmtrace`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from llmtrace.locks import collection_paused, importing
from llmtrace.version import __version__

if TYPE_CHECKING:
    from llmtrace.decorators.manual import inference, retrieval
    from llmtrace.decorators.operations import agent, span, workflow
    from llmtrace.decorators.signal import signal
    from llmtrace.decorators.tool_function import tool
    from llmtrace.fingerprints import prompt
    from llmtrace.guards.budget import Budget
    from llmtrace.guards.checkpoint import checkpoint
    from llmtrace.guards.review import review
    from llmtrace.guards.slo import slo
    from llmtrace.guards.validated import validated
    from llmtrace.instrumentation import instrument
    from llmtrace.model.receipts import Receipt
    from llmtrace.model.reviews import Decision
    from llmtrace.opened_store import last, open_store
    from llmtrace.playback import replay
    from llmtrace.playback.replay_block import resume, resume_review
    from llmtrace.recorder.context import context, extract, inject, suppress, wrap
    from llmtrace.recorder.feedback import feedback
    from llmtrace.recorder.open_span import current_span
    from llmtrace.recorder.outcome import outcome
    from llmtrace.runtime import configure, flush, shutdown
    from llmtrace.testing.cases import cases
    from llmtrace.tools import Tools

_HOME = {
    "Budget": "llmtrace.guards.budget",
    "Decision": "llmtrace.model.reviews",
    "Receipt": "llmtrace.model.receipts",
    "Tools": "llmtrace.tools",
    "agent": "llmtrace.decorators.operations",
    "cases": "llmtrace.testing.cases",
    "checkpoint": "llmtrace.guards.checkpoint",
    "configure": "llmtrace.runtime",
    "context": "llmtrace.recorder.context",
    "current_span": "llmtrace.recorder.open_span",
    "extract": "llmtrace.recorder.context",
    "feedback": "llmtrace.recorder.feedback",
    "flush": "llmtrace.runtime",
    "inference": "llmtrace.decorators.manual",
    "inject": "llmtrace.recorder.context",
    "instrument": "llmtrace.instrumentation",
    "last": "llmtrace.opened_store",
    "open_store": "llmtrace.opened_store",
    "outcome": "llmtrace.recorder.outcome",
    "prompt": "llmtrace.fingerprints",
    "replay": "llmtrace.playback",
    "resume": "llmtrace.playback.replay_block",
    "resume_review": "llmtrace.playback.replay_block",
    "retrieval": "llmtrace.decorators.manual",
    "review": "llmtrace.guards.review",
    "shutdown": "llmtrace.runtime",
    "signal": "llmtrace.decorators.signal",
    "slo": "llmtrace.guards.slo",
    "span": "llmtrace.decorators.operations",
    "suppress": "llmtrace.recorder.context",
    "tool": "llmtrace.decorators.tool_function",
    "validated": "llmtrace.guards.validated",
    "workflow": "llmtrace.decorators.operations",
    "wrap": "llmtrace.recorder.context",
}

__all__ = [
    "Budget",
    "Decision",
    "Receipt",
    "Tools",
    "__version__",
    "agent",
    "cases",
    "checkpoint",
    "configure",
    "context",
    "current_span",
    "extract",
    "feedback",
    "flush",
    "inference",
    "inject",
    "instrument",
    "last",
    "open_store",
    "outcome",
    "prompt",
    "replay",
    "resume",
    "resume_review",
    "retrieval",
    "review",
    "reviews",
    "shutdown",
    "signal",
    "slo",
    "span",
    "suppress",
    "testing",
    "tool",
    "validated",
    "workflow",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name in ("testing", "errors", "reviews"):
        return importlib.import_module(f"llmtrace.{name}")
    module = _HOME.get(name)
    if module is None:
        from llmtrace import errors

        hint = f"; it is llmtrace.errors.{name}" if isinstance(getattr(errors, name, None), type) else ""
        raise AttributeError(f"module 'llmtrace' has no attribute {name!r}{hint}")
    with importing, collection_paused():  # a fork waits until it is done
        member = getattr(importlib.import_module(module), name)
    globals()[name] = member
    return member


def __dir__() -> list[str]:
    return sorted(__all__)
