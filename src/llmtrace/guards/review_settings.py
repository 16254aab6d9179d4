"""Settings of reviews: the store, the notification, the waiting time. Also the reviews that a resumed program continues."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from llmtrace.config import Unattended
from llmtrace.locks import fork_safe_lock
from llmtrace.recorder.current import configured
from llmtrace.store import replay_key
from llmtrace.store.reviews import Reviews

if TYPE_CHECKING:
    from llmtrace.recorder import Recorder


@dataclass(frozen=True, slots=True)
class ReviewSettings:
    """Settings of reviews: where they are stored, who is notified, and how long a call waits."""

    reviews: Reviews = field(default_factory=lambda: Reviews(None))
    key: bytes = b""
    """The secret that keys digests."""
    notify: Callable[[Any], Any] | str | None = None
    """A function of the `ReviewRequest`, which may return a `Decision`; or a URL that gets the request as JSON."""
    timeout: float = 3600.0
    """Seconds until a review that nobody decides is denied."""
    wait: float | None = None
    """Seconds after which the program stops waiting and ends with `ReviewPending`; None: it waits for the whole timeout."""
    asks_at_terminal: bool = False
    """A person at the program's own terminal is asked, too."""
    unattended: Unattended | None = None
    """Set if nobody can decide: the call is denied at once, or `ReviewDenied` is raised."""

    @property
    def is_attended(self) -> bool:
        """True if a person can learn of a review: from a store's folder, or by a notification."""
        return self.unattended is None and (self.reviews.folder is not None or self.notify is not None)


_nobody = ReviewSettings()
_by_recorder: WeakKeyDictionary[Recorder, ReviewSettings] = WeakKeyDictionary()
"""Made with the first review of a process: most programs hold none."""
_making = fork_safe_lock()


def review_settings() -> ReviewSettings:
    """Return the settings of this process. Without ``configure()``, nobody can decide."""
    recorder = configured()
    store = None if recorder is None else recorder.hooks.review_store
    if recorder is None or store is None:
        return _nobody
    with _making:
        settings = _by_recorder.get(recorder)
        if settings is None:
            config, folder = recorder.config, store.folder
            if folder is not None and folder.name == replay_key.REPLAYS:  # a replay's reviews are kept in the store itself
                folder = folder.parent
            how = config.review_timeout, config.review_wait, config.review_terminal, config.unattended
            settings = ReviewSettings(Reviews(folder), store.replay_key(), config.notify, *how)
            _by_recorder[recorder] = settings
    return settings


_of_process: dict[str, str] = {}
"""Ids of reviews that this process resumes, by digest of the call."""
_of_block: ContextVar[dict[str, str] | None] = ContextVar("llmtrace_resumed", default=None)
"""Like `_of_process`, but within `resuming`: a worker may resume two runs at the same time that made the same call."""
_lock = threading.Lock()


def expect(review_id: str, digest: str) -> None:
    """Let the next call with this digest, anywhere in the process, use the decision of this review."""
    with _lock:
        _of_process[digest] = review_id


@contextmanager
def resuming(review_id: str, digest: str) -> Iterator[None]:
    """Let the next call with this digest within the block use the decision of this review."""
    before = _of_block.get()
    _of_block.set({digest: review_id})
    try:
        yield
    finally:
        _of_block.set(before)


def take_resumed(digest: str) -> str | None:
    """Return the id of a call's resumed review, and forget it; None if the call has none."""
    with _lock:
        return next((review_id for ids in _resumed() if (review_id := ids.pop(digest, None)) is not None), None)


def is_any_resumed() -> bool:
    """Return True if the program resumes a review and has not reached its call yet."""
    return any(_resumed())


def is_resumed(digest: str) -> bool:
    """Return True if this call was held before the program was resumed. It is held again, whatever the policy says."""
    return any(digest in ids for ids in _resumed())


def _resumed() -> tuple[dict[str, str], ...]:
    return _of_block.get() or {}, _of_process
