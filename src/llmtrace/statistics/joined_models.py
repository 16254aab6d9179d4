"""Joins the groups of one model. A failed call has no answering model, so it is grouped under the requested name; this adds it
to the group of the model that answered other requests of that name.

Law: no call is counted twice or left out.
"""

from __future__ import annotations

from collections.abc import Mapping

from llmtrace.statistics.groups import PARTS, Group, Key, Statistics
from llmtrace.statistics.saved_statistics import add_group, save_group


def joined_keys(statistics: Statistics) -> dict[Key, Key]:
    """Return the keys of groups without an answering model, each with the key of the model that answered to the same name.

    A name to which several models answered is left out.
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
    """Return the groups, with each group of ``keys`` (default: `joined_keys`) added to its model's group."""
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
