"""Key names whose values are secrets: ``password``, ``apiKey``, ``AWS_SECRET_ACCESS_KEY``, but not ``max_tokens``.

The last word decides: ``db_password`` names a secret, ``password_policy`` does not.
"""

from __future__ import annotations

from llmtrace.text.linking_words import PASSWORD_WORDS
from llmtrace.text.patterns import lazy_pattern

_WORDS = (
    rf"{'|'.join(PASSWORD_WORDS)}|"
    r"passw(?:or)?d|passphrase|pwd|secrets?|token|jwt|authorization|cookies?|credentials?|connection_?string"
    r"|(?:api|private|access|secret|account|signing|encryption|master|subscription|auth|session|shared)_?key"
)
_SECRET = lazy_pattern(
    rf"(?:.*_)?(?:[a-z0-9]*(?:{_WORDS})|(?:db|pg|user|root)?pass)(?:_?(?:\d{{1,3}}|hash|value|plain|plaintext|confirm|confirmation))?"
)
_NO_SECRET = lazy_pattern(
    # cursors, marks of a model's vocabulary, counts and prices
    r"(?:.*_)?(?:next|prev|previous|page|continuation|sync|cursor|cancel|cancellation|bos|eos|pad|unk|cls|sep|mask|stop|start|end"
    r"|first|last|per|each|max|min|total|input|output|prompt|completion|cached|special|top|chosen|sampled|predicted)_?token"
)
_CAMEL = lazy_pattern(r"(?<=[a-z0-9])(?=[A-Z])")
_SEPARATORS = lazy_pattern(r"[\W_]+")
_LONGEST = 96
"""Only the last characters of a longer name are read."""
_TYPES = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})


def words(name: str) -> str:
    """Return a name in snake case: ``accessToken``, ``access-token`` and ``ACCESS_TOKEN`` give ``access_token``."""
    return _SEPARATORS.sub("_", _CAMEL.sub("_", name[-_LONGEST:])).strip("_").lower()


def is_secret(name: str) -> bool:
    """Return True if values under this key are secrets by common usage."""
    spelt = words(name)
    return bool(_SECRET.fullmatch(spelt)) and not _NO_SECRET.fullmatch(spelt)


def is_token(name: str) -> bool:
    """Return True for names ending in ``token``: a number there is more likely a count or an id than a secret."""
    return words(name).endswith("token")


def is_pass(name: str) -> bool:
    """Return True for ``DB_PASS`` and ``pass``, which may be a password or something that was passed."""
    return words(name).rpartition("_")[2].endswith("pass")


def is_password(text: str, name: str) -> bool:
    """Return True if a text under an `is_pass` name is a password. Under plain ``pass`` it must have letters and digits."""
    if words(name) != "pass":
        return True
    return any(map(str.isdigit, text)) and any(map(str.isalpha, text))


def is_schema(value: object) -> bool:
    """Return True if the value of a key like ``password`` is a JSON Schema, which describes a password and is none."""
    if not isinstance(value, dict):
        return False
    kind = value.get("type")
    if isinstance(kind, list):
        return all(isinstance(word, str) and word in _TYPES for word in kind)
    if isinstance(kind, str):
        return kind in _TYPES
    return any(word in value for word in ("$ref", "anyOf", "oneOf", "allOf", "enum"))
