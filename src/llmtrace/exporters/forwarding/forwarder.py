"""The forwarder: the only thread that sends. It reads this process's journal, and the unsent spans of ended processes.

Laws: the calling thread never waits, and the program's exit waits at most `EXIT_SECONDS`. Accepted spans are remembered for
each destination and user. All others stay in the journal, and the next program with the same destination sends them, at least
once. Each process sends its own spans, and only one process at a time sends those of ended processes.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context

from llmtrace.codec import recorded
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.exporters.forwarding.counts import Counts, CountsFile
from llmtrace.exporters.forwarding.destination import Destination
from llmtrace.exporters.forwarding.journal_cursor import JournalCursor, QueuedSpan, UnwrittenSpans
from llmtrace.exporters.forwarding.journal_queue import JournalQueue
from llmtrace.exporters.forwarding.otlp_exporter import MOST_SPANS, Exporter
from llmtrace.exporters.forwarding.retries import Breaker, SetAside
from llmtrace.exporters.forwarding.sampler import Sampler
from llmtrace.exporters.forwarding.send_queue import MemoryQueue
from llmtrace.exporters.forwarding.transport import LEAST_SECONDS, Answer, transport
from llmtrace.installed import NO_GRPC
from llmtrace.model import RawSpan, replace
from llmtrace.recorder.guard import report
from llmtrace.recorder.own_thread import start_thread
from llmtrace.semconv import ERROR_TYPE, SAMPLING_RATE
from llmtrace.store import locks
from llmtrace.store.journal import Journal
from llmtrace.store.send_positions import ABOUT, FOLDER, STORE, UNSENT

if TYPE_CHECKING:
    from llmtrace.external.ingest import Ingestor

INTERVAL = 1.0
"""Seconds between two reads of the journal."""
EXIT_SECONDS = 2.0
HASTY_BYTES = 256 << 10
"""Request size at exit. Small requests are confirmed and noted one by one, so less is sent again by the next program."""
SAVE_EVERY = 30.0
_SUPPRESS = ("suppress_instrumentation", "suppress_http_instrumentation")


class Forwarder:
    """Sends spans to one destination.

    ``home``: the store's folder, where positions and counts are kept; None without one. ``journal``: what this process writes;
    without one, spans come from ``memory``. ``judge``: evaluates external spans before they are sent.
    """

    def __init__(
        self,
        destination: Destination,
        config: Config,
        *,
        home: Path | None,
        journal: Journal | None = None,
        memory: MemoryQueue | None = None,
        judge: Ingestor | None = None,
    ) -> None:
        self.destination = destination
        self.journals = journal is not None
        """True if unsent spans stay in a journal, so that another process can send them."""
        self._config = config
        self._content = Content(config)
        self._home = home
        self._journal = journal
        self._memory = memory
        self._judge = judge
        self._begin()
        _forwarders.append(self)

    def _begin(self) -> None:
        """Set the state of a process that has sent nothing yet: at the start, and in a forked child."""
        self._process = os.getpid()
        self._counts = Counts() if self._memory is None else self._memory.counts
        self._folder = None if self._home is None else self._home / FOLDER / self.destination.id
        self._file = None if self._folder is None else CountsFile(self._folder)
        self._sampler = Sampler(self._config.otlp_sample, self._counts, self._judge)
        self._breaker = Breaker()
        self._exporter = Exporter(transport(self.destination), counts=self._counts, profile=self._config.otlp_profile)
        self._queue = None
        if self._journal is not None and self._home is not None:
            self._queue = JournalQueue(self._home, self.destination.id, self._journal)
        self._pending: list[QueuedSpan] = []
        self._set_aside = SetAside()
        self._accepted = 0
        self._changed = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None
        self._closing = False
        self._requested, self._answered = 0, 0
        self._is_drained = True
        self._deadline = float("inf")
        self._saved = 0.0

    # -- on threads of the program

    def wake(self) -> None:
        """Start the thread if this process has none. Called about once a second; returns at once."""
        if self._thread is None and not self._closing:
            with self._changed:
                if self._thread is None and not self._closing:
                    try:
                        self._thread = start_thread("llmtrace-forward", self._run)
                    except RuntimeError:  # the interpreter is shutting down
                        self._closing = True

    def flush(self, seconds: float = EXIT_SECONDS) -> bool:
        """Send the whole journal now, and wait for it at most ``seconds``. Returns True if the destination accepted all of
        it."""
        self.wake()
        deadline = time.monotonic() + seconds
        with self._changed:
            self._requested += 1
            request, self._deadline = self._requested, deadline
            self._changed.notify_all()
            while self._answered < request and self._alive() and (remaining := deadline - time.monotonic()) > 0:
                self._changed.wait(remaining)
            return self._answered >= request and self._is_drained

    def close(self, seconds: float = EXIT_SECONDS) -> None:
        """Send what can be sent in ``seconds``, then stop. Unsent spans stay in the journal."""
        with self._changed:
            thread, self._closing = self._thread, True
            self._deadline = time.monotonic() + seconds
            self._changed.notify_all()
        if self in _forwarders:
            _forwarders.remove(self)
        if thread is not None and self._process == os.getpid():
            thread.join(seconds)

    def tidy(self) -> None:
        """After `close` of the forwarder and the journal: remove the files of unsent spans that were all sent."""
        if self._queue is not None and self._process == os.getpid() and not self._alive():
            self._queue.tidy()

    def _alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    # -- on the thread

    def _run(self) -> None:
        for key in _SUPPRESS:  # otherwise the program's HTTP instrumentation would trace our requests, endlessly
            otel_context.attach(otel_context.set_value(key, True))
        while True:
            with self._changed:
                if not self._closing and self._answered >= self._requested:
                    self._changed.wait(INTERVAL)
                request, closing = self._requested, self._closing
                if not closing and self._answered >= request:
                    self._deadline = float("inf")
            try:
                self._forward(all_of_it=closing or request > self._answered)
            except Exception as error:
                report(Forwarder._forward, error)
                self._breaker.failed()
            with self._changed:
                self._answered = request
                self._changed.notify_all()
            if closing:
                self._exporter.close()
                if self._queue is not None:
                    self._queue.close()
                return

    def _seconds(self) -> float:
        return min(self._deadline - time.monotonic(), self.destination.timeout)

    def _forward(self, *, all_of_it: bool) -> None:
        """Send spans until the destination accepts no more. ``all_of_it``: also spans that wait for a sampling decision, a
        retry or the disk."""
        self._is_drained = False
        while not self._breaker.seconds and self._seconds() > LEAST_SECONDS:
            if not self._pending:
                self._pending = self._collected(all_of_it=all_of_it)
            if self._pending:
                self._send()
            elif not self._send_again(at_once=all_of_it):
                self._is_drained = not self._set_aside
                break
        if all_of_it or time.monotonic() - self._saved > SAVE_EVERY:
            self._note()

    def _note(self) -> None:
        self._saved = time.monotonic()
        if self._file is not None and self._make_folder():
            self._file.add(self._counts)

    def _collected(self, *, all_of_it: bool) -> list[QueuedSpan]:
        due, ready, is_drained = self._sampler.due(), list[QueuedSpan](), True
        limit = room = min(self._exporter.batch_bytes, HASTY_BYTES if self._seconds() <= EXIT_SECONDS else sys.maxsize)
        for source in self._sources(all_of_it=all_of_it):
            while room > 0 and len(ready) < MOST_SPANS:
                batch = source.read(room)
                if not batch:
                    break
                for item in batch:
                    ready += self._sampler.offer(item)
                room = limit - sum(item.size for item in ready)
            else:  # the batch is full, and the source may have more
                is_drained = False
        if is_drained:
            ready += self._sampler.decide(due)
        if all_of_it and not ready:
            ready = self._sampler.decide(self._sampler.due(all_of_it=True))
        if not ready:
            self._save()
        return ready

    def _sources(self, *, all_of_it: bool) -> Iterator[MemoryQueue | UnwrittenSpans | JournalCursor]:
        if self._memory is not None:
            yield self._memory
        if self._queue is not None:
            if all_of_it:
                yield self._queue.unwritten()
            if self._make_folder():
                yield from self._queue.cursors(all_of_it=all_of_it)

    def _make_folder(self) -> bool:
        assert self._folder is not None
        try:
            for folder in (self._folder.parent, self._folder, self._folder / STORE, self._folder / UNSENT):
                locks.make_folder(folder)
            about = self._folder / ABOUT
            if not about.exists():
                locks.write(about, f"{self.destination.protocol} {self.destination.shown}\n".encode())
        except OSError:
            return False
        return True

    def _send(self) -> None:
        """Send the pending spans. Spans that were not accepted are pending again, except one that is set aside."""
        items, spans, done = *self._loaded(self._pending), 0

        def settled(number: int) -> None:
            nonlocal done
            for item in items[done : done + number]:
                self._settle(item)
            done += number

        self._pending = []
        before = self._counts.batches
        answer = self._exporter.send(spans, self._seconds, settled)
        accepted = self._counts.batches
        self._pending = items[done:]
        if accepted > before:
            self._breaker.worked()
        if answer.kind in ("failing", "bad", "large"):
            self._set_aside.add(self._pending.pop(0), accepted)
            if answer.kind == "failing" or accepted == self._accepted:
                self._failed(answer)
            self._accepted = accepted
        else:
            self._note_answer(answer)
        self._save()

    def _send_again(self, *, at_once: bool) -> bool:
        """Send a span again that was set aside. Returns False if none is to be sent now."""
        item = self._set_aside.next(at_once=at_once)
        if item is None:
            return False
        _, spans = self._loaded([item])
        answer = self._exporter.send(spans, self._seconds, lambda _: None)
        if is_settled := self._set_aside.answered(answer, self._counts.batches):
            self._settle(item)
            if answer.kind != "taken":
                self._counts.refuse(1, answer.why)
        self._note_answer(answer)
        self._save()
        return is_settled

    def _loaded(self, batch: list[QueuedSpan]) -> tuple[list[QueuedSpan], list[RawSpan]]:
        """Read the spans of a batch. Items whose span was removed are dropped and counted."""
        items, spans = [], []
        for item in batch:
            raw = item.load()
            if raw is None:
                self._counts.lost += 1
                self._counts.warn(f"spans were removed from the journal before they were sent: {self._counts.lost} so far")
                item.settle()
                continue
            if not item.whole:
                raw = self._content.without_content(raw)
            if item.rate is not None:
                raw = replace(raw, attributes={**raw.attributes, SAMPLING_RATE: item.rate})
            items.append(item)
            spans.append(_outgoing(raw))
        return items, spans

    def _settle(self, item: QueuedSpan) -> None:
        item.settle()
        self._counts.interrupted += item.offset < 0

    def _note_answer(self, answer: Answer) -> None:
        if answer.kind == "taken":
            self._breaker.worked()
            self._counts.why = ""
            if self._closing:
                self._note()
        elif answer.kind in ("later", "closed"):
            self._failed(answer)

    def _failed(self, answer: Answer) -> None:
        if self._seconds() <= 0 and self._deadline != float("inf"):
            return  # the end of the program interrupted the request
        is_closed = answer.kind not in ("later", "failing")
        self._breaker.failed(answer.wait, closed=is_closed)
        self._counts.failures += 1
        self._counts.why = answer.why
        where = "wait in the journal" if self._memory is None else "wait in memory"
        self._counts.warn(
            f"{self.destination.shown} does not accept spans ({answer.why}): they {where} and are sent later"
            + (". Check the address and OTEL_EXPORTER_OTLP_HEADERS" if is_closed and answer.why != NO_GRPC else "")
        )

    def _save(self) -> None:
        try:
            if self._queue is not None:
                self._queue.save()
        except OSError as error:
            self._counts.warn(f"the positions of sent spans cannot be written ({error.strerror}): spans may be sent twice")


def _outgoing(raw: RawSpan) -> RawSpan:
    """Return the span without the data for replays. An empty status message becomes the error's type: viewers show it first."""
    attributes = recorded.without(raw.attributes)
    if attributes is not raw.attributes:
        raw = replace(raw, attributes=attributes)
    if raw.status != "error" or raw.status_message:
        return raw
    return replace(raw, status_message=str(raw.attributes.get(ERROR_TYPE, "")))


_forwarders: list[Forwarder] = []


def _after_fork() -> None:
    for forwarder in _forwarders:
        if forwarder._queue is not None:
            forwarder._queue.close()  # closes the child's copy of the descriptor; the parent keeps the lock
        forwarder._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
