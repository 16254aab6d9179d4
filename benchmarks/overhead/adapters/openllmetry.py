"""opentelemetry-instrumentation-openai (OpenLLMetry), no decorators."""

VENV = "openllmetry"
LABEL = "OpenLLMetry instr-openai"
tp = None


def setup(sink):
    global tp
    import os

    os.environ["TRACELOOP_TRACE_CONTENT"] = "true"
    from . import _otelsink

    tp = _otelsink.provider(sink)
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=tp)


def flush():
    tp.force_flush()


def spans():
    from . import _otelsink

    return _otelsink.dump()
