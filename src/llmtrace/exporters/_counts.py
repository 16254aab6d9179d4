"""What became of the spans that were to be sent: one file a destination, to which every program of the user adds.

Law: the numbers are honest: a span is counted as sent when the other side said so, and every one that is left out, for whatever
reason, is counted there and said in a log line, once a minute at most.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from dataclasses import dataclass, field, fields
from pathlib import Path

from llmtrace.store import locks

logger = logging.getLogger("llmtrace")

QUIET_SECONDS = 60.0
FILE = "counts.json"


@dataclass
class Counts:
    sent: int = 0
    """Spans that the other side took."""
    bytes: int = 0
    batches: int = 0
    split: int = 0
    """Requests that were too large and went in halves."""
    shrunk: int = 0
    """Cuts of a span that was too large alone."""
    refused: int = 0
    """Spans that the other side does not want: left out."""
    lost: int = 0
    """Spans that were gone before they could be sent: the journal's bounds, or no disk and too little memory."""
    sampled_out: int = 0
    """Spans of healthy traces that sampling left out."""
    traces_kept: int = 0
    """Traces that sampling let pass, for any reason."""
    traces_left: int = 0
    traces_late: int = 0
    """Traces that sampling had left out and that went bad later: what is still in the journal was sent after all."""
    interrupted: int = 0
    """Open spans of programs that died, sent as such."""
    failures: int = 0
    """Requests that came to nothing, to be tried again."""
    why: str = field(default="", repr=False)
    """Why the last request came to nothing; empty once one was taken."""
    said: dict[str, float] = field(default_factory=dict, repr=False)

    def refuse(self, number: int, why: str) -> None:
        self.refused += number
        self.say(f"the endpoint refuses spans ({why}): {self.refused} so far, which are left out")

    def say(self, line: str) -> None:
        """Log it, unless something of this kind was said in the last minute."""
        kind, now = line.partition(":")[0], time.monotonic()
        if now - self.said.get(kind, -QUIET_SECONDS) >= QUIET_SECONDS:
            self.said[kind] = now
            with contextlib.suppress(Exception):  # the program's log handler is its own affair
                logger.warning("llmtrace: OTLP: %s", line)

    def numbers(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in NAMES}


NAMES = tuple(one.name for one in fields(Counts) if one.type == "int")


class CountsFile:
    """``counts.json`` in a destination's folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._written = Counts().numbers()

    def add(self, counts: Counts) -> None:
        """Add what is new in ``counts`` since the last time. Another process that adds is waited for a little, else it is left
        for the next time. Never raises."""
        numbers = counts.numbers()
        new = {name: number - self._written[name] for name, number in numbers.items()}
        if not any(new.values()):
            return
        with contextlib.suppress(OSError), _alone(self._path.with_suffix(".lock")):
            total: dict[str, int | str] = {name: number + new[name] for name, number in read(self._path.parent).items()}
            total["why"] = counts.why
            draft = self._path.with_name(f".{FILE}.{os.getpid()}")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | locks.FLAGS, 0o600)
            try:
                os.write(descriptor, json.dumps(total).encode())
            finally:
                os.close(descriptor)
            draft.replace(self._path)
            self._written = numbers


def read(folder: Path) -> dict[str, int]:
    """The sums; zeros where there is no file, or none that can be read."""
    try:
        found = json.loads((folder / FILE).read_bytes())
        return {name: int(found.get(name, 0)) for name in NAMES}
    except (OSError, ValueError, AttributeError, TypeError):
        return dict.fromkeys(NAMES, 0)


def why(folder: Path) -> str:
    """Why the last request came to nothing; empty where it did not, or nobody knows."""
    try:
        found = json.loads((folder / FILE).read_bytes()).get("why")
        return found if isinstance(found, str) else ""
    except (OSError, ValueError, AttributeError):
        return ""


@contextlib.contextmanager
def _alone(path: Path):  # type: ignore[no-untyped-def]
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | locks.FLAGS, 0o600)
    try:
        for _ in range(20):
            if locks.take(descriptor, exclusive=True) is not False:
                break
            time.sleep(0.005)
        else:
            raise BlockingIOError
        yield
    finally:
        os.close(descriptor)
