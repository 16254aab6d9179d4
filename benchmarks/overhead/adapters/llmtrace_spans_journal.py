from . import _llmtrace
from ._llmtrace import decorate, flush, spans

VENV = "llmtrace"
LABEL = "llmtrace, spans and journal"
__all__ = ["LABEL", "VENV", "decorate", "flush", "setup", "spans"]


def setup(sink):
    _llmtrace.setup(sink, signals=())
