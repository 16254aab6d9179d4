"""Words of a sentence that says a password: what it is called, and what links the name to its value."""

from __future__ import annotations

from typing import Final

LINKING_WORDS: Final = ("is", "was", "ist", "lautet", "est", "es")
"""Linking verbs in English, German, French and Spanish."""

PASSWORD_WORDS: Final = ("passwort", "kennwort", "contraseña", "passe")
"""What a password is called in German, Spanish and French (the last word of the name)."""
