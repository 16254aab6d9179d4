"""The commit and the uncommitted changes of a repository, read from its files, beside what git itself says."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llmtrace.recorder.repository import NO_CHANGES, WorkingTree, git_revision, uncommitted_changes

Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Git in a new repository of two files."""

    def run(*words: str, folder: Path = tmp_path) -> str:
        options = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *options, *words], cwd=folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    run("init")
    (tmp_path / "agent.py").write_text("x = 1\n", encoding="utf-8")
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts/übung.txt").write_text("Be kind.", encoding="utf-8")
    run("add", ".")
    run("commit", "-m", "first")
    return run


def test_a_clean_repository(git: Git, tmp_path: Path) -> None:
    """From any folder of it; untracked files and newer times do not count."""
    (tmp_path / "untracked.txt").write_text("x", encoding="utf-8")
    os.utime(tmp_path / "agent.py", (1, 1))
    for folder in (tmp_path, tmp_path / "prompts"):
        assert uncommitted_changes(folder) == NO_CHANGES
        assert git_revision(folder) == git("rev-parse", "HEAD")


def test_changes_have_a_digest_of_their_own(git: Git, tmp_path: Path) -> None:
    """Of the same size, deleted, or of another file: each differs, and the same change is the same."""
    digests = []
    for text in ("x = 2\n", "x = 3\n", "x = 2\n"):
        (tmp_path / "agent.py").write_text(text, encoding="utf-8")
        digests.append(uncommitted_changes(tmp_path))
    assert digests[0] == digests[2] != digests[1]
    (tmp_path / "prompts/übung.txt").unlink()
    digests.append(uncommitted_changes(tmp_path))
    assert len(set(digests)) == 3
    assert not {NO_CHANGES, None} & set(digests)
    assert git("status", "--porcelain").count("\n") == 1


def test_staged_changes_are_not_called_clean(git: Git, tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text("x = 2\n", encoding="utf-8")
    git("add", "agent.py")
    assert uncommitted_changes(tmp_path) is None
    git("commit", "-m", "second")
    assert uncommitted_changes(tmp_path) == NO_CHANGES


@pytest.mark.parametrize("version", ["2", "3", "4"])
def test_every_form_of_the_index(version: str, git: Git, tmp_path: Path) -> None:
    git("update-index", "--index-version", version)
    assert uncommitted_changes(tmp_path) == NO_CHANGES
    git("gc")
    assert uncommitted_changes(tmp_path) == NO_CHANGES
    assert git_revision(tmp_path) == git("rev-parse", "HEAD")


def test_a_worktree_has_its_own_state(git: Git, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other") / "tree"
    git("worktree", "add", str(other))
    (other / "agent.py").write_text("x = 9\n", encoding="utf-8")
    assert uncommitted_changes(other) not in (None, NO_CHANGES)
    assert uncommitted_changes(tmp_path) == NO_CHANGES


def test_a_link_and_a_skipped_file(git: Git, tmp_path: Path) -> None:
    """A link is compared by where it leads; a file that git is told to leave alone is left alone."""
    (tmp_path / "link").symlink_to("agent.py")
    git("add", "link")
    git("commit", "-m", "link")
    assert uncommitted_changes(tmp_path) == NO_CHANGES
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("nowhere!")
    assert uncommitted_changes(tmp_path) not in (None, NO_CHANGES)
    git("checkout", "--", "link")
    git("update-index", "--skip-worktree", "agent.py")
    (tmp_path / "agent.py").write_text("x = 2\n", encoding="utf-8")
    assert uncommitted_changes(tmp_path) in (NO_CHANGES, None)


def test_nothing_is_written_and_nothing_raises(git: Git, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    index = tmp_path / ".git/index"
    before = index.read_bytes(), index.stat().st_mtime_ns
    os.utime(tmp_path / "agent.py", (1, 1))
    uncommitted_changes(tmp_path)
    assert (index.read_bytes(), index.stat().st_mtime_ns) == before
    for damaged in (b"", b"DIRC", before[0][:40], before[0].replace(b"DIRC", b"XXXX")):
        index.write_bytes(damaged)
        assert uncommitted_changes(tmp_path) is None
    assert uncommitted_changes(tmp_path_factory.mktemp("none")) is None


def test_it_is_read_in_the_background(git: Git, tmp_path: Path) -> None:
    tree = WorkingTree(tmp_path)
    assert tree.changes is None
    tree.read_in_background()
    end = time.monotonic() + 20
    while tree.changes is None and time.monotonic() < end:
        time.sleep(0.01)
    assert tree.changes == NO_CHANGES


def test_an_index_that_is_split_is_not_called_clean(git: Git, tmp_path: Path) -> None:
    """Its entries are in another file, which is not read."""
    git("config", "core.splitIndex", "true")
    git("update-index", "--split-index")
    (tmp_path / "tools.py").write_text("y = 1\n", encoding="utf-8")
    git("add", ".")
    git("commit", "-m", "second")
    git("read-tree", "HEAD")
    git("status")
    assert uncommitted_changes(tmp_path) is None
    (tmp_path / "agent.py").write_text("x = 2\n", encoding="utf-8")
    assert uncommitted_changes(tmp_path) is None
