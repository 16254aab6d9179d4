"""opentelemetry-instrumentation-openai-v2, content on span attributes."""

VENV = "otelv2"
LABEL = "OTel openai-v2"
tp = None


def setup(sink):
    global tp
    import os

    os.environ.update(
        OTEL_SEMCONV_STABILITY_OPT_IN="gen_ai_latest_experimental",
        OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT="SPAN_ONLY",
    )
    from . import _otelsink

    tp = _otelsink.provider(sink)
    from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=tp)


def flush():
    tp.force_flush()


def spans():
    from . import _otelsink

    return _otelsink.dump()
