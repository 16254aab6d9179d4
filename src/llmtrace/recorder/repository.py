"""Reads the git repository around a program from its files: the commit, and whether files differ from it. Git is not run.

Law: nothing is written, and no hook, filter or other program of the repository runs. An unknown answer is None.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MOST_FILES = 20_000
"""Tracked files of a repository that is checked for changes, at most. Checking more takes longer than half a second."""
_MOST_READ = 32 << 20
"""Bytes read from files whose time, but not their size, differs from git's index, at most."""
NO_CHANGES = "none"
_FLAT = (2, 3, 4)
_REGULAR, _LINK = 0o100000, 0o120000
_SHARED_INDEX = b"link"
"""Extension of an index whose entries are in another file (``core.splitIndex``)."""


class WorkingTree:
    """Reads once, in a thread of its own, whether the tracked files around a program differ from its commit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.changes: str | None = None
        """Digest of the differences, or ``none``; None while unknown."""

    def read_in_background(self) -> None:
        threading.Thread(target=self.read, name="llmtrace working tree", daemon=True).start()

    def read(self) -> str | None:
        self.changes = uncommitted_changes(self.folder)
        return self.changes


def git_revision(start: Path) -> str | None:
    """Return the commit that is checked out around ``start``, or None without a repository."""
    try:
        repository = _repository(start)
        return None if repository is None else _head(repository[1])
    except (OSError, ValueError):
        return None


def uncommitted_changes(start: Path) -> str | None:
    """Return a digest (16 hex digits) of the tracked files around ``start`` that differ from the commit, or ``none``.

    Untracked files do not count. None outside a repository, and if the answer is unknown: more than `MOST_FILES` files, an
    index of an unknown format, or only staged changes.
    """
    try:
        repository = _repository(start)
        if repository is None:
            return None
        folder, git = repository
        data = (git / "index").read_bytes()
        changed, budget = hashlib.sha256(), _MOST_READ
        differs = False
        entries, extensions = _read_index(data)
        if any(name == _SHARED_INDEX for name, _ in _extensions(data, extensions)):
            return None
        for entry in entries:
            state, read = _state(folder, entry, budget)
            budget -= read
            if state is None:
                return None
            if state:
                differs = True
                changed.update(f"{entry.path} {state}\n".encode("utf-8", "surrogateescape"))
        if differs:
            return changed.hexdigest()[:16]
        return NO_CHANGES if _is_committed(git, data, extensions) else None
    except Exception:  # a file of an unknown format must not end a program's thread with a traceback
        return None


class _Entry(NamedTuple):
    path: str
    mode: int
    size: int
    modified: tuple[int, int]
    """Seconds and nanoseconds."""
    digest: bytes


def _repository(start: Path) -> tuple[Path, Path] | None:
    """Return the working tree's folder and its git folder."""
    for folder in (start, *start.parents):
        git = folder / ".git"
        if git.is_file():  # a worktree or submodule: "gitdir: <path>"
            git = folder / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        if (git / "HEAD").is_file():
            return folder, git
    return None


def _head(git: Path) -> str | None:
    head = (git / "HEAD").read_text(encoding="utf-8").strip()
    if not head.startswith("ref:"):
        return head or None
    reference = head.removeprefix("ref:").strip()
    for root in _roots(git):
        if (root / reference).is_file():
            return (root / reference).read_text(encoding="utf-8").strip()
        packed = root / "packed-refs"
        if packed.is_file():
            for line in packed.read_text(encoding="utf-8").splitlines():
                if line.endswith(" " + reference):
                    return line.split(" ", 1)[0]
    return None


def _roots(git: Path) -> list[Path]:
    """Return the git folder, and for a worktree also the git folder that it shares with others."""
    common = git / "commondir"
    return [git, git / common.read_text(encoding="utf-8").strip()] if common.is_file() else [git]


def _read_index(data: bytes) -> tuple[list[_Entry], int]:
    """Return the index's entries for files, and the offset of its extensions. Raises ValueError for an unknown format."""
    signature, version, count = struct.unpack_from(">4sLL", data)
    if signature != b"DIRC" or version not in _FLAT or count > MOST_FILES:
        raise ValueError("not an index that can be read")
    entries: list[_Entry] = []
    at, path = 12, b""
    for _ in range(count):
        begin = at
        fields = struct.unpack_from(">10L20sH", data, at)
        at += 62
        skipped = False
        if fields[11] & 0x4000:
            (extended,) = struct.unpack_from(">H", data, at)
            skipped = bool(extended & 0x4000)  # not checked out
            at += 2
        if version == 4:
            removed, at = _varint(data, at)
            end = data.index(b"\0", at)
            path = path[: len(path) - removed] + data[at:end]
            at = end + 1
        else:
            end = data.index(b"\0", at)
            path = data[at:end]
            at = begin + (end - begin + 8) // 8 * 8
        if not skipped and not fields[11] & 0x8000 and fields[6] & 0o170000 in (_REGULAR, _LINK):
            name = path.decode("utf-8", "surrogateescape")
            entries.append(_Entry(name, fields[6], fields[9], (fields[2], fields[3]), fields[10]))
    return entries, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = data[at] & 0x7F
    while data[at] & 0x80:
        at += 1
        number = ((number + 1) << 7) | (data[at] & 0x7F)
    return number, at + 1


def _state(folder: Path, entry: _Entry, budget: int) -> tuple[str | None, int]:
    """Return the difference of a file from the index (empty: none; None: unknown), and the number of bytes read."""
    path = folder / entry.path
    try:
        status = os.lstat(path)
    except OSError:
        return "deleted", 0
    seconds, nanoseconds = divmod(status.st_mtime_ns, 1_000_000_000)
    is_same_size = status.st_size & 0xFFFFFFFF == entry.size
    if is_same_size and (seconds & 0xFFFFFFFF, nanoseconds) == entry.modified:
        return "", 0
    if status.st_size > budget:
        return None, 0
    try:
        content = os.fsencode(os.readlink(path)) if entry.mode & 0o170000 == _LINK else path.read_bytes()
    except OSError:
        return None, 0
    digest = _object_digest(b"blob", content)
    is_same = digest == entry.digest or _object_digest(b"blob", content.replace(b"\r\n", b"\n")) == entry.digest
    return "" if is_same else digest.hex(), len(content)


def _object_digest(kind: bytes, content: bytes) -> bytes:
    return hashlib.sha1(kind + b" %d\0" % len(content) + content, usedforsecurity=False).digest()


def _is_committed(git: Path, data: bytes, at: int) -> bool:
    """Return True if the index, by its cache of trees, holds the commit's tree."""
    for name, extension in _extensions(data, at):
        if name == b"TREE":
            header, _, rest = extension.partition(b"\0")[2].partition(b"\n")
            if int(header.split(b" ")[0]) < 0:
                return False
            tree = _tree_of(git, _head(git))
            return tree is None or tree == rest[:20].hex()
    return False


def _extensions(data: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    while at + 8 <= len(data) - 20:
        name, size = struct.unpack_from(">4sL", data, at)
        yield name, data[at + 8 : at + 8 + size]
        at += 8 + size


def _tree_of(git: Path, commit: str | None) -> str | None:
    """Return the tree of a commit that is stored in a file of its own, as new ones are; None for one in a pack."""
    for root in _roots(git) if commit else ():
        file = root / "objects" / str(commit)[:2] / str(commit)[2:]
        if file.is_file():
            content = zlib.decompress(file.read_bytes()).partition(b"\0")[2]
            return content.split(b"\n", 1)[0].removeprefix(b"tree ").decode()
    return None
