"""Reviews that a resumed program finds decided, or still waiting, instead of asking again."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_waiting: dict[str, str] = {}
"""Ids of reviews that are resumed, by digest of the call."""
_lock = threading.Lock()


def new_id() -> str:
    """An id for a review."""
    return f"rev_{secrets.token_hex(8)}"


def expect(review_id: str, digest: str) -> None:
    """The next call of this digest takes the decision of this review."""
    with _lock:
        _waiting[digest] = review_id


@contextmanager
def resuming(review_id: str, digest: str) -> Iterator[None]:
    """`expect`, within the block."""
    expect(review_id, digest)
    try:
        yield
    finally:
        take(digest)


def take(digest: str) -> str | None:
    """The resumed review of a call, once."""
    with _lock:
        return _waiting.pop(digest, None)


def is_any_resumed() -> bool:
    """Whether this program goes on with a review at all."""
    return bool(_waiting)


def is_resumed(digest: str) -> bool:
    """Whether this very call was held before, whatever is said of it now."""
    with _lock:
        return digest in _waiting
