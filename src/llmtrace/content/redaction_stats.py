"""Counts what cleaning removed from one span or one message, and remembers the removed secrets."""

from __future__ import annotations

from collections.abc import Iterable

from llmtrace.content.keys import is_secret


def mark(rule: str) -> str:
    """Return the text that replaces a value that ``rule`` removed."""
    return f"[REDACTED:{rule}]"


MARK = "[REDACTED:"
ERROR = mark("error")
"""Replaces a whole value when a rule failed on it."""
_SHORTEST_DISTINCTIVE = 6
"""Shorter secrets are not searched for in the rest of the span: they would match parts of ordinary words."""
_MAX_SECRETS = 16


def _is_distinctive(secret: str) -> bool:
    """Return True if the secret is unlikely to match an ordinary word: not short, not blank, not ``password`` itself."""
    distinct = len(set(secret[:64]))
    return len(secret) >= _SHORTEST_DISTINCTIVE and distinct > 2 and not secret.startswith(MARK) and not is_secret(secret)


class RedactionStats:
    __slots__ = ("cut", "redacted", "secrets", "size")

    def __init__(self) -> None:
        self.redacted = 0
        """Number of values replaced."""
        self.cut = 0
        """Number of characters that truncation cut."""
        self.size = 0
        """Characters seen, plus a few for each value: an estimate of the size, to skip measuring what is surely small."""
        self.secrets: list[str] = []
        """Values removed because of their key or path. They are removed elsewhere in the span too."""

    def take(self, rule: str, *secrets: str) -> str:
        """Count one replacement, remember the texts of the removed value, and return the mark that replaces it."""
        self.redacted += 1
        self.remember([secret for secret in secrets if _is_distinctive(secret)])
        return mark(rule)

    def remember(self, secrets: Iterable[str]) -> None:
        """Remove these texts from everything cleaned with these stats from now on."""
        if len(self.secrets) < _MAX_SECRETS:
            self.secrets += [secret for secret in secrets if secret not in self.secrets]

    def without_secrets(self, text: str) -> str:
        """Return ``text`` without secrets removed earlier, such as a password that an error message repeats."""
        for secret in self.secrets:
            if secret in text:
                text = text.replace(secret, self.take("key"))
        return text
