"""llmtrace in three measures: spans only, all verdicts, all and journal. Content is captured in all but the first."""

import tempfile

from . import _otelsink

VENV = "llmtrace"
provider = None


def setup(sink, **options):
    global provider
    import llmtrace

    provider = _otelsink.provider(sink)
    folder = tempfile.mkdtemp(prefix="llmtrace-bench-")
    llmtrace.configure(**{"store": folder, "content": "all", **options})


def decorate(function, kind):
    import llmtrace

    return llmtrace.tool(function) if kind == "tool" else llmtrace.workflow(function)


def flush():
    provider.force_flush()


def spans():
    return _otelsink.dump()
