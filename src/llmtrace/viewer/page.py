"""A trace as one HTML file that works from disk: our static files inlined, and the trace, compressed.

Law: the file runs only the scripts whose digests it names, and makes no network request.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmtrace.version import __version__
from llmtrace.viewer.js_numbers import dumps

if TYPE_CHECKING:
    from llmtrace.viewer.trace_view import TraceView

STATIC = Path(__file__).parent / "static"
LONGEST_SPREAD = 1_000
"""Longest trace, in spans, whose file lists where each span's values went. The lists grow faster than the trace."""
LONGEST_DIAGNOSED = 20_000
"""Longest trace, in spans, whose file has a diagnosis and the origins of values. On longer traces they take minutes."""

_IMPORT = re.compile(r'^import\s[^;]*?from\s+"\./([a-z_]+)\.js";\n', re.MULTILINE | re.DOTALL)
_EXPORT = re.compile(r"^export ", re.MULTILINE)


def write(trace_view: TraceView) -> bytes:
    """Return the HTML file of a trace."""
    packed = base64.b64encode(gzip.compress(dumps(_content(trace_view)), 6)).decode()
    script, style = bundle(), (STATIC / "viewer.css").read_text(encoding="utf-8")
    # with digests, a script that content might smuggle in does not run
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
    """Return all JavaScript modules as one script, each after the modules that it imports.

    They share one scope, so a test checks that their top-level names are unique.
    """
    texts: dict[str, str] = {}

    def add(name: str) -> None:
        if name in texts:
            return
        text = (STATIC / f"{name}.js").read_text(encoding="utf-8")
        texts[name] = ""  # marks the module as visited, so that circular imports end
        for needed in _IMPORT.findall(text):
            add(needed)
        del texts[name]
        texts[name] = text

    add("main")
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", text)) for text in texts.values())


def _content(trace_view: TraceView) -> dict[str, Any]:
    spans = [span.span_id for span in trace_view.trace.spans]
    content: dict[str, Any] = {"info": {"version": __version__, "live": False}, **trace_view.rows(0)}
    content["payloads"] = trace_view.payloads(spans)
    if len(spans) <= LONGEST_DIAGNOSED:
        content["diagnosis"] = trace_view.diagnosis
        if content["diagnosis"].get("fault"):  # lineage may be the part that failed, and the origins need it
            return content
        content["origins"] = {span: uses for span, uses in trace_view.origins(spans).items() if uses}
    else:
        from llmtrace.diagnosis import Diagnosis
        from llmtrace.viewer.lineage_json import diagnosis_as_json

        health = trace_view.trace.health
        too_long = ("This trace is too long to be diagnosed in a file.",)
        content["diagnosis"] = diagnosis_as_json(Diagnosis(trace_view.trace.trace_id, health, unchecked=too_long))
    if len(spans) <= LONGEST_SPREAD:
        content["reached"] = {span: trace_view.reached(span) for span in spans}
    return content


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
