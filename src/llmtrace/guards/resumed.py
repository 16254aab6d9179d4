"""Reviews that a resumed program finds decided, or still waiting, instead of asking again."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from llmtrace.guards.review_settings import review_settings

_waiting: dict[str, str] = {}
"""Ids of reviews that are resumed, by digest of the call."""
_lock = threading.Lock()


def new_id() -> str:
    """An id for a review."""
    return f"rev_{secrets.token_hex(8)}"


@contextmanager
def resuming(review_id: str) -> Iterator[None]:
    """Within the block, the call that this review is about takes its decision. Raises `ReviewConflict` for an unknown id."""
    request = review_settings().reviews.get(review_id).request
    with _lock:
        _waiting[request.digest] = request.review_id
    try:
        yield
    finally:
        with _lock:
            _waiting.pop(request.digest, None)


def take(digest: str) -> str | None:
    """The resumed review of a call, once."""
    with _lock:
        return _waiting.pop(digest, None)


def is_resumed(digest: str) -> bool:
    """Whether this very call was held before, whatever is said of it now."""
    with _lock:
        return digest in _waiting
