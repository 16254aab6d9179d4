"""A trace as one file: what it holds, and that nothing but its own script may run."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmtrace.model import Message, Text
from tests.cli.traces import SILENT, Maker, append_to, chat, user
from tests.viewer.conftest import Served

HOSTILE = "</script><script>alert(1)</script><!--"


def held(html: str) -> Any:
    packed = re.search(r'<script type="application/gzip" id="trace">([^<]*)</script>', html)
    assert packed is not None
    return json.loads(gzip.decompress(base64.b64decode(packed[1])))


def test_the_file_holds_all_that_the_server_tells(viewer: Served) -> None:
    """Rows, payloads, suspects and origins; the policy names the digests of its script and its style, and no address."""
    html = viewer.ask(f"/api/traces/{SILENT}/page").body.decode()
    told = held(html)
    assert told["rows"] == viewer.ask(f"/api/traces/{SILENT}").json["rows"]
    assert set(told["payloads"]) == {row["id"] for row in told["rows"]}
    assert told["diagnosis"]["suspects"][0]["pointer"] == "/order_id"
    policy = re.search(r'content-security-policy" content="([^"]*)"', html)
    script = re.search(r'<script type="module">(.*)</script>', html, re.DOTALL)
    assert policy is not None
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy[1]
    assert policy[1].startswith("default-src 'none'")
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)(?!api\.|\$)[^\s\"'`]+", html) == []


def test_what_was_written_stays_data(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """Markup in a message is nowhere in the file as markup; the command says what it wrote."""
    maker = Maker("ab" * 16, 1)
    append_to(
        str(tmp_path / "store"),
        maker.span(1, None, HOSTILE, chat([user(HOSTILE)], Message("assistant", (Text(HOSTILE),)), model=HOSTILE)),
    )
    path = tmp_path / "page.html"
    ran = llmtrace("export", "--html", "-o", str(path), "--store", str(tmp_path / "store"))
    assert (ran.code, ran.err.startswith("exported 1 span to ")) == (0, True)
    html = path.read_text(encoding="utf-8")
    assert "alert(1)" not in html
    assert HOSTILE in json.dumps(held(html))
    bare = llmtrace("export", "--html", "--content", "none", "-o", str(path), "--store", str(tmp_path / "store"))
    assert bare.code == 0
    assert held(path.read_text(encoding="utf-8"))["payloads"][next(iter(held(html)["payloads"]))].get("input") == []
