from . import _llmtrace
from ._llmtrace import decorate, flush, spans

VENV = "llmtrace"
LABEL = "llmtrace: store on, content kept"
__all__ = ["LABEL", "VENV", "decorate", "flush", "setup", "spans"]


def setup(sink):
    _llmtrace.setup(sink)
