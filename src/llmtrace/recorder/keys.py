"""Keys of llmtrace in the OpenTelemetry context, and keys of other libraries that it reads."""

from __future__ import annotations

from typing import Final

from opentelemetry import context as otel_context

RECORDING: Final = "llmtrace-recording"
"""The innermost open `Recording`."""
ATTRIBUTES: Final = "llmtrace-attributes"
"""Attributes that every span below inherits: conversation, user, tags."""
OPENED: Final = "llmtrace-opened"
"""Prefix of the key of each open `context` block; its value undoes the innermost one."""
WATCHERS: Final = "llmtrace-watchers"
"""Watchers (budgets) that see every span below."""
GENAI_INFERENCE: Final = "opentelemetry.genai.client.inference.context"
"""Set by the official GenAI instrumentations while one of their inferences is open; they suppress nested ones. Source:
opentelemetry-util-genai 1.3b0."""
SUPPRESS: Final = tuple(
    key for key in (getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", None), "suppress_instrumentation") if key is not None
)
"""Keys that switch recording off: of ``opentelemetry.instrumentation.utils.suppress_instrumentation`` and OpenInference's
``suppress_tracing``. The first is private to OpenTelemetry, so it may be absent."""
JUDGING: Final = "llmtrace-judging"
"""Set while a quality signal of the program runs: spans that it causes are not judged by such signals."""
OUTSIDE: Final = "llmtrace-outside"
"""Set where spans start traces of their own, even under ``llmtrace run``."""
