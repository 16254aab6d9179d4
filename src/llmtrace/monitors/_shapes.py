"""The usual shape of JSON values, learned: which fields are always there, of which types. A change shows in one value.

There is no waiting for a second case: a new type, a new field and a missing one are told at the first value that has it, and
learned with it, so that each is told once. Against false alarms stands what is asked of the past: enough values, and none of
the last third of them with anything new, so that tools whose results always differ are left alone. Keys that are data (order
numbers, dates) are no fields: those with three digits or more, and all of an object that has too many.

Memory: at most `_PATHS` paths, `_DEEP` levels; lists are looked at up to `_ITEMS` items.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from llmtrace.monitors._history import History
from llmtrace.monitors._numbers import Shift
from llmtrace.monitors._rate import MINIMUM

_PATHS: Final = 300
_DEEP: Final = 8
_ITEMS: Final = 50
_FIELDS: Final = 40
_DATA: Final = re.compile(r"\d.*\d.*\d|^$|.{41}")
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
        self.pin: dict[str, Any] | None = held.get("pin")
        self.armed: bool = held.get("armed", False)
        self.history = History(held.get("history"))
        self.began: int | None = held.get("began")

    def state(self) -> dict[str, Any]:
        return {
            "paths": self.paths,
            "open": self.open,
            "count": self.count,
            "last": self.last,
            "pin": self.pin,
            "armed": self.armed,
            "history": self.history.state(),
            "began": self.began,
        }

    @property
    def settled(self) -> bool:
        return self.count >= MINIMUM and self.count - self.last >= max(MINIMUM, self.count // 3)

    def observe(self, content: Any, time: int, call: int) -> Shift | None:
        """Take in a value. Gives the most telling of what is new in it: a type, a field that is missing, a new field."""
        here: dict[str, dict[str, int]] = {}
        within: dict[str, str] = {}
        for path, parent, kind in self._seen(content, "", "", 0):
            if path in self.paths or len(self.paths) + len(here) < _PATHS:
                kinds = here.setdefault(path, {})
                kinds[kind] = kinds.get(kind, 0) + 1
                within[path] = parent
        news = sorted(self._news(here, within)) if self.count else []
        settled, known = self.settled, self.count
        self.began = time if self.began is None else self.began
        self.history.add(time, float(bool(news)))
        self.count += 1
        self.last = self.count if news or known == 0 else self.last
        self._learn(here)
        if not (news and settled):
            return None
        _, word, pointer = news[0]
        return Shift(time, call, 1, known, 0.0, 1.0, word=word, pointer=pointer)

    def _seen(self, content: Any, path: str, parent: str, depth: int) -> Iterator[Seen]:
        yield path, parent, _TYPES.get(type(content), "other")
        if depth >= _DEEP:
            return
        if isinstance(content, dict):
            for key, inner in list(content.items())[:_FIELDS]:
                name = "*" if path in self.open or _DATA.search(str(key)) else str(key).replace("~", "~0").replace("/", "~1")
                yield from self._seen(inner, f"{path}/{name}", path, depth + 1)
        elif isinstance(content, list):
            for inner in content[:_ITEMS]:
                yield from self._seen(inner, f"{path}/-", path, depth + 1)

    def _news(self, here: Mapping[str, dict[str, int]], within: Mapping[str, str]) -> Iterator[tuple[int, str, str]]:
        for path, kinds in here.items():
            known = self.paths.get(path)
            if known is None and within[path] in self.paths and path.endswith("/-"):
                continue  # the first item of a list that was always empty
            if known is None:
                # what stands within a new field is not told apart from it
                if within[path] in self.paths:
                    yield 2, "new_field", path
            elif not kinds.keys() <= known.keys():
                yield 0, "new_type", path
        for path, known in self.paths.items():
            parent, name = path.rpartition("/")[::2]
            objects = here.get(parent, {}).get("object", 0)
            if name in ("-", "*", "") or parent in self.open:
                continue
            always = sum(known.values()) == self.paths[parent].get("object", 0)
            if always and sum(here.get(path, {}).values()) < objects:
                yield 1, "missing_field", path

    def _learn(self, here: Mapping[str, dict[str, int]]) -> None:
        for path, kinds in here.items():
            known = self.paths.setdefault(path, {})
            for kind, count in kinds.items():
                known[kind] = known.get(kind, 0) + count
        fields: dict[str, int] = {}
        for path in self.paths:
            parent = path.rpartition("/")[0]
            fields[parent] = fields.get(parent, 0) + 1
        for parent, count in fields.items():
            if count > _FIELDS // 2 and self._is_data(parent):
                self.open.append(parent)
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
        self.pin, self.armed = dict(baseline), True
        self.paths = {str(path): dict(kinds) for path, kinds in baseline["paths"].items()}
        self.open, self.count, self.last = list(baseline["open"]), int(baseline["count"]), int(baseline["last"])

    @property
    def level(self) -> float | None:
        return None
