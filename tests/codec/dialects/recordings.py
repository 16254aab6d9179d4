"""The recorded spans, by library."""

from __future__ import annotations

from pathlib import Path

from llmtrace.codec import otlp
from llmtrace.codec.dialects import decode
from llmtrace.codec.reconcile import reconcile
from llmtrace.model import RawSpan, Trace

FOLDER = Path(__file__).parent / "recorded"
NAMES = sorted(path.stem for path in FOLDER.glob("*.jsonl") if path.stem != "claude_code")
"""Claude Code's own tools are not the ones of the others; `test_claude_code` reads it."""


def raws_of(name: str) -> list[RawSpan]:
    return [raw for line in (FOLDER / f"{name}.jsonl").read_bytes().splitlines() for raw in otlp.from_json(line)]


def trace_of(name: str) -> Trace:
    return reconcile(Trace([decode(raw) for raw in raws_of(name)]))
