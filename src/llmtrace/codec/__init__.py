"""Converts a `Span` to OpenTelemetry attributes and events and back. `genai` has `encode` and `decode`, `otlp` the wire format.

Law: ``genai.decode(genai.encode(span)) == span``. `dialects` reads the spans of other instrumentations.
"""
