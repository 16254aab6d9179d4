"""openinference-instrumentation-openai + OITracer decorators."""

VENV = "openinference"
LABEL = "openinference-openai"
tp = tr = None


def setup(sink):
    global tp, tr
    from . import _otelsink

    tp = _otelsink.provider(sink)
    from openinference.instrumentation import OITracer, TraceConfig
    from openinference.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=tp)
    tr = OITracer(tp.get_tracer("bench"), config=TraceConfig())


def decorate(fn, kind):
    return tr.tool(fn) if kind == "tool" else tr.chain(fn)


def flush():
    tp.force_flush()


def spans():
    from . import _otelsink

    return _otelsink.dump()
