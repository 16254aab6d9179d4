"""A trace as one HTML file that works from disk: our own files inlined, the trace beside them, compressed.

Law: the file runs the scripts whose digests it names and no other, and asks no network for anything.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmtrace.version import __version__
from llmtrace.viewer.plain import dumps

if TYPE_CHECKING:
    from llmtrace.viewer.opened import Opened

STATIC = Path(__file__).parent / "static"
LONGEST_DIAGNOSED = 20_000
"""Spans up to which a diagnosis and the origins of values go into the file: beyond, they take minutes."""

_IMPORT = re.compile(r'^import\s[^;]*?from\s+"\./([a-z_]+)\.js";\n', re.MULTILINE | re.DOTALL)
_EXPORT = re.compile(r"^export ", re.MULTILINE)
_EXPORTED = re.compile(r"^export (?:async )?(?:function|class|const|let) (\w+)", re.MULTILINE)
_NAMESPACE = re.compile(r'^import \* as (\w+) from "\./([a-z_]+)\.js";$', re.MULTILINE)


def write(opened: Opened) -> bytes:
    """The file's bytes."""
    packed = base64.b64encode(gzip.compress(dumps(_content(opened)), 6)).decode()
    script, style = bundle(), (STATIC / "viewer.css").read_text(encoding="utf-8")
    policy = f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; img-src data:; base-uri 'none'"
    html = (STATIC / "index.html").read_text(encoding="utf-8")
    html = html.replace('<link rel="stylesheet" href="/static/viewer.css">', f"<style>{style}</style>")
    html = html.replace(
        '<script type="module" src="/static/main.js"></script>',
        f'<script type="application/gzip" id="trace">{packed}</script>\n<script type="module">{script}</script>',
    )
    html = html.replace("<meta charset", f'<meta http-equiv="content-security-policy" content="{policy}">\n<meta charset', 1)
    return html.encode()


def bundle() -> str:
    """All modules as one, each after those that it imports. Their top-level names are unique, which a test holds."""
    texts: dict[str, str] = {}
    spaces: dict[str, str] = {}

    def add(name: str) -> None:
        if name in texts:
            return
        text = (STATIC / f"{name}.js").read_text(encoding="utf-8")
        texts[name] = ""  # a circle of imports ends here
        for needed in _IMPORT.findall(text):
            add(needed)
        spaces.update({module: space for space, module in _NAMESPACE.findall(text)})
        del texts[name]
        texts[name] = text

    add("main")
    return "\n".join(_plain(name, text, spaces) for name, text in texts.items())


def _plain(name: str, text: str, spaces: Mapping[str, str]) -> str:
    """A module's text without imports and exports; one that others import as a whole is an object as well."""
    whole = f"const {spaces[name]} = {{ {', '.join(_EXPORTED.findall(text))} }};\n" if name in spaces else ""
    return _EXPORT.sub("", _IMPORT.sub("", text)) + whole


def _content(opened: Opened) -> dict[str, Any]:
    spans = [span.span_id for span in opened.trace.spans]
    told: dict[str, Any] = {"info": {"version": __version__, "live": False}, **opened.rows(0)}
    told["payloads"] = opened.payloads(spans)
    if len(spans) <= LONGEST_DIAGNOSED:
        told |= {"diagnosis": opened.diagnosis(), "origins": opened.origins()}
    return told


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
