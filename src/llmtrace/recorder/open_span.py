"""A program's handle on an open span, to add attributes and events. Law: every method is always safe to call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from llmtrace.config import nearest
from llmtrace.content import to_json
from llmtrace.recorder.current import active, current
from llmtrace.recorder.guard import guard
from llmtrace.recorder.recording import Recording

AttributeValue: TypeAlias = str | bool | int | float | Sequence[str] | Sequence[bool] | Sequence[int] | Sequence[float]


class OpenSpan:
    """An open span. If nothing is recorded, its methods do nothing and its ids are None. No method raises."""

    def __init__(self, recording: Recording | None) -> None:
        self._recording = recording

    def __setattr__(self, name: str, value: object) -> None:
        """Raise AttributeError for a name that the class does not have: a misspelt one would be lost."""
        if not name.startswith("_") and not hasattr(type(self), name):
            settable = [own for own in dir(type(self)) if not own.startswith("_")]
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{nearest(name, settable)}")
        super().__setattr__(name, value)

    @property
    def trace_id(self) -> str | None:
        """The trace's id, 32 hex digits, for `llmtrace show` and `feedback`; None if nothing is recorded."""
        return self._recording.trace_id if self._recording is not None else None

    @property
    def span_id(self) -> str | None:
        """The span's id, 16 hex digits; None if nothing is recorded."""
        return self._recording.span_id if self._recording is not None else None

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Set an attribute of your own on the span; a later value of the same ``key`` replaces it."""
        self.set_attributes({key: value})

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Set several attributes on the span. None is left out; a value that is not JSON is shown as text."""
        if self._recording is not None:
            guard(_set, self._recording, attributes)

    def add_event(self, name: str, attributes: Mapping[str, AttributeValue] | None = None) -> None:
        """Record that something happened on this span, now."""
        if self._recording is not None:
            guard(_add_event, self._recording, name, attributes or {})


class OpenBlock(OpenSpan):
    """The span of ``with agent(...) as span:``, and of `workflow` and `span` blocks."""

    output: object = None
    """Set this to the result of the block; it is recorded as its output."""


def current_span() -> OpenSpan:
    """Return the innermost open span of llmtrace: of a decorated function, a block, or a tool that a framework runs.

    Outside any span, without `configure()`, and inside `suppress`, it is an object that does nothing. Never raises.
    """
    return OpenSpan(current() if active() is not None else None)


def _set(recording: Recording, attributes: Mapping[str, AttributeValue]) -> None:
    recording.set({str(key): to_json(value) for key, value in attributes.items() if value is not None})


def _add_event(recording: Recording, name: str, attributes: Mapping[str, AttributeValue]) -> None:
    recording.add_event(str(name), {str(key): to_json(value) for key, value in attributes.items() if value is not None})
