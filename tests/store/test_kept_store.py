"""A store that an earlier version of this library wrote is read without a difference.

``kept/spans.txt`` is what that version read from its own journal, one span a line: an agent with a model call, valid and
invalid tool calls, a tool that raised, results cut and redacted, a retrieval, plain spans with odd values, and a program that
was killed. Members at their defaults are left out, so that a later version may add one.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmtrace.codec import genai
from llmtrace.store import Query
from llmtrace.store.local import LocalStore

KEPT = Path(__file__).parent / "kept"


def line(value: Any) -> str:
    """A value as text, without members at their defaults."""
    if dataclasses.is_dataclass(value):
        members = [field for field in dataclasses.fields(value) if getattr(value, field.name) != default(field)]
        return f"{type(value).__name__}({', '.join(f'{field.name}={line(getattr(value, field.name))}' for field in members)})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{line(name)}: {line(member)}" for name, member in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}({', '.join(map(line, value))})"
    return ascii(value)


def default(field: dataclasses.Field[Any]) -> Any:
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()


def test_a_kept_store_reads_as_before(tmp_path: Path) -> None:
    """Written again, its spans are the same, too."""
    shutil.copytree(KEPT / "journal", tmp_path / "journal")
    store = LocalStore(tmp_path, background=False)
    spans = [span for summary in store.traces(Query(limit=100)) for span in store.trace(summary.trace_id).spans]
    expected = (KEPT / "spans.txt").read_text(encoding="utf-8").splitlines()
    assert sorted(map(line, spans)) == sorted(expected)
    assert [ascii(genai.decode(genai.encode(span))) for span in spans] == [*map(ascii, spans)]
