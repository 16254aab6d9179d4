"""Recordings as files to keep beside a test: OTLP as JSON lines, as ``llmtrace export`` writes it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from llmtrace.codec import genai, otlp
from llmtrace.config import Config
from llmtrace.errors import ConfigurationError
from llmtrace.model import ToolExecution, Trace
from llmtrace.playback.recorded_run import is_call
from llmtrace.semconv import REPLAY_LIVE
from llmtrace.store import Query, open_store


def read_recording(path: Path) -> list[Trace]:
    """Return the traces of a recording, oldest first. Raises `ConfigurationError` if there is no such file, or
    `UnreadableStore`."""
    if not path.is_file():
        raise ConfigurationError(f"there is no recording {path}; llmtrace to-test and llmtrace export write one")
    with open_store(str(path), config=Config()) as store:
        traces = [store.trace(summary.trace_id) for summary in store.traces(Query(limit=1_000_000))]
    if not traces:
        raise ConfigurationError(f"the recording {path} holds no trace")
    return sorted(traces, key=lambda trace: trace.spans[0].start)


def write_recording(path: Path, traces: Sequence[Trace]) -> None:
    """Write the traces as they are stored, so redacted. The file is replaced as a whole or not at all. Raises OSError."""
    lines = b"".join(otlp.to_json_line([genai.encode(span) for span in trace.spans]).rstrip(b"\n") + b"\n" for trace in traces)
    path = path.resolve()  # keep a symbolic link
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(lines)
            file.flush()
            if path.exists():
                os.chmod(file.name, path.stat().st_mode)
            os.replace(file.name, path)
        except OSError:
            os.unlink(file.name)
            raise


def obstacles(trace: Trace) -> Iterator[str]:
    """List the reasons why a trace cannot be replayed as a whole, one sentence each."""
    for span in trace.spans:
        if span.run_id is None or not is_call(span.operation):
            continue
        name = f"{span.name} [{span.span_id[:8]}]"
        if span.attributes.get(REPLAY_LIVE) is True:
            yield f"{name} was made for real in a replay, so that what came after it mixes two runs"
        elif span.end is None:
            yield f"{name} never ended, so that its outcome is not known"
        elif span.recorded is not None and span.recorded.unusable:
            yield f"the answer of {name} was {span.recorded.unusable}, so that the program cannot be given what it read"
        elif not isinstance(span.operation, ToolExecution) and not (span.recorded and span.recorded.exchanges):
            yield f"the answer of {name} was not recorded as it came (see docs/how_to/replay.md, what can be replayed)"
