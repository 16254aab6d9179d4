"""Which key names stand for a secret: ``password``, ``apiKey``, ``AWS_SECRET_ACCESS_KEY``, but not ``max_tokens``.

A name counts by its last word, so that ``db_password`` is one and ``password_policy`` is not.
"""

from __future__ import annotations

from llmtrace.text.patterns import lazy_pattern

_WORDS = (
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
"""Of a longer name only the end counts."""
_TYPES = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})


def words(name: str) -> str:
    """``accessToken``, ``access-token`` and ``ACCESS_TOKEN`` alike as ``access_token``."""
    return _SEPARATORS.sub("_", _CAMEL.sub("_", name[-_LONGEST:])).strip("_").lower()


def is_secret(name: str) -> bool:
    """True for a key name whose value is a secret by common usage."""
    spelt = words(name)
    return bool(_SECRET.fullmatch(spelt)) and not _NO_SECRET.fullmatch(spelt)


def is_token(name: str) -> bool:
    """True where a number is more likely a count or an id than a secret."""
    return words(name).endswith("token")


def is_pass(name: str) -> bool:
    """True for ``DB_PASS`` and ``pass``: a password, or what was passed."""
    return words(name).rpartition("_")[2].endswith("pass")


def is_password(text: str, name: str) -> bool:
    """True for a text under a name that `is_pass` that looks like a password. Under ``db_pass``, any word does."""
    if words(name) != "pass":
        return True
    return any(map(str.isdigit, text)) and any(map(str.isalpha, text))


def is_schema(value: object) -> bool:
    """True for what a key like ``password`` holds in a JSON Schema: what a password looks like, not one."""
    if not isinstance(value, dict):
        return False
    kind = value.get("type")
    if isinstance(kind, list):
        return all(isinstance(word, str) and word in _TYPES for word in kind)
    if isinstance(kind, str):
        return kind in _TYPES
    return any(word in value for word in ("$ref", "anyOf", "oneOf", "allOf", "enum"))
