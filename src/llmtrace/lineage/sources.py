"""One thing that a model could see, and a finding in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from llmtrace.model import JsonValue


@dataclass(slots=True)
class Source:
    """One thing that was visible: a message, a system prompt, a tool's result."""

    span_id: str
    place: str
    """What it is, for people: ``message 2 (user)``, ``result of look_up``."""
    content: JsonValue
    echo: frozenset[str] = frozenset()
    """Keys of values that the model had made up before and that this source only repeats: it is no evidence for them."""
    asked: bool = False
    """True for what a user, a developer or an operator wrote."""
    call_id: str | None = None
    cache: dict[Any, Any] | None = None
    """Of a message that this is the whole text of: what was read out of it is remembered there, for the next run."""
    places: dict[str, Any] | None = None
    keys: dict[str, Any] | None = None
    """For `places`: the way to each value by its text, and by its keys."""
    _text: str | None = None

    @property
    def text(self) -> str:
        if self._text is None:
            self._text = self.content if isinstance(self.content, str) else _as_text(self.content)
        return self._text


def _as_text(content: JsonValue) -> str:
    try:
        return to_json(content, inf_nan_mode="constants").decode()
    except Exception:  # no JSON after all; a cycle or an object that cannot be written must not break the search
        try:
            return repr(content)
        except Exception:
            return ""


@dataclass(slots=True)
class Found:
    first: Source | None
    """None when the source itself is forgotten."""
    last: Source | None
    derived: bool = False
    """True when the value does not stand there but follows from what does."""
