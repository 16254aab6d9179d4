"""Where spans end in a benchmark: noop (drop), otlp (encode to OTLP protobuf, drop), memory (keep, to look at)."""

import json

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

KEPT = []


class Noop(SpanExporter):
    def export(self, spans):
        return SpanExportResult.SUCCESS

    def shutdown(self):
        pass

    def force_flush(self, timeout_millis=30000):
        return True


class Otlp(Noop):
    def __init__(self):
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        self._encode = encode_spans

    def export(self, spans):
        self._encode(spans).SerializeToString()
        return super().export(spans)


class Memory(Noop):
    def export(self, spans):
        KEPT.extend(spans)
        return super().export(spans)


def processor(sink):
    return BatchSpanProcessor({"noop": Noop, "otlp": Otlp, "memory": Memory}[sink]())


def provider(sink):
    made = TracerProvider()
    made.add_span_processor(processor(sink))
    trace.set_tracer_provider(made)
    return made


def dump():
    return [json.loads(span.to_json()) for span in KEPT[:200]]
