"""Words that link a name to its value in a sentence, as in "the password is …"."""

from __future__ import annotations

from typing import Final

LINKING_WORDS: Final = ("is", "was", "ist", "lautet", "est", "es")
"""Linking verbs in English, German, French and Spanish."""
