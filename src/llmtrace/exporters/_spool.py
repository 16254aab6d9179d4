"""The store of a program that only sends: nothing is kept but what is still to be sent, and no more of it than may leave.

It is what ``LLMTRACE_STORE=auto`` means where OTLP is configured and no terminal is there. Its journal lies beside the store's,
in ``unsent/``; a file goes as soon as all of it was sent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from llmtrace.codec import genai
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.exporters import _outgoing as outgoing
from llmtrace.model import RawSpan, Span, Trace
from llmtrace.store import NEWEST, Query, Store
from llmtrace.store.local import LocalStore
from llmtrace.store.send_positions import UNSENT
from llmtrace.store.summary import TraceSummary


class Spool(Store):
    """``home``: the folder of the store that is not written to. ``folder`` is the same, since budgets are kept there."""

    def __init__(self, home: Path, config: Config) -> None:
        self.folder: Path = home
        self.local = LocalStore(home / UNSENT, config=config, may_be_missing=True, background=False)
        self._content = Content(config)
        self._begun = False

    @property
    def mark(self) -> Callable[[], str]:
        return self.local.mark

    @mark.setter
    def mark(self, mark: Callable[[], str]) -> None:
        self.local.mark = mark

    def append(self, span: Span) -> None:
        self._begin()
        if self.local.mark():
            raw = genai.encode(span)
            self.local.append_encoded(raw if self._content.exports_content else outgoing.bare(span, raw, self._content))

    def append_encoded(self, raw: RawSpan) -> None:
        """A start mark is small and without content; it goes as it is."""
        if raw.end is not None and not self._content.exports_content:
            self.append(genai.decode(raw))
        elif self.local.mark():
            self._begin()
            self.local.append_encoded(raw)

    def _begin(self) -> None:
        """The journal makes its own folder and the one around it, for the user only; this is one more around."""
        if not self._begun:
            self._begun = True
            with contextlib.suppress(OSError):  # the journal will say so
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def flush(self) -> None:
        self.local.flush()

    def traces(self, query: Query = NEWEST) -> list[TraceSummary]:
        return self.local.traces(query)

    def trace(self, trace_id: str) -> Trace:
        return self.local.trace(trace_id)

    def spans(self, query: Query = NEWEST, *, prompts: bool = True) -> Iterator[Span]:
        return self.local.spans(query, prompts=prompts)

    def close(self) -> None:
        self.local.close()
