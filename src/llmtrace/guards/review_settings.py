"""Where reviews are kept, who is told of them, and how long a program waits: set by ``configure()``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from llmtrace.store.reviews import Reviews

Unattended: TypeAlias = Literal["deny", "raise"]


@dataclass(frozen=True, slots=True)
class ReviewSettings:
    """How this process has its calls reviewed."""

    reviews: Reviews = field(default_factory=lambda: Reviews(None))
    key: bytes = b""
    """The secret that keys digests."""
    notify: Callable[[Any], Any] | str | None = None
    """A function of the `ReviewRequest`, which may return a `Decision`; or a URL that gets the request as JSON."""
    timeout: float = 3600.0
    """Seconds until a review that nobody decides is denied."""
    wait: float | None = None
    """Seconds after which the program stops waiting and ends with `ReviewPending`; None: it waits for the whole timeout."""
    unattended: Unattended | None = None
    """Set where nobody is there to decide: deny at once, or raise `ReviewDenied`."""

    @property
    def is_attended(self) -> bool:
        """Whether anybody can see a review: in a store's folder, or by a notification."""
        return self.unattended is None and (self.reviews.folder is not None or self.notify is not None)


_settings: ReviewSettings | None = None
_nobody = ReviewSettings()


def review_settings() -> ReviewSettings:
    """The settings of this process; without ``configure()``, nobody is there to decide."""
    return _nobody if _settings is None else _settings


def use_review_settings(new: ReviewSettings | None) -> ReviewSettings | None:
    """Make ``new`` the settings of this process. Returns those before."""
    global _settings
    before, _settings = _settings, new
    return before
