"""What a program does not repeat: found by running one replay several times, and by comparing where the runs differ."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?|\b\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?\b")
_HEX = re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b", re.IGNORECASE)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_KINDS = (
    (_UUID, "a random id"),
    (_TIME, "a time"),
    (_HEX, "a random id, or a digest"),
    (_NUMBER, "a random number, or a time"),
)


def repeatability(runs: Sequence[Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """Sentences on the first difference of each run. ``runs``: the divergences of each, as the fields of `Divergence`.

    What all runs do alike is a change of the program. What they do differently is not repeatable, and the reason is given
    where it can be told: a time, a random value, or an order.
    """
    first = [divergences[0] if divergences else None for divergences in runs]
    found = [divergence for divergence in first if divergence is not None]
    places = Counter((divergence["span_id"], divergence["kind"]) for divergence in found)
    for (span_id, kind), count in places.items():
        here = [each for each in found if (each["span_id"], each["kind"]) == (span_id, kind)]
        if count == len(runs) and len({each["now"] or each["what"] for each in here}) == 1:
            yield "Every run differs in the same way: the program has changed, and nothing of it is random."
            continue
        where = f" ({here[0]['where']})" if here[0]["where"] else ""
        name = here[0]["what"].partition(" asks for")[0] if kind == "changed" else here[0]["what"]
        yield f"Not repeatable: {name}{where}, in {count} of {len(runs)} runs. {_reason(here)}".rstrip()


def _reason(divergences: Sequence[Mapping[str, Any]]) -> str:
    texts = [text for each in divergences for text in (each["was"], each["now"]) if text]
    if len(set(texts)) < 2:
        return ""
    if len({tuple(sorted(re.findall(r"\w+", text))) for text in texts}) == 1:
        return "The same words come in another order, as from a set or from calls in parallel."
    for pattern, name in _KINDS:
        if len({pattern.sub("", text) for text in texts}) == 1:
            return f"Only {name} differs."
    return ""
