"""``llmtrace verify``: compare a lock file with the present environment, or with a later run, and name what changed first.

Without ``--trace`` it looks at Python, libraries, git and environment variables, here and now: call it with the Python of the
program, in its folder. Exit codes: 0 nothing has changed, 3 something has, 4 it could not tell.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmtrace.cli.environment_text import changes_as_json, write_changes
from llmtrace.cli.freeze import FORM
from llmtrace.cli.options import CHANGED, FINE, NOT_JUDGED, print_json, read_file
from llmtrace.cli.stores import opened
from llmtrace.cli.terminal import Screen
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.diagnosis.environment import (
    PROGRAM_KINDS,
    Change,
    Environment,
    Fact,
    compare,
    environment_of,
    environment_of_program,
    facts_from_json,
    unknown_kinds,
    without_task,
)
from llmtrace.errors import StoreError
from llmtrace.installed import all_versions
from llmtrace.model import Span
from llmtrace.recorder.repository import uncommitted_changes
from llmtrace.recorder.resource import describe

NAME = "verify"
HELP = "say what has changed since llmtrace freeze wrote a lock file"
EXAMPLE = "llmtrace verify run.lock.json --trace last"

_NEEDED = ("python", "library")
"""Kinds of facts that both sides need for a verdict, if no call is compared."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lock", help="the lock file; - is stdin")
    parser.add_argument("--trace", metavar="TRACE", help="compare with this later run instead of the present environment")


def run(args: argparse.Namespace) -> int:
    lock = read_file(args.lock, _read)
    before = facts_from_json(lock["facts"])
    if args.trace is None:
        before = Environment({fact: contents for fact, contents in before.facts.items() if fact.kind in PROGRAM_KINDS}, {})
        now = _present(before)
    else:
        with opened(args) as store:
            now = without_task(environment_of(store.trace(args.trace)))
            try:  # the lock file has digests of prompts; their text, if any, is in the store
                frozen = environment_of(store.trace(str(lock.get("trace_id", ""))))
                before = Environment(before.facts, frozen.texts)
            except StoreError:
                pass
    changes = compare(before, now)
    packages = _package_changes(lock) if args.trace is None else []
    if packages and not any(change.fact.kind == "library" for change in changes):
        changes = [*packages, *(change for change in changes if change.fact.kind != "installed packages")]
    unknown = unknown_kinds(before, now)
    comparable = set(before.kinds() & now.kinds())
    is_known = bool(comparable & {"model"}) or set(_NEEDED) <= comparable
    if args.json:
        print_json(
            {
                "changed": changes_as_json(changes, before, now),
                "not_compared": unknown,
                "verdict": "changed" if changes else "same" if is_known else "unknown",
            }
        )
    else:
        _write(Screen(sys.stdout), changes, unknown, before, now, is_known=is_known, compared=args.trace)
    return CHANGED if changes else FINE if is_known else NOT_JUDGED


def _write(
    screen: Screen,
    changes: list[Change],
    unknown: list[str],
    before: Environment,
    now: Environment,
    *,
    is_known: bool,
    compared: str | None,
) -> None:
    write_changes(screen, changes, before, now)
    if not changes and is_known:
        kinds = ", ".join(kind for kind in dict.fromkeys(fact.kind for fact in before.facts) if kind in now.kinds())
        screen.prose(f"Nothing has changed. Compared: {kinds}.", "green")
    elif not changes:
        screen.prose("Could not tell: the two have nothing in common that can be compared.", "yellow")
    if unknown:
        screen.prose(f"Not compared, since only one side has it: {', '.join(unknown)}.", "dim")
    if compared is None:
        screen.prose("Models, prompts, tools and parameters are compared with a later run: --trace TRACE.", "dim")


def _present(before: Environment) -> Environment:
    """Return the environment of this process and folder, redacted like that of a run."""
    names = [fact.name for fact in before.facts if fact.kind == "environment variable"]
    resource = Content(Config.read()).clean(Span("", "", "", 0, resource=describe(env=names, folder=Path.cwd()))).resource
    kinds = before.kinds()
    present = environment_of_program(resource, uncommitted_changes(Path.cwd()) if "uncommitted changes" in kinds else None)
    return Environment({fact: contents for fact, contents in present.facts.items() if fact.kind in kinds}, {})


def _package_changes(lock: Mapping[str, Any]) -> list[Change]:
    """Return a change for each package that was added, removed, or is installed in another version now."""
    packages = lock.get("packages")
    if not isinstance(packages, Mapping):
        return []
    now = all_versions()
    differing = [name for name in sorted({*packages, *now}) if packages.get(name) != now.get(name)]
    return [
        Change(Fact("library", "", name), (str(packages.get(name, "(none)")),), (now.get(name, "(none)"),))
        for name in differing
    ]


def _read(text: str) -> dict[str, Any]:
    """Parse a lock file. Raises ValueError for any other text."""
    try:
        lock = json.loads(text)
        form = lock["llmtrace_lock"]
        if form == FORM:
            facts_from_json(lock["facts"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError("it is not a lock file. Write one with llmtrace freeze TRACE -o run.lock.json") from None
    if form != FORM:
        raise ValueError(f"it has form {form!r}, which this version cannot read (it reads {FORM})")
    return dict(lock)
