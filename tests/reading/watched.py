"""Messages that count how often they are read."""

from __future__ import annotations

from typing import Any

from llmtrace.model import Message, Text


class Watched(Message):
    """A message that counts how often somebody asks for its role or its parts."""

    __slots__ = ()
    reads = 0

    def __getattribute__(self, name: str) -> Any:
        if name in ("role", "parts"):
            Watched.reads += 1
        return super().__getattribute__(name)


def watched(role: str, text: str) -> Message:
    return Watched(role, (Text(text),))
