"""The recorder: the only place that starts and ends spans.

Read it in this order: `recorder` (a span's way), `recording` (an open span), `run` (what lives as long as a run), `otel` (our
span as an OpenTelemetry span), `context` (what reaches the spans below).
"""

from llmtrace.recorder.current import activate, active, current
from llmtrace.recorder.recorder import Recorder, Watcher
from llmtrace.recorder.recording import Recording

__all__ = ["Recorder", "Recording", "Watcher", "activate", "active", "current"]
