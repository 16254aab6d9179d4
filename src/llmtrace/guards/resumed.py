"""Reviews that a resumed program finds decided, or still waiting, instead of asking again."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_of_process: dict[str, str] = {}
"""Ids of reviews that this process resumes, by digest of the call."""
_of_block: ContextVar[dict[str, str] | None] = ContextVar("llmtrace_resumed", default=None)
"""The same of `resuming`: a worker may resume two runs at the same time that made the same call."""
_lock = threading.Lock()


def new_id() -> str:
    return f"rev_{secrets.token_hex(8)}"


def expect(review_id: str, digest: str) -> None:
    """The next call of this digest takes the decision of this review."""
    with _lock:
        _of_process[digest] = review_id


@contextmanager
def resuming(review_id: str, digest: str) -> Iterator[None]:
    """`expect`, within the block."""
    before = _of_block.get()
    _of_block.set({digest: review_id})
    try:
        yield
    finally:
        _of_block.set(before)


def take(digest: str) -> str | None:
    """The resumed review of a call, once."""
    with _lock:
        return next((found for ids in _resumed() if (found := ids.pop(digest, None)) is not None), None)


def is_any_resumed() -> bool:
    """Whether this program goes on with a review, and has not reached its call."""
    return any(_resumed())


def is_resumed(digest: str) -> bool:
    """Whether this very call was held before, whatever is said of it now."""
    return any(digest in ids for ids in _resumed())


def _resumed() -> tuple[dict[str, str], ...]:
    return _of_block.get() or {}, _of_process
