"""A program with a TracerProvider of its own: it gets every span, by the GenAI conventions, and no content unless you allow it.

    python examples/06_own_tracer_provider.py

In place of the exporter that prints, put the one that sends to your backend. llmtrace adds none and replaces nothing.
"""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

import llmtrace
from stand_in import scripted


def line(span: object) -> str:
    attributes = span.attributes
    return f"  {span.name:15} content: {attributes.get('gen_ai.input.messages', '-')}\n"


provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=line)))
trace.set_tracer_provider(provider)

client = scripted("It is on its way.")

for level in ("local", "all"):
    llmtrace.configure(content=level)  # local is the default: whole in the local store, none elsewhere
    print(f"content={level!r}")
    with trace.get_tracer("shop").start_as_current_span("handle request"):  # llmtrace's spans join yours
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Where is my kettle?"}])
