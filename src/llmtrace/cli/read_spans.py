"""Reads spans of any instrumentation from a file, in any format of `codec.formats`. ``-`` is stdin.

Law: an unreadable line is reported with its place, and all other lines are read.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from llmtrace.cli import format_text
from llmtrace.cli.options import BadInput
from llmtrace.codec import formats, genai
from llmtrace.codec.dialects import decode
from llmtrace.codec.formats import Skipped, Unreadable
from llmtrace.codec.log_records import LogRecord, add_events
from llmtrace.model import Event, RawSpan, Span, Trace


def read(path: str, progress: Callable[[float], None] | None = None) -> Iterator[Span | LogRecord | Skipped | Unreadable]:
    """Yield the items of `read_raw`, with decoded spans."""
    for item in read_raw(path, progress):
        yield decode(item) if isinstance(item, RawSpan) else item


def read_raw(
    path: str, progress: Callable[[float], None] | None = None
) -> Iterator[RawSpan | LogRecord | Skipped | Unreadable]:
    """Yield every span of a file, each log record that belongs to a span, each record that is understood but not stored, and
    an `Unreadable` for each unreadable line.

    Raises BadInput if the file does not exist, or has neither spans nor their log records. ``progress`` is called with the part
    of the file that was read (0 to 1); for stdin, whose size is unknown, with 0.
    """
    count, bad = 0, ""
    skipped: Counter[Skipped] = Counter()
    with _opened(path) as file:
        size = 0 if progress is None or path == "-" else os.fstat(file.fileno()).st_size
        for item in formats.read(file):
            if progress is not None:
                progress(min(1.0, file.tell() / size) if size else 0.0)
            if isinstance(item, Unreadable):
                bad = bad or f"; {item.where}: {item.reason}"
            elif isinstance(item, Skipped):
                skipped[item] += 1
            else:
                count += 1
            yield item
    if not count and skipped:
        advice = "".join(f" {item.advice}." for item in skipped if item.advice)
        raise BadInput(f"{path} contains no spans, but {name_skipped(skipped)}.\nllmtrace stores spans only.{advice}")
    if not count:
        raise BadInput(f"{path} contains no spans{bad}.\nExpected {formats.EXPECTED}.")


def name_skipped(skipped: Counter[Skipped]) -> str:
    """Return skipped records as text: ``3 Langfuse scores, 1 MLflow assessment``."""
    return ", ".join(format_text.plural(count, item.name) for item, count in skipped.items())


def traces_of(path: str, bad: list[Unreadable] | None = None) -> list[Trace]:
    """Return the traces in a file. Raises BadInput for a line that cannot be read, unless ``bad`` collects them."""
    spans: dict[str, dict[str, Span]] = {}
    records: list[LogRecord] = []
    for item in read(path):
        if isinstance(item, Unreadable):
            if bad is None:
                raise BadInput(f"{path}, {item.where}: {item.reason}.")
            bad.append(item)
        elif isinstance(item, LogRecord):
            records.append(item)
        elif isinstance(item, Span):
            previous = spans.setdefault(item.trace_id, {}).get(item.span_id)
            if previous is None or previous.end is None:  # an ended span replaces its start mark
                spans[item.trace_id][item.span_id] = item
    events: dict[tuple[str, str], list[Event]] = {}
    for record in records:
        events.setdefault((record.trace_id, record.span_id), []).append(record.event)
    for (trace_id, span_id), span_events in events.items():
        span = spans.get(trace_id, {}).get(span_id)
        if span is not None and span.run_id is None:  # decode another writer's span again, with its log records
            spans[trace_id][span_id] = decode(add_events(genai.encode(span), span_events))
    return [Trace(list(of_trace.values())) for of_trace in spans.values()]


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - only opening may be blamed on the user; the block below closes it
    except IsADirectoryError:
        raise BadInput(f"{path} is a folder, not a file of spans.\nName a file; use --store for a store's folder.") from None
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}.") from None
    with file:
        yield file
