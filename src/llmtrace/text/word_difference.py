"""The first difference of two texts, in words that a person can act on."""

from __future__ import annotations

import difflib
import re

AROUND = 6
"""Words that are shown before and after a difference."""
LONGEST = 300
"""Characters of one difference."""


def word_difference(before: str, now: str) -> str:
    """The first difference of two texts, word by word: ``… words [-before-]{+now+} words …``."""
    old, new = (re.findall(r"\s*\S+", text) for text in (before, now))
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False) if len(old) + len(new) < 4000 else None
    if matcher is None:  # a long text: up to the first word that differs, which takes no time
        start = next((place for place, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
        removed, added, after = old[start : start + 1], new[start : start + 1], new[start + 1 :]
    else:
        _, i, j, k, m = next(code for code in matcher.get_opcodes() if code[0] != "equal")
        start, removed, added, after = i, old[i:j], new[k:m], new[m:]
    shown = "".join(old[max(0, start - AROUND) : start]).lstrip()
    shown += f" [-{''.join(removed).strip()[:LONGEST]}-]" if removed else ""
    shown += f" {{+{''.join(added).strip()[:LONGEST]}+}}" if added else ""
    return f"{'… ' if start > AROUND else ''}{shown.strip()}{''.join(after[:AROUND])}{' …' if len(after) > AROUND else ''}"
