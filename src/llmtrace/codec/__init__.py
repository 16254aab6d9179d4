"""From a `Span` to OpenTelemetry attributes and events and back; `genai` is the way in, `otlp` the wire.

Law: ``genai.decode(genai.encode(span)) == span``. A dialect, the writing of another instrumentation, is one more file here.
"""
