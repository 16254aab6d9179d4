"""The sums of a budget over several runs: a small file in the store's folder, which all processes append to and read.

Each ended call appends a line, in one ``write`` of less than a page. Each call that is about to start reads the new lines.

Laws: no process waits for another, and no write is synced. A torn line loses only itself. A file that reaches `MAX_BYTES` is
replaced by one with its sums, and the folder has at most `MAX_FILES` files. A file's name is a digest, so it names no user.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic_core import from_json

from llmtrace.locks import fork_safe_lock
from llmtrace.model.budgets import Spender
from llmtrace.store import locks
from llmtrace.store.warnings import warn_once

MAX_SPENDERS = 64
REST = "others"
"""Name under which all spenders after the first `MAX_SPENDERS` are counted."""


@dataclass(slots=True)
class Amounts:
    """Amounts spent by a call, a spender or a whole window, by the names of the limits."""

    usd: float = 0.0
    calls: int = 0
    tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0

    def add(self, more: Amounts) -> None:
        self.usd += more.usd
        self.calls += more.calls
        self.tokens += more.tokens
        self.output_tokens += more.output_tokens
        self.seconds += more.seconds


class SpendWindow:
    """The amounts spent so far, in memory: the sums of one run. Readers and writers hold ``lock``."""

    def __init__(self) -> None:
        self.lock = fork_safe_lock()  # reentrant: the garbage collector may end a span while this thread holds it
        self.spent = Amounts()
        self.spenders: dict[str, Amounts] = {}
        self.under_way = 0
        """Number of model calls that have started and not ended."""
        self.flowing: dict[str, tuple[str, Amounts]] = {}
        """Spender and amounts so far of each open stream, by the id of its span."""

    def refresh(self) -> None:
        """Read what other processes have spent since the last call. A window in memory has nothing to read."""

    def add(self, spender: str, amounts: Amounts) -> None:
        self._count(spender, amounts)

    def _count(self, spender: str, amounts: Amounts) -> None:
        self.spent.add(amounts)
        total = self.spenders.get(spender)
        if total is None:
            total = self.spenders.setdefault(spender if len(self.spenders) < MAX_SPENDERS else REST, Amounts())
        total.add(amounts)

    def total(self, limit: str) -> float:
        """Return the amount spent of ``limit``, including open streams."""
        flowing = sum(getattr(amounts, limit) for _, amounts in list(self.flowing.values())) if self.flowing else 0
        spent: float = getattr(self.spent, limit) + flowing
        return spent

    def top(self, limit: str, count: int = 3) -> tuple[Spender, ...]:
        """Return the ``count`` greatest spenders of ``limit``, the greatest first."""
        spent_by_name: dict[str, float] = {}
        for name, amounts in (*self.spenders.items(), *self.flowing.values()):
            spent_by_name[name] = spent_by_name.get(name, 0.0) + getattr(amounts, limit)
        total = sum(spent_by_name.values())
        ranked = sorted(((name, spent) for name, spent in spent_by_name.items() if spent > 0), key=lambda pair: -pair[1])
        return tuple(Spender(name, spent / total, spent) for name, spent in ranked[:count])


FOLDER = "budgets"
SUFFIX = ".spent"
MAX_BYTES = 256 << 10
MAX_FILES = 4096
MAX_DAYS = 40.0
"""Days after its last change when a file is removed, unless it has no period. Longer than the longest period."""

_PERIODS = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m"}
_HEAD = 24
"""Number of first bytes that identify a file, because the number of a removed file's inode is used again."""
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | locks.FLAGS


def period(per: str | None, now: float | None = None) -> str:
    """Return the name of the hour, day or month that ``now`` is in, in UTC; ``ever`` if ``per`` is None.

    ``now``: seconds since the Unix epoch; default, the current time.
    """
    return "ever" if per is None else time.strftime(_PERIODS[per], time.gmtime(time.time() if now is None else now))


