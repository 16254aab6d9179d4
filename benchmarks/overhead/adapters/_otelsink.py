"""Where spans end in a benchmark: otlp (encode to OTLP protobuf bytes, as every exporter does), memory (keep, to look at)."""

import json

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

KEPT = []


class Otlp(SpanExporter):
    """Encodes each batch, and drops the bytes instead of sending them."""

    def __init__(self):
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        self._encode = encode_spans

    def export(self, spans):
        self._encode(spans).SerializeToString()
        return SpanExportResult.SUCCESS

    def shutdown(self):
        pass

    def force_flush(self, timeout_millis=30000):
        return True


class Memory(Otlp):
    def export(self, spans):
        KEPT.extend(spans)
        return super().export(spans)


def exporter(sink):
    return {"otlp": Otlp, "memory": Memory}[sink]()


def processor(sink):
    return BatchSpanProcessor(exporter(sink))


def provider(sink):
    made = TracerProvider()
    made.add_span_processor(processor(sink))
    trace.set_tracer_provider(made)
    return made


def dump():
    return [json.loads(span.to_json()) for span in KEPT[:200]]
