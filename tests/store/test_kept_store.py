"""A store that an earlier version of this library wrote is read without a difference.

``kept/spans.txt`` is what that version read from its own journal, one span a line: an agent with a model call, valid and
invalid tool calls, a tool that raised, results cut and redacted, a retrieval, plain spans with odd values, and a program that
was killed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from llmtrace.codec import genai
from llmtrace.store import Query
from llmtrace.store.local import LocalStore

KEPT = Path(__file__).parent / "kept"


def test_a_kept_store_reads_as_before(tmp_path: Path) -> None:
    """Written again, its spans are the same, too."""
    shutil.copytree(KEPT / "journal", tmp_path / "journal")
    store = LocalStore(tmp_path, background=False)
    spans = [span for summary in store.traces(Query(limit=100)) for span in store.trace(summary.trace_id).spans]
    expected = (KEPT / "spans.txt").read_text(encoding="utf-8").splitlines()
    assert sorted(map(ascii, spans)) == sorted(expected)
    assert [ascii(genai.decode(genai.encode(span))) for span in spans] == [*map(ascii, spans)]
