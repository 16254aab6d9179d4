"""A context that is current in a ``with`` block.

Law: if a generator holds the block, the garbage collector or another task may close it in another context; that context stays
current.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from llmtrace.recorder.recording import Recording


@contextmanager
def attached(context: Context) -> Iterator[None]:
    token = otel_context.attach(context)
    is_current = True
    try:
        yield
    except GeneratorExit:
        is_current = otel_context.get_current() is context
        raise
    finally:
        if is_current:
            Recording.detach(token)