class SpendFile(SpendWindow):
    """A spend window with a file. ``path`` None: no store has a folder, so the sums end with the process."""

    def __init__(self, path: Path | None) -> None:
        super().__init__()
        self.path = path
        self._file: tuple[int, bytes] | None = None
        """Inode and first bytes of the file that was read last; its first ``_read`` bytes are counted."""
        self._read = 0
        self._waiting: list[tuple[str, Amounts]] = []
        """Amounts that could not be written yet. They are counted already."""

    def refresh(self) -> None:
        if self.path is None:
            return
        try:
            descriptor = os.open(self.path, os.O_RDONLY | locks.FLAGS)
        except FileNotFoundError:
            return
        except OSError as error:
            self._trouble(error)
            return
        try:
            self._read_new(descriptor)
        except OSError as error:
            self._trouble(error)
        finally:
            os.close(descriptor)

    def _read_new(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        file = (status.st_ino, _pread(descriptor, _HEAD, 0))
        if file != self._file:  # the file was replaced by its sums, or is new to this process: read all of it
            self._file, self._read = file, 0
            self.spent, self.spenders = Amounts(), {}
            for spender, amounts in self._waiting:
                self._count(spender, amounts)
        if status.st_size > self._read:
            data = _pread(descriptor, status.st_size - self._read, self._read)
            whole = data.rfind(b"]") + 1
            self._read += whole
            for line in data[:whole].split(b"\n"):
                self._read_line(line)

    def _read_line(self, line: bytes) -> None:
        try:
            spender, usd, calls, tokens, output_tokens, seconds = from_json(line)
            self._count(str(spender), Amounts(float(usd), int(calls), int(tokens), int(output_tokens), float(seconds)))
        except (ValueError, TypeError):
            if line.strip() and not line.startswith(b"#"):  # not the head that `_bound` writes
                warn_once(
                    f"the budget kept in {self.path} has a line that cannot be read: what was spent there is not counted, so "
                    "that more may be spent than its limit. Remove the file to begin anew"
                )

    def add(self, spender: str, amounts: Amounts) -> None:
        if self.path is None:
            self._count(spender, amounts)
            return
        self._waiting.append((spender, amounts))
        try:
            if self._write(b"".join(_line(spender, amounts) for spender, amounts in self._waiting)):
                if len(self._waiting) > 1:  # all but the last are counted already, so read the whole file again
                    self._file = None
                self._waiting.clear()
                self.refresh()
                self._bound()
                return
        except OSError as error:
            self._trouble(error)
        self._count(spender, amounts)

    def _write(self, data: bytes) -> bool:
        """Append to the file. Returns False while another process replaces the file; the caller then tries again later."""
        assert self.path is not None
        if self._file is None and not self.path.exists():
            locks.make_folder(self.path.parent)
            sweep(self.path.parent)
        descriptor = os.open(self.path, _FLAGS, 0o600)
        try:
            # without a link, the file was replaced after it was opened, so a line written to it would be lost
            if locks.take(descriptor, exclusive=False) is False or os.fstat(descriptor).st_nlink == 0:
                return False
            return os.write(descriptor, data) == len(data)
        finally:
            os.close(descriptor)

    def _bound(self) -> None:
        """Replace a file that is too long by one with its sums, unless another process is using it: then a later call does."""
        if self._read < MAX_BYTES or self.path is None:
            return
        descriptor = os.open(self.path, os.O_RDONLY | locks.FLAGS)
        fresh = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        try:
            if locks.take(descriptor, exclusive=True) is not True or os.fstat(descriptor).st_nlink == 0:
                return
            self._read_new(descriptor)
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | locks.FLAGS, 0o600), "wb") as file:
                file.write(b"\n#" + os.urandom(_HEAD // 2).hex().encode())
                file.write(b"".join(_line(spender, amounts) for spender, amounts in self.spenders.items()))
            fresh.replace(self.path)
        finally:
            fresh.unlink(missing_ok=True)
            os.close(descriptor)

    def _trouble(self, error: OSError) -> None:
        del self._waiting[:-1000]  # a folder that stays unwritable must not fill the memory
        warn_once(
            f"the budget kept in {self.path} cannot be shared with other processes ({error.strerror}): it counts this one only"
        )


def _line(spender: str, amounts: Amounts) -> bytes:
    """Return the line of one call, shorter than a page.

    It begins with the line break, so that a torn line before it does not damage it.
    """
    usd, seconds = round(amounts.usd, 9), round(amounts.seconds, 3)
    row = [spender[:200], usd, amounts.calls, amounts.tokens, amounts.output_tokens, seconds]
    return b"\n" + json.dumps(row).encode("ascii")


def _pread(descriptor: int, length: int, offset: int) -> bytes:
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, length)


def sweep(folder: Path) -> None:
    """Remove files after `MAX_DAYS`, and the oldest if there are more than `MAX_FILES`. Runs once an hour. Never raises."""
    stamp = folder / ".swept"
    now = time.time()
    try:
        if stamp.exists() and now - stamp.stat().st_mtime < 3600:
            return
        descriptor = os.open(stamp, os.O_WRONLY | os.O_CREAT | locks.FLAGS, 0o600)
        try:
            os.utime(descriptor)
        finally:
            os.close(descriptor)
        files = sorted((file.stat().st_mtime, file.name) for file in os.scandir(folder) if file.name.endswith(SUFFIX))
        for place, (modified, name) in enumerate(files):
            old = now - modified > MAX_DAYS * 86400 and not name.startswith("ever")
            if old or place < len(files) - MAX_FILES:
                (folder / name).unlink(missing_ok=True)
    except OSError:
        return


_MAX_OPEN = 1024
_open: dict[tuple[Path | None, str], SpendFile] = {}
_process = os.getpid()
_lock = fork_safe_lock()


def spend_file(store: Path | None, name: str, scope: str, who: str, period: str) -> SpendFile:
    """Return the spend file of ``who`` in ``period``. Budgets of this process with the same name and scope share it.

    ``store``: the store's folder, or None.
    """
    global _process
    digest = hashlib.sha256(json.dumps([name, scope, who]).encode()).hexdigest()[:24]
    file_name = f"{period}-{digest}{SUFFIX}"
    with _lock:
        if _process != os.getpid():  # after a fork, the calls and streams that are under way belong to the parent
            _process = os.getpid()
            _open.clear()
        file = _open.get((store, file_name))
        if file is None:
            if len(_open) >= _MAX_OPEN:
                del _open[next(iter(_open))]
            file = _open[store, file_name] = SpendFile(None if store is None else store / FOLDER / file_name)
        return file
