"""The usual shape of JSON values, learned: which fields are always there, of which types. A change shows in one value.

A new type, a new field and a missing one are told at the first value that has it, as something to look at, and learned with
it, so that each is told once; but not while something was new in the last third of the values, since the results of some
tools always differ. It becomes a warning, on that same first value, when the values of three runs have it of the next six:
that is a change and no rarity. Keys that are data (order numbers, dates, people) are no fields: those with three digits or
more, or a space or sign that names do not have, and all of an object that has too many.

Memory: at most `_PATHS` paths, `_DEEP` levels; lists are looked at up to `_ITEMS` items; `_MOST_WAITING` findings wait.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from llmtrace.monitors._alarm_rate import MINIMUM, RUNS_BEFORE, RUNS_SINCE
from llmtrace.monitors._history import History
from llmtrace.monitors._number_stream import At, Shift

_PATHS: Final = 300
_DEEP: Final = 8
_ITEMS: Final = 50
_FIELDS: Final = 40
_MOST_WAITING: Final = 8
_WAITS: Final = 6
"""Runs within which a change has to show in `RUNS_SINCE` of them."""
_DATA: Final = re.compile(r"\d.*\d.*\d|^$|.{41}|[^\w.$-]")
_TYPES: Final[Mapping[type, str]] = {
    dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"
}  # fmt: skip

Seen = tuple[str, str, str]
"""A path, its parent's, and the type of one value that stands there."""


