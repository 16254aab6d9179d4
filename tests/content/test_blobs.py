"""Inline bytes give way to digest and size, wherever they stand."""

from __future__ import annotations

import base64
import hashlib
import random

from llmtrace.config import Config
from llmtrace.content import Content, Redactor
from llmtrace.content.blobs import digest, is_base64
from llmtrace.model import Blob, Inference, Message, Part, Span, Text, ToolResult, Uri

DATA = random.Random(5).randbytes(3000)
BASE64 = base64.b64encode(DATA).decode()
SHA = hashlib.sha256(DATA).hexdigest()


def cleaned(*parts: Part) -> tuple[Part, ...]:
    message = Message("user", parts, cache={})
    span = Content(Config()).clean(Span("0" * 32, "1" * 16, "chat", 1, 2, operation=Inference("openai", input=(message,))))
    assert isinstance(span.operation, Inference)
    assert not any(name.startswith("llmtrace.content") for name in span.attributes)  # nothing was redacted or cut
    return span.operation.input[0].parts


def test_blobs_and_data_urls() -> None:
    assert cleaned(
        Blob("image", "image/png", BASE64),
        Uri(f"data:image/png;base64,{BASE64}", "image"),
        Uri("data:text/plain,hello", "text"),
        Uri("https://example.org/a.png", "image"),
    ) == (
        Blob("image", "image/png", None, f"sha256:{SHA}", 3000),
        Blob("image", "image/png", None, f"sha256:{SHA}", 3000),
        Blob("text", "text/plain", None, digest("hello")[0], digest("hello")[1]),
        Uri("https://example.org/a.png", "image"),
    )


def test_data_urls_in_texts_and_results() -> None:
    mark = f"[blob image/png sha256:{SHA} 3000 bytes]"
    url = f"data:image/png;base64,{BASE64}"
    assert cleaned(Text(f"look ![x]({url}) here"), ToolResult({"image": url, "n": 1}), ToolResult(f'{{"image": "{url}"}}')) == (
        Text(f"look ![x]({mark}) here"),
        ToolResult({"image": mark, "n": 1}),
        ToolResult(f'{{"image": "{mark}"}}'),
    )


def test_long_base64_values() -> None:
    """As some providers send images: no URL, only base64 in a member."""
    assert cleaned(ToolResult({"type": "base64", "data": BASE64})) == (
        ToolResult({"type": "base64", "data": f"[blob sha256:{SHA} 3000 bytes]"}),
    )


def test_what_only_looks_like_base64_stays() -> None:
    for text in ("x" * 5000, "a1" * 2000, "word " * 1000, "12345678" * 500, BASE64[:1000], "Ab1" * 400 + "!"):
        assert not is_base64(text)
        assert Redactor(Config(), blobs=True).text(text) is text


def test_digests() -> None:
    """Of the bytes, whichever alphabet and wrapping; of the text where it is no base64."""
    wrapped = "\n".join(BASE64[at : at + 76] for at in range(0, len(BASE64), 76))
    for content in (BASE64, BASE64.rstrip("="), wrapped, base64.urlsafe_b64encode(DATA).decode()):
        assert digest(content) == (f"sha256:{SHA}", 3000)
    assert digest("not base64!") == (f"sha256:{hashlib.sha256(b'not base64!').hexdigest()}", 11)
    assert digest("\ud800")[1] == 1
    assert digest("")[1] == 0


def test_a_redactor_alone_leaves_bytes_in_place() -> None:
    text = f"data:image/png;base64,{BASE64}"
    assert Redactor(Config()).text(text) is text
