"""What happened to the content of one span, or one message, on its way out."""

from __future__ import annotations

from collections.abc import Iterable

from llmtrace.content.keys import is_secret


def mark(rule: str) -> str:
    """What stands in the place of a value that a rule took out."""
    return f"[REDACTED:{rule}]"


MARK = "[REDACTED:"
ERROR = mark("error")
"""Stands for what could not be redacted, since a rule failed: nothing of it gets out."""
_TELLING = 6
"""Shorter values are not looked for elsewhere: they would be found in innocent words."""
_MAX_SECRETS = 16


def _is_telling(secret: str) -> bool:
    """Whether the secret can be told from an innocent word: it is not short, not a blank, not ``password`` itself."""
    distinct = len(set(secret[:64]))
    return len(secret) >= _TELLING and distinct > 2 and not secret.startswith(MARK) and not is_secret(secret)


class RedactionStats:
    __slots__ = ("cut", "redacted", "secrets", "size")

    def __init__(self) -> None:
        self.redacted = 0
        """Number of values replaced."""
        self.cut = 0
        """Number of characters that truncation cut."""
        self.size = 0
        """Characters seen, and a few for each value: less than a sixth of the bytes of JSON only if there is little else."""
        self.secrets: list[str] = []
        """Values that were taken out for where they stood (a key, a path): elsewhere in the span they are secrets too."""

    def take(self, rule: str, *secrets: str) -> str:
        """Count one replacement, of a value that holds these texts; gives its mark."""
        self.redacted += 1
        self.remember([secret for secret in secrets if _is_telling(secret)])
        return mark(rule)

    def remember(self, secrets: Iterable[str]) -> None:
        """Take these texts out of what is cleaned from now on."""
        if len(self.secrets) < _MAX_SECRETS:
            self.secrets += [secret for secret in secrets if secret not in self.secrets]

    def without_secrets(self, text: str) -> str:
        """``text`` without what was taken out before, such as the password that an error message repeats."""
        for secret in self.secrets:
            if secret in text:
                text = text.replace(secret, self.take("key"))
        return text
