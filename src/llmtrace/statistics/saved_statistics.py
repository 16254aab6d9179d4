"""Saves statistics as JSON, so that a store can cache them and add them to others later.

Law: ``add(save(a), into=b)`` counts in ``b`` everything that was counted in ``a``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from llmtrace.statistics.distribution import Distribution
from llmtrace.statistics.error_budget import WINDOWS
from llmtrace.statistics.groups import PARTS, Amount, Group, Key, Statistics, Turns, count

FORM: Final = 4
"""Version of the saved form. Raise it when spans are counted differently, or when the form changes."""


def save(statistics: Statistics) -> dict[str, Any]:
    """Return the statistics as JSON."""
    burns = statistics.objectives.burns
    return {
        "traces": statistics.traces,
        "unfinished": statistics.unfinished,
        "reach": None if statistics.first is None else [statistics.first, statistics.last],
        "total": save_group(statistics.total),
        "groups": [[list(key), save_group(group)] for key, group in statistics.groups.items()],
        "objectives": [[list(key), burn.calls, burn.breaches] for key, burn in burns.items()],
        "settings": [[list(place), uses] for place, uses in statistics.settings.uses.items()],
    }


def is_lasting(statistics: Statistics) -> bool:
    """Return True if counting again later gives the same statistics.

    Objectives also count by windows before now, so recent spans would count differently later.
    """
    recent = (statistics.now or 0) - max(WINDOWS.values()) * 1_000_000_000
    return not statistics.objectives.burns or (statistics.last or 0) < recent


def add(saved: dict[str, Any], into: Statistics) -> None:
    """Add statistics that `save` returned to ``into``."""
    into.traces += saved["traces"]
    into.unfinished += saved["unfinished"]
    if saved["reach"] is not None:
        into.reach(*saved["reach"])
    add_group(saved["total"], into.total)
    for key, group in saved["groups"]:
        add_group(group, into.group(tuple(key)))
    for (name, measure, seconds), calls, breaches in saved["objectives"]:
        for window in calls:
            into.objectives.merge((name, measure, seconds), window, calls[window], breaches[window])
    for (agent, kind), uses in saved["settings"]:
        into.settings.merge((agent, kind), uses)


def save_group(group: Group) -> dict[str, Any]:
    """Return the counts of a group as JSON, without its key."""
    saved: dict[str, Any] = _save(vars(group))
    return saved


def _save(content: Any) -> Any:
    if isinstance(content, Distribution):
        *summed, buckets = content.summed()
        return [*summed, list(buckets.items())]
    if isinstance(content, Amount):
        return [content.sum, content.unknown]
    if isinstance(content, Turns):
        return [_save(content.tokens), _save(content.per_token)]
    if isinstance(content, dict):
        return {str(name): _save(member) for name, member in content.items() if name != "key"}
    return content


def add_group(saved: dict[str, Any], group: Group) -> None:
    """Add counts that `save_group` returned to ``group``."""
    for name, content in saved.items():
        current = getattr(group, name)
        if isinstance(current, int):
            setattr(group, name, current + content)
        elif name == "lengths":
            for bucket, numbers in content.items():
                _add(numbers, group.lengths.setdefault(int(bucket), Distribution()))
        else:
            _add(content, current)


def _add(saved: Any, into: Any) -> None:
    if isinstance(into, Distribution):
        number, total, smallest, largest, numbers, buckets = saved
        into.merge(number, total, smallest, largest, numbers, dict(buckets))
    elif isinstance(into, Amount):
        into.merge(*saved)
    elif isinstance(into, Turns):
        _add(saved[0], into.tokens)
        _add(saved[1], into.per_token)
    elif isinstance(into, Counter):
        for word, times in saved.items():
            count(into, word, times)
    else:
        for name, content in saved.items():
            _add(content, into[name])


# -- the groups of one model, joined


def joined_keys(statistics: Statistics) -> dict[Key, Key]:
    """Return the keys of groups without an answering model, each with the key of the model that answered to the same name.

    A failed call has no answering model, so it is grouped under the requested name. A name to which several models answered is
    left out.
    """
    if "model" not in PARTS[statistics.by]:
        return {}
    answered: dict[Key, set[Key]] = {}
    for key, group in statistics.groups.items():
        for name in group.asked_for:
            answered.setdefault((*key[:-1], name), set()).add(key)
    candidates = {key: answered.get(key, set()) for key, group in statistics.groups.items() if not group.asked_for}
    return {key: min(models) for key, models in candidates.items() if len(models) == 1}


def joined_groups(statistics: Statistics, keys: Mapping[Key, Key] | None = None) -> dict[Key, Group]:
    """Return the groups, with each group of ``keys`` (default: `joined_keys`) added to its model's group.

    Law: no call is counted twice or left out.
    """
    keys = joined_keys(statistics) if keys is None else keys
    joined: dict[Key, Group] = {}
    for key, group in statistics.groups.items():
        model_key = keys.get(key, key)
        if model_key not in keys.values():
            joined[key] = group
            continue
        whole = joined.setdefault(model_key, Group(model_key))  # a copy: the groups of `statistics` stay as they are
        add_group(save_group(group), whole)
    return joined
