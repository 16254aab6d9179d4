"""Shows the first difference of two texts, word by word."""

from __future__ import annotations

import difflib
import re

AROUND = 6
"""Number of words that are shown before and after a difference."""
LONGEST = 300
"""Number of characters that are shown of a difference, at most."""


def word_difference(before: str, now: str) -> str:
    """Return the first difference of two different texts, as ``… words [-before-] {+now+} words …``."""
    old, new = (re.findall(r"(?:(?<!\s)\s+)?\S+", text) for text in (before, now))
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False) if len(old) + len(new) < 4000 else None
    if matcher is None:  # matching long texts is slow, so only the first word that differs is shown
        start = next((place for place, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
        removed, added, after = old[start : start + 1], new[start : start + 1], new[start + 1 :]
    else:
        _, i, j, k, m = next(code for code in matcher.get_opcodes() if code[0] != "equal")
        start, removed, added, after = i, old[i:j], new[k:m], new[m:]
    shown = "".join(old[max(0, start - AROUND) : start]).lstrip()
    shown += f" [-{''.join(removed).strip()[:LONGEST]}-]" if removed else ""
    shown += f" {{+{''.join(added).strip()[:LONGEST]}+}}" if added else ""
    return f"{'… ' if start > AROUND else ''}{shown.strip()}{''.join(after[:AROUND])}{' …' if len(after) > AROUND else ''}"
