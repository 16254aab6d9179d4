"""The file of decisions about issues: one JSON object a line, which is only ever appended to.

It is ``issues.jsonl`` in the store's folder, or the file that LLMTRACE_ISSUES names, such as one in a git repository. A line
says that an issue was opened, proven, fixed or dismissed, when, by whom and why.

Law: the order of lines does not matter, and a repeated line changes nothing. So git may merge the lines of two people, and a
file with conflict marks is read as if both sides were taken. A line that is not a decision is skipped and counted.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

from llmtrace.config import Config
from llmtrace.errors import StoreError
from llmtrace.model.issues import Version
from llmtrace.model.value import value
from llmtrace.store import locks
from llmtrace.store.local import ISSUES

Ruling: TypeAlias = Literal["open", "proven", "fixed", "dismissed"]
"""What a decision says of an issue."""
_CONFLICT_MARKS: Final = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")
_LONGEST: Final = 1 << 20
"""Characters of a line; a longer one is not a decision."""


@value
class Decision:
    issue: str
    """Id of the issue."""
    state: Ruling
    at: int
    """Nanoseconds since the Unix epoch."""
    by: str = ""
    """Who decided."""
    because: str = ""
    """The reason; for ``proven``, what was tried and how the runs ended."""
    title: str = ""
    """The issue's title at that time."""
    version: str = ""
    """The commit, service version or prompt with which it was fixed."""
    before: Version | None = None
    """The versions that had run before the fix."""
    run: str = ""
    """Id of the trace with which it was proven."""
    test: str = ""
    """The regression test that passed."""


class Decisions:
    """The decisions of a file, oldest first."""

    def __init__(self, decisions: Iterable[Decision] = (), *, skipped: int = 0, conflicts: int = 0) -> None:
        self.by_issue: dict[str, list[Decision]] = {}
        for decision in sorted(decisions, key=lambda decision: (decision.at, _line(decision))):
            history = self.by_issue.setdefault(decision.issue, [])
            if not history or history[-1] != decision:
                history.append(decision)
        self.skipped = skipped
        """Number of lines that are not decisions."""
        self.conflicts = conflicts
        """Number of lines with a conflict mark of git."""

    def history(self, issue: str) -> tuple[Decision, ...]:
        """Return the decisions about an issue, oldest first."""
        return tuple(self.by_issue.get(issue, ()))

    def last(self, issue: str) -> Decision | None:
        """Return the decision that counts; None for an issue that nobody has decided on."""
        return next(reversed(self.by_issue.get(issue, ())), None)


class DecisionFile:
    def __init__(self, path: Path, *, is_private: bool) -> None:
        """``is_private``: create the file for its user only, as the other files of a store."""
        self.path = path
        self._is_private = is_private

    def read(self) -> Decisions:
        """Return the decisions; none without a file. Raises StoreError if the file cannot be read."""
        try:
            text = self.path.read_bytes().decode("utf-8", "replace")
        except FileNotFoundError:
            return Decisions()
        except OSError as error:
            raise StoreError(f"cannot read {self.path}: {error.strerror}") from error
        decisions, skipped, conflicts = list[Decision](), 0, 0
        for line in text.splitlines():
            if not line.strip():
                continue
            if line.startswith(_CONFLICT_MARKS):
                conflicts += 1
                continue
            decision = _parse(line)
            if decision is None:
                skipped += 1
            else:
                decisions.append(decision)
        return Decisions(decisions, skipped=skipped, conflicts=conflicts)

    def append(self, *decisions: Decision) -> None:
        """Add decisions, in one write. Raises StoreError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | locks.FLAGS
        try:
            if self._is_private:
                locks.make_folder(self.path.parent)
            with os.fdopen(os.open(self.path, flags, 0o600 if self._is_private else 0o666), "rb+", buffering=0) as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(0, end - 1))
                begins_line = not end or file.read(1) == b"\n"
                text = "".join(f"{_line(decision)}\n" for decision in decisions)
                file.write(("" if begins_line else "\n").encode() + text.encode("utf-8", "replace"))
        except OSError as error:
            raise StoreError(f"cannot write {self.path}: {error.strerror}") from error


def decision_file(folder: Path | None, config: Config) -> DecisionFile | None:
    """Return the file of decisions about a store's issues.

    ``folder``: of a local store. Returns None without a folder, if LLMTRACE_ISSUES is not set either.
    """
    if config.issues:
        return DecisionFile(Path(config.issues).expanduser(), is_private=False)
    return None if folder is None else DecisionFile(folder / ISSUES, is_private=True)


def _line(decision: Decision) -> str:
    at = datetime.fromtimestamp(decision.at // 1000 / 1e6, timezone.utc).isoformat(timespec="microseconds")
    content: dict[str, Any] = {
        "issue": decision.issue,
        "state": decision.state,
        "in": decision.version,
        "at": at.replace("+00:00", "Z"),
        "by": decision.by,
        "because": decision.because,
        "title": decision.title,
        "run": decision.run,
        "test": decision.test,
        "before": decision.before,
    }
    return json.dumps({key: content for key, content in content.items() if content not in ("", None)})


def _parse(line: str) -> Decision | None:
    """Return the decision of a line; None if it is not one."""
    if len(line) > _LONGEST:
        return None
    with contextlib.suppress(ValueError, RecursionError, OverflowError, OSError):
        content = json.loads(line)
        if not isinstance(content, dict):
            return None
        texts = {key: content.get(key, "") for key in ("issue", "by", "because", "title", "in", "run", "test", "at")}
        if not all(isinstance(text, str) for text in texts.values()) or not texts["issue"]:
            return None
        if content.get("state") not in get_args(Ruling):
            return None
        at = datetime.fromisoformat(texts.pop("at").replace("Z", "+00:00"))
        moment = at if at.tzinfo is not None else at.replace(tzinfo=timezone.utc)
        return Decision(
            state=content["state"],
            at=round(moment.timestamp() * 1e6) * 1000,
            version=texts.pop("in"),
            before=_versions(content.get("before")),
            **texts,
        )
    return None


def _versions(content: object) -> Version | None:
    if not isinstance(content, Mapping):
        return None
    return {str(kind): tuple(map(str, values)) for kind, values in content.items() if isinstance(values, list)}


def decisions_of(folder: Path | None, config: Config) -> Decisions:
    """Return the decisions about a store's issues, see `decision_file`. Raises StoreError."""
    file = decision_file(folder, config)
    return Decisions() if file is None else file.read()
