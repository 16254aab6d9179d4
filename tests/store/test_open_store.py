"""Which store a URL opens, and what is said where none can be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from llmtrace.config import Config
from llmtrace.errors import ConfigurationError, UnreadableStore
from llmtrace.store import open_store
from llmtrace.store.local import LocalStore, default_folder
from llmtrace.store.memory import MemoryStore
from llmtrace.store.otlp_file import OtlpFileStore
from tests.store.spans import span


@pytest.mark.parametrize("url", ["auto", "", "AUTO", " "])
def test_auto_is_the_users_data_folder(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a choice, spans go where the platform keeps a user's data; before the first there is nothing, and no error."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    store = open_store(url)
    assert isinstance(store, LocalStore)
    assert store.folder == default_folder()
    assert store.traces() == []
    assert not (tmp_path / "data").exists()


def test_a_path_is_a_local_store_and_a_file_is_otlp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders, *.jsonl, and files that are there; ~ is the home; a relative path is made absolute."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trace.json").touch()
    opened = {url: open_store(url) for url in ("mine", "~/mine", "a.jsonl", "otlp-json:b.txt", "trace.json", "local:mine")}
    assert {url: type(store) for url, store in opened.items()} == {
        "mine": LocalStore,
        "~/mine": LocalStore,
        "a.jsonl": OtlpFileStore,
        "otlp-json:b.txt": OtlpFileStore,
        "trace.json": OtlpFileStore,
        "local:mine": LocalStore,
    }
    assert opened["~/mine"].folder == opened["mine"].folder == opened["local:mine"].folder == tmp_path / "mine"
    assert opened["a.jsonl"].path == tmp_path / "a.jsonl"
    assert isinstance(open_store("memory:"), MemoryStore)


def test_an_unknown_scheme_is_named_with_what_was_meant() -> None:
    """A misspelt scheme is a ConfigurationError that suggests one and lists all."""
    with pytest.raises(
        ConfigurationError,
        match=r"unknown store scheme 'memroy'.*Did you mean 'memory'\? Use a folder path or one of: clickhouse",
    ):
        open_store("memroy:")


def test_off_cannot_be_read() -> None:
    """LLMTRACE_STORE=off means that nothing is kept, and says so when asked for traces."""
    with pytest.raises(UnreadableStore, match="off"):
        open_store("off")


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    """A named place without a store is an error: an empty list would hide a misspelt path. An empty folder is a new store."""
    with pytest.raises(UnreadableStore, match="no store at"):
        open_store(str(tmp_path / "misspelt")).traces()
    (tmp_path / "notes").mkdir()
    assert open_store(str(tmp_path / "notes")).traces() == []
    (tmp_path / "notes" / "todo.txt").touch()
    with pytest.raises(UnreadableStore, match="not an llmtrace store"):
        open_store(str(tmp_path / "notes")).trace("last")
    assert sorted(path.name for path in (tmp_path / "notes").iterdir()) == ["todo.txt"]


def test_bounds_come_from_the_configuration(tmp_path: Path) -> None:
    """max_store_bytes and max_store_days bound what the store keeps."""
    store = open_store(str(tmp_path), config=Config(max_store_bytes=1000, max_store_days=2.0))
    store.append(span(1))
    assert (tmp_path / "journal" / ".bounds").read_text() == "1000 2"
    memory = open_store("memory:", config=Config(max_store_bytes=5000))
    for number in range(1, 101):
        memory.append(span(number, attributes={"text": "x" * 100}))
    kept = [int(one.trace_id, 16) for one in memory.traces()]
    assert kept == list(range(100, 100 - len(kept), -1))
    assert 20 < len(kept) < 50


def test_the_local_store_loads_no_wire_and_no_metadata() -> None:
    """A program that writes to the default store does not pay for OTLP's protobuf or for entry points."""
    program = (
        "import sys; from llmtrace.store import open_store; open_store('auto'); "
        "print([name for name in ('opentelemetry', 'google.protobuf', 'importlib.metadata') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
