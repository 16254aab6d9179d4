"""Floor: bare OTel SDK. decorate = start_as_current_span with 10 attributes; no openai instrumentation."""

import functools
import inspect

VENV = "otel"
LABEL = "bare OTel SDK span, 10 attrs"

tp = tracer = None
ATTRS = {
    f"bench.attr{i}": v for i, v in enumerate(["gpt-4o", "chat", 512, 64, 0.2, True, "tool", "call_1", "session-1", "user-1"])
}


def setup(sink):
    global tp, tracer
    from opentelemetry import trace

    from . import _otelsink

    tp = _otelsink.provider(sink)
    tracer = trace.get_tracer("bench")


def decorate(fn, kind):
    if inspect.iscoroutinefunction(fn):

        @functools.wraps(fn)
        async def aw(*a, **k):
            with tracer.start_as_current_span(fn.__name__) as s:
                for kk, v in ATTRS.items():
                    s.set_attribute(kk, v)
                return await fn(*a, **k)

        return aw

    @functools.wraps(fn)
    def w(*a, **k):
        with tracer.start_as_current_span(fn.__name__) as s:
            for kk, v in ATTRS.items():
                s.set_attribute(kk, v)
            return fn(*a, **k)

    return w


def wrap_client(client):  # floor for an LLM call: one span, 10 attributes, around create() (no content)
    orig = client.chat.completions.create
    client.chat.completions.create = decorate(orig, "llm")
    return client


def flush():
    tp.force_flush()


def spans():
    from . import _otelsink

    return _otelsink.dump()