class Shapes:
    """One stream. ``state()`` is JSON, and all of it."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        held = state or {}
        self.paths: dict[str, dict[str, int]] = held.get("paths", {})
        """How often each type stood at a path."""
        self.open: list[str] = held.get("open", [])
        """Objects whose keys are data."""
        self.count: int = held.get("count", 0)
        self.last: int = held.get("last", 0)
        """Values seen when anything was new for the last time."""
        self.first: int | None = held.get("first")
        """As of `Numbers`."""
        self.waiting: list[dict[str, Any]] = held.get("waiting", [])
        """What was new and is not known to stay: where, what, which kinds were there before, in which value, and the numbers of
        the runs with a value that has it, and with one that could."""
        self.pin: dict[str, Any] | None = held.get("pin")
        self.armed: bool = held.get("armed", False)
        self.history = History(held.get("history"))
        self.began: int | None = held.get("began")
        self._wide: list[str] | None = None
        """Objects with many fields, of which some may be data; None: to be looked for."""

    def state(self) -> dict[str, Any]:
        return {
            "paths": self.paths,
            "open": self.open,
            "count": self.count,
            "last": self.last,
            "first": self.first,
            "waiting": self.waiting,
            "pin": self.pin,
            "armed": self.armed,
            "history": self.history.state(),
            "began": self.began,
        }

    def _knows(self, run: int) -> bool:
        return self.count >= MINIMUM and (self.first is None or run - self.first >= RUNS_BEFORE)

    @property
    def _settled(self) -> bool:
        return self.count - self.last >= max(MINIMUM, self.count // 3)

    def observe(self, content: Any, at: At, mark: Sequence[str]) -> Iterator[tuple[Shift, Sequence[str]]]:
        """Take in a value. Gives what is new in it, and what turned out to stay, each with the ``mark`` (any texts) that came
        with the value that had it first."""
        here: dict[str, dict[str, int]] = {}
        within: dict[str, str] = {}
        for path, parent, kind in self._seen(content, "", "", 0):
            if path in self.paths or len(self.paths) + len(here) < _PATHS:
                kinds = here.setdefault(path, {})
                kinds[kind] = kinds.get(kind, 0) + 1
                within[path] = parent
        news = sorted(self._news(here, within)) if self.count else []
        known = self.count
        if self.began is None:
            self.began, self.first = at.time, None if self.armed else at.run
        self.history.add(at.time, float(bool(news)))
        yield from self._kept(here, at)
        if news and self._knows(at.run):
            _, word, pointer = news[0]
            shift = Shift(at.time, at.call, 1, known, 0.0, 1.0, word=word, pointer=pointer)
            if self._settled:
                yield shift, mark
            self._wait(shift, at, mark)
        self.count += 1
        self.last = self.count if news or known == 0 else self.last
        self._learn(here)

    def _wait(self, shift: Shift, at: At, mark: Sequence[str]) -> None:
        known = sorted(self.paths.get(shift.pointer or "", {}))
        value = {"time": at.time, "call": at.call, "known": shift.baseline, "mark": list(mark)}
        self.waiting.append(
            value | {"path": shift.pointer, "word": shift.word, "kinds": known, "calls": 1, "with": [at.run], "runs": [at.run]}
        )
        del self.waiting[:-_MOST_WAITING]

    def _kept(self, here: Mapping[str, dict[str, int]], at: At) -> Iterator[tuple[Shift, Sequence[str]]]:
        """Those that wait and are now known to stay."""
        for one in list(self.waiting):
            has = _has(one, here)
            if has is None:
                continue
            one["calls"] += 1
            one["runs"] = sorted({*one["runs"], at.run})
            one["with"] = sorted({*one["with"], at.run}) if has else one["with"]
            if len(one["with"]) >= RUNS_SINCE:
                shift = Shift(one["time"], one["call"], one["calls"], one["known"], 0.0, 1.0, one["word"], one["path"])
                yield shift, one["mark"]
            if len(one["with"]) >= RUNS_SINCE or len(one["runs"]) >= _WAITS:
                self.waiting.remove(one)

    def _seen(self, content: Any, path: str, parent: str, depth: int) -> Iterator[Seen]:
        yield path, parent, _TYPES.get(type(content), "other")
        if depth >= _DEEP:
            return
        if isinstance(content, dict):
            for key, inner in list(content.items())[:_FIELDS]:
                name = "*" if path in self.open else _name(str(key))
                yield from self._seen(inner, f"{path}/{name}", path, depth + 1)
        elif isinstance(content, list):
            for inner in content[:_ITEMS]:
                yield from self._seen(inner, f"{path}/-", path, depth + 1)

    def _news(self, here: Mapping[str, dict[str, int]], within: Mapping[str, str]) -> Iterator[tuple[int, str, str]]:
        for path, kinds in here.items():
            known = self.paths.get(path)
            if known is None and within[path] in self.paths and path.endswith(("/-", "/*")):
                continue  # the first item of a list that was always empty; keys that have just been seen to be data
            if known is None:
                # what stands within a new field is not told apart from it
                if within[path] in self.paths:
                    yield 2, "new_field", path
            elif not kinds.keys() <= known.keys():
                yield 0, "new_type", path
        for path, known in self.paths.items():
            parent, name = _apart(path)
            if parent not in here or name in ("-", "*", "") or parent in self.open:
                continue
            if sum(here[path].values() if path in here else ()) >= here[parent].get("object", 0):
                continue
            if sum(known.values()) == self.paths[parent].get("object", 0):
                yield 1, "missing_field", path

    def _learn(self, here: Mapping[str, dict[str, int]]) -> None:
        for path, kinds in here.items():
            known = self.paths.get(path)
            if known is None:
                known, self._wide = self.paths.setdefault(path, {}), None
            for kind, count in kinds.items():
                known[kind] = known.get(kind, 0) + count
        if self._wide is None:
            fields = Counter(_apart(path)[0] for path in self.paths)
            self._wide = [parent for parent, count in fields.items() if count > _FIELDS // 2]
        for parent in self._wide:
            if self._is_data(parent):
                self.open.append(parent)
                self._wide = None
                for path in [path for path in self.paths if path.startswith(f"{parent}/")]:
                    del self.paths[path]

    def _is_data(self, parent: str) -> bool:
        """Many keys, most of which were seen in few of the objects."""
        objects = self.paths.get(parent, {}).get("object", 0)
        inside = [kinds for path, kinds in self.paths.items() if path.rpartition("/")[0] == parent]
        return sum(sum(kinds.values()) for kinds in inside) < objects * len(inside) / 4

    def baseline(self) -> dict[str, Any]:
        return {"paths": self.paths, "open": self.open, "count": self.count, "last": self.last}

    def start_from(self, baseline: Mapping[str, Any]) -> None:
        self.pin, self.armed, self.first = dict(baseline), True, None
        self.paths = {str(path): dict(kinds) for path, kinds in baseline["paths"].items()}
        self.open, self.count, self.last = list(baseline["open"]), int(baseline["count"]), int(baseline["last"])
        self._wide = None

    @property
    def level(self) -> float | None:
        return None


@functools.lru_cache(maxsize=4096)
def _name(key: str) -> str:
    """Of a field in a path; one for all keys that are data."""
    return "*" if _DATA.search(key) else key.replace("~", "~0").replace("/", "~1")


@functools.lru_cache(maxsize=4096)
def _apart(path: str) -> tuple[str, str]:
    """The path of the object or list, and the name within it."""
    parent, _, name = path.rpartition("/")
    return parent, name


def _has(one: Mapping[str, Any], here: Mapping[str, dict[str, int]]) -> bool | None:
    """Whether a value has what waits; None where it has not the place for it."""
    path, parent = one["path"], one["path"].rpartition("/")[0]
    if one["word"] == "new_type":
        return not here[path].keys() <= set(one["kinds"]) if path in here else None
    objects = here.get(parent, {}).get("object", 0)
    if not objects:
        return None
    found = sum(here.get(path, {}).values())
    return found > 0 if one["word"] == "new_field" else found < objects
