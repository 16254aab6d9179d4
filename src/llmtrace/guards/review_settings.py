"""Where reviews are kept, who is told of them, and how long a program waits: as ``configure()`` says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmtrace.config import Config, Unattended
from llmtrace.recorder.current import configured
from llmtrace.store import replay_key
from llmtrace.store.reviews import Reviews


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


_nobody = ReviewSettings()


def review_settings() -> ReviewSettings:
    """The settings of this process; without ``configure()``, nobody is there to decide."""
    recorder = configured()
    if recorder is None or recorder.reviewing is None:
        return _nobody
    if not isinstance(recorder.reviewing, ReviewSettings):
        recorder.reviewing = _settings(*recorder.reviewing)
    settings: ReviewSettings = recorder.reviewing
    return settings


def _settings(config: Config, folder: Path | None, make_key: Callable[[], bytes]) -> ReviewSettings:
    if folder is not None and folder.name == replay_key.REPLAYS:
        folder = folder.parent
    return ReviewSettings(
        Reviews(folder), make_key(), config.notify, config.review_timeout, config.review_wait, config.unattended
    )
