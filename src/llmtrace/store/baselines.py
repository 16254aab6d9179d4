"""Pinned baselines of a store: a file beside the journal, which can be shipped, and survives the index.

Law: a file that is no baseline, or of a newer version, changes nothing. Of one of an older version all counts that still means
the same.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llmtrace.errors import StoreError
from llmtrace.store.notices import say

if TYPE_CHECKING:  # see `monitoring`
    from llmtrace.monitors import Key

NAME: Final = "baselines.json"
_VERSION: Final = 2

Pins = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""By name of the key and of the stream."""


def read(folder: Path) -> Pins:
    """The pinned baselines of a store; none where there is no file, or no readable one."""
    try:
        return parse((folder / NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        say(f"{folder / NAME} is not used: {error}")
        return {}


def parse(text: str) -> Pins:
    """Raises ValueError where the text is no file of baselines."""
    from llmtrace.monitors import Key

    try:
        held = json.loads(text)
        version = held["llmtrace_baselines"]
    except (ValueError, TypeError, KeyError):
        raise ValueError("it is no file of baselines (llmtrace drift baseline export writes one)") from None
    if version not in (1, _VERSION):
        raise ValueError(f"it is of version {version!r}, and this llmtrace knows {_VERSION}: upgrade llmtrace")
    try:
        pins = {Key(**one["key"]).name(): _streams(one["streams"]) for one in held["keys"]}
        return _unmixed(pins) if version == 1 else pins
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ValueError(f"it is damaged ({type(error).__name__}: {error})") from None


def _streams(held: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    from llmtrace.monitors import KINDS

    for stream in held.values():
        KINDS[stream["kind"]]().start_from(stream["baseline"])  # raises where something is missing
    return held


def _unmixed(pins: Pins) -> Pins:
    """What still means the same of baselines of version 1, which followed answers and turns that call tools together."""
    from llmtrace.monitors import unmixed

    kept = {name: unmixed(held, {one: its["baseline"] for one, its in held.items()}) for name, held in pins.items()}
    if changed := sum(len(kept[name]) < len(held) for name, held in pins.items()):
        say(
            f"baselines of an older llmtrace: {changed} of {len(pins)} keys call tools, whose length and time per token were "
            "counted with those of answers; these are left out and learned anew. llmtrace drift baseline pin keeps them then"
        )
    return kept


def key(name: str) -> Key:
    """Of a name under which pins stand."""
    from llmtrace.monitors import Key

    return Key(*json.loads(name))


def text(pins: Pins) -> str:
    keys = [{"key": key(name)._asdict(), "streams": streams} for name, streams in sorted(pins.items())]
    return json.dumps({"llmtrace_baselines": _VERSION, "keys": keys}, indent=1) + "\n"


def write(folder: Path, pins: Pins) -> None:
    """Put the file in place at once, so that no reader sees half of it. Raises StoreError."""
    path = folder / NAME
    try:
        if not pins:
            path.unlink(missing_ok=True)
            return
        descriptor, made = tempfile.mkstemp(prefix=NAME, dir=folder)  # mode 0600
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text(pins))
        Path(made).replace(path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error
