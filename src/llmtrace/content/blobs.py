"""Replaces inline bytes by digest and size: base64 in a `Blob`, ``data:`` URLs anywhere, long base64 values in JSON."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from llmtrace.content.scan import Rule
from llmtrace.model import Blob, Part, Uri, replace
from llmtrace.text.patterns import lazy_pattern

_DATA_URL = lazy_pattern(
    r"data:(?P<type>[A-Za-z0-9.+/-]{0,128})(?:;[A-Za-z0-9=._-]{1,128}){0,8};base64,(?P<data>[A-Za-z0-9+/_%=-]*)"
)
LEAST_BASE64 = 1024
"""Shortest value that counts as inline bytes if it is base64 and nothing else."""
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}|[A-Za-z0-9_-]+={0,2}")


def digest(content: str) -> tuple[str, int]:
    """Return ``sha256:<hex>`` and size of the bytes that base64 text encodes, or of the text itself if it is not base64."""
    packed = "".join(content.split()) if "\n" in content else content
    if "-" in packed or "_" in packed:
        packed = packed.replace("-", "+").replace("_", "/")
    try:
        data = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        data = content.encode("utf-8", "replace")
    return f"sha256:{hashlib.sha256(data).hexdigest()}", len(data)


def blob_rule() -> Rule:
    return Rule("blob", r";base64,", lambda text, _: _DATA_URL.sub(lambda match: _mark(match["type"], match["data"]), text))


def without_bytes(part: Part) -> Part:
    """Return a part without its inline bytes, or the same object if it has none."""
    if isinstance(part, Blob) and part.content is not None:
        digest_text, size = digest(part.content)
        return replace(part, content=None, digest=digest_text, size=size)
    if isinstance(part, Uri) and part.uri[:5].lower() == "data:":
        match = _DATA_URL.fullmatch(part.uri)
        head, _, data = part.uri.partition(",")
        digest_text, size = digest(match["data"] if match else data)
        kind = match["type"] if match else head[5:].partition(";")[0]
        return Blob(part.modality, part.mime_type or kind or None, None, digest_text, size)
    return part


def is_base64(text: str) -> bool:
    """Return True for a long text that is almost certainly base64."""
    return (
        len(text) >= LEAST_BASE64
        and " " not in text[:128]
        and text.isascii()
        and _BASE64.fullmatch(text) is not None
        and len(text) % 4 != 1
        and not (text.islower() or text.isupper() or text.isalpha() or text.isdigit())
    )


def blob_mark(text: str) -> str:
    """Return the text that replaces a long base64 value."""
    return _mark("", text)


def _mark(kind: str, data: str) -> str:
    digest_text, size = digest(data)
    return f"[blob {kind + ' ' if kind else ''}{digest_text} {size} bytes]"
