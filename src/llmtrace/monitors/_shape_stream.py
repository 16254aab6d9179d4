"""Learns the usual shape of JSON values: which fields they always have, and of which types. One value can show a change.

A new type, a new field or a missing field is reported at the first value that has it. It is learned at once, so it is reported
only once. Nothing is reported while the last third of the values had anything new, because the results of some tools always
differ. If three of the next six runs confirm the change, it becomes a warning on the same first value.

Keys that are data (order numbers, dates, people) are not fields. Such keys have at least three digits, or characters that names
do not have, or they belong to an object with too many different keys.

Memory: at most `_PATHS` paths and `_DEEP` levels. At most `_ITEMS` items of a list are read. At most `_MOST_WAITING` changes
wait for confirmation.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from llmtrace.monitors._stream import MINIMUM, RUNS_BEFORE, RUNS_SINCE, At, Shift, Stream

_PATHS: Final = 300
_DEEP: Final = 8
_ITEMS: Final = 50
_FIELDS: Final = 40
_MOST_WAITING: Final = 8
_WAITS: Final = 6
"""Number of runs of which `RUNS_SINCE` must confirm a change."""
_DATA: Final = re.compile(r"\d.*\d.*\d|^$|.{41}|[^\w.$-]")
_TYPES: Final[Mapping[type, str]] = {
    dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"
}  # fmt: skip

Seen = tuple[str, str, str]
"""A path, the path of its parent, and the type of one value at the path."""


class Shapes(Stream):
    def __init__(self, state: dict[str, Any] | None = None) -> None:
        saved = state or {}
        super().__init__(saved)
        self.paths: dict[str, dict[str, int]] = saved.get("paths", {})
        """Count of each type at a path."""
        self.open: list[str] = saved.get("open", [])
        """Paths of objects whose keys are data."""
        self.count: int = saved.get("count", 0)
        self.last: int = saved.get("last", 0)
        """The count of values at the last value that had anything new."""
        self.waiting: list[dict[str, Any]] = saved.get("waiting", [])
        """Changes that are not confirmed yet: path, kind of change, earlier types at the path, first value with the change, the
        runs with such a value (``with``), and the runs that could have one (``runs``)."""
        self._wide: list[str] | None = None
        """Paths of objects with so many fields that these may be data; None if they have to be determined again."""

    def state(self) -> dict[str, Any]:
        return super().state() | self.baseline() | {"waiting": self.waiting}

    def observe(self, content: Any, at: At, mark: Sequence[str]) -> Iterator[tuple[Shift, Sequence[str]]]:
        """Process a value. Yields new and confirmed changes, each with the ``mark`` (any texts) of the first value that had
        it."""
        paths: dict[str, dict[str, int]] = {}
        within: dict[str, str] = {}
        for path, parent, kind in self._seen(content, "", "", 0):
            if path in self.paths or len(self.paths) + len(paths) < _PATHS:
                kinds = paths.setdefault(path, {})
                kinds[kind] = kinds.get(kind, 0) + 1
                within[path] = parent
        news = sorted(self._news(paths, within)) if self.count else []
        values_before = self.count
        self._begin(at)
        self.history.add(at.time, float(bool(news)))
        yield from self._confirmed(paths, at)
        has_baseline = self.count >= MINIMUM and (self.first is None or at.run - self.first >= RUNS_BEFORE)
        if news and has_baseline:
            _, word, pointer = news[0]  # one change for each value, a new type before a missing or new field
            shift = Shift(at.time, at.call, 1, values_before, 0.0, 1.0, word=word, pointer=pointer)
            if self.count - self.last >= max(MINIMUM, self.count // 3):  # nothing was new for a while
                yield shift, mark
            kinds_before = sorted(self.paths.get(pointer, {}))
            first = {"time": at.time, "call": at.call, "known": shift.baseline, "mark": list(mark)}
            change = {"path": pointer, "word": word, "kinds": kinds_before}
            self.waiting.append({**first, **change, "calls": 1, "with": [at.run], "runs": [at.run]})
            del self.waiting[:-_MOST_WAITING]
        self.count += 1
        self.last = self.count if news or values_before == 0 else self.last
        self._learn(paths)

    def _confirmed(self, paths: Mapping[str, dict[str, int]], at: At) -> Iterator[tuple[Shift, Sequence[str]]]:
        """Yield the waiting changes that enough runs have confirmed, and stop waiting for those that too few confirmed."""
        for candidate in list(self.waiting):
            has = _has(candidate, paths)
            if has is None:
                continue
            candidate["calls"] += 1
            candidate["runs"] = sorted({*candidate["runs"], at.run})
            candidate["with"] = sorted({*candidate["with"], at.run}) if has else candidate["with"]
            if len(candidate["with"]) >= RUNS_SINCE:
                time, call, calls, before = (candidate[name] for name in ("time", "call", "calls", "known"))
                yield Shift(time, call, calls, before, 0.0, 1.0, candidate["word"], candidate["path"]), candidate["mark"]
            if len(candidate["with"]) >= RUNS_SINCE or len(candidate["runs"]) >= _WAITS:
                self.waiting.remove(candidate)

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

    def _news(self, paths: Mapping[str, dict[str, int]], within: Mapping[str, str]) -> Iterator[tuple[int, str, str]]:
        for path, kinds in paths.items():
            kinds_before = self.paths.get(path)
            if kinds_before is None and within[path] in self.paths and path.endswith(("/-", "/*")):
                continue  # the first item of a list that was always empty, or keys that were recognized as data just now
            if kinds_before is None:
                # the parts of a new field are not new fields themselves
                if within[path] in self.paths:
                    yield 2, "new_field", path
            elif not kinds.keys() <= kinds_before.keys():
                yield 0, "new_type", path
        for path, kinds_before in self.paths.items():
            parent, name = _apart(path)
            if parent not in paths or name in ("-", "*", "") or parent in self.open:
                continue
            if sum(paths[path].values() if path in paths else ()) >= paths[parent].get("object", 0):
                continue
            if sum(kinds_before.values()) == self.paths[parent].get("object", 0):
                yield 1, "missing_field", path

    def _learn(self, paths: Mapping[str, dict[str, int]]) -> None:
        for path, kinds in paths.items():
            kinds_before = self.paths.get(path)
            if kinds_before is None:
                kinds_before, self._wide = self.paths.setdefault(path, {}), None
            for kind, count in kinds.items():
                kinds_before[kind] = kinds_before.get(kind, 0) + count
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
        """Return True if the object's keys are data: an average key is in less than a quarter of the objects."""
        objects = self.paths.get(parent, {}).get("object", 0)
        inside = [kinds for path, kinds in self.paths.items() if path.rpartition("/")[0] == parent]
        return sum(sum(kinds.values()) for kinds in inside) < objects * len(inside) / 4

    def baseline(self) -> dict[str, Any]:
        return {"paths": self.paths, "open": self.open, "count": self.count, "last": self.last}

    def start_from(self, baseline: Mapping[str, Any]) -> None:
        super().start_from(baseline)
        self.paths = {str(path): dict(kinds) for path, kinds in baseline["paths"].items()}
        self.open, self.count, self.last = list(baseline["open"]), int(baseline["count"]), int(baseline["last"])
        self._wide = None

    @property
    def level(self) -> float | None:
        return None


@functools.lru_cache(maxsize=4096)
def _name(key: str) -> str:
    """Return a key's name in a path; ``*`` for keys that are data."""
    return "*" if _DATA.search(key) else key.replace("~", "~0").replace("/", "~1")


@functools.lru_cache(maxsize=4096)
def _apart(path: str) -> tuple[str, str]:
    """Split a path into the path of its object or list, and the name within it."""
    parent, _, name = path.rpartition("/")
    return parent, name


def _has(candidate: Mapping[str, Any], paths: Mapping[str, dict[str, int]]) -> bool | None:
    """Return True if a value has the waiting change, and None if it lacks the object that the change is in."""
    path, parent = candidate["path"], candidate["path"].rpartition("/")[0]
    if candidate["word"] == "new_type":
        return not paths[path].keys() <= set(candidate["kinds"]) if path in paths else None
    objects = paths.get(parent, {}).get("object", 0)
    if not objects:
        return None
    count = sum(paths.get(path, {}).values())
    return count > 0 if candidate["word"] == "new_field" else count < objects
