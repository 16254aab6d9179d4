"""What a replay needs of a span, beyond what the span says of itself: the answers as they came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from itertools import accumulate

from llmtrace.model.value import value


@value
class Exchange:
    """One HTTP request of a call, and what came back."""

    status: int | None = None
    """None where no answer came; then ``error`` says why."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Without cookies."""
    body: bytes = b""
    """Decompressed."""
    sizes: tuple[int, ...] = ()
    """Lengths in bytes of the chunks in which the body came; empty where it was read at once."""
    error: str = ""
    """Name of the transport's exception that ended the request or the body, such as ``ReadTimeout``; empty if none did."""
    message: str = ""

    def chunks(self) -> list[bytes]:
        """The body in the chunks in which it came."""
        if not self.sizes:
            return [self.body] if self.body else []
        ends = [*accumulate(self.sizes)]
        return [self.body[end - size : end] for end, size in zip(ends, self.sizes, strict=True)]


@value
class Recorded:
    """What a span keeps for a replay."""

    request: str = ""
    """Digest of the request's content before redaction, keyed by the store's secret (HMAC): 32 hex digits, or empty."""
    exchanges: tuple[Exchange, ...] = ()
    """In the order in which they were made; retries among them. Of a tool whose outcome is not plain JSON: one, whose body is
    that object as JSON, with its class (``codec.objects``)."""
    result_type: str = ""
    """Qualified class of a tool's result, or of the exception that it raised, if that cannot be kept; else empty."""
    unusable: str = ""
    """Why the answer cannot be replayed: ``redacted``, ``cut`` or ``computed in this process``; else empty."""
