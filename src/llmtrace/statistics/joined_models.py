"""One row for one model: a call that failed has no model that answered, so it is grouped by the name it asked for.

Law: no call is counted twice or left out.
"""

from __future__ import annotations

from collections.abc import Mapping

from llmtrace.statistics.groups import PARTS, Group, Key, Statistics
from llmtrace.statistics.saved_statistics import add_group, save_group


def joined_keys(statistics: Statistics) -> dict[Key, Key]:
    """Keys of groups in which no model named itself, with the key of the only model that answered under the same name."""
    if "model" not in PARTS[statistics.by]:
        return {}
    answered: dict[Key, set[Key]] = {}
    for key, group in statistics.groups.items():
        for name in group.asked_for:
            answered.setdefault((*key[:-1], name), set()).add(key)
    candidates = {key: answered.get(key, set()) for key, group in statistics.groups.items() if not group.asked_for}
    return {key: min(models) for key, models in candidates.items() if len(models) == 1}


def joined_groups(statistics: Statistics, keys: Mapping[Key, Key] | None = None) -> dict[Key, Group]:
    """The groups, with those of ``keys`` (default: `joined_keys`) added to the group that they belong to."""
    keys = joined_keys(statistics) if keys is None else keys
    joined: dict[Key, Group] = {}
    for key, group in statistics.groups.items():
        model_key = keys.get(key, key)
        if model_key not in keys.values():
            joined[key] = group
            continue
        whole = joined.setdefault(model_key, Group(model_key))
        add_group(save_group(group), whole)
    return joined
