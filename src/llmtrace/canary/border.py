"""Border probes: questions whose first token is nearly a tie, so that the smallest change of the model changes the answers.

They are the cheapest probes, because each answer has one token. Source: Chauvin and others, 2026, "B3IT".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from llmtrace.canary.endpoint import Endpoint
from llmtrace.canary.probes import Probe

ENOUGH: Final = 10
"""The search ends when it has this many probes."""
MOST_CANDIDATES: Final = 60
_ASKED: Final = 6
"""Number of times that a candidate is asked if the endpoint does not return log-probabilities."""
MOST_CALLS: Final = MOST_CANDIDATES * _ASKED
"""Largest number of calls that the search makes if none is retried."""
_LEAST: Final = 2
"""The second most frequent token must be in at least this many of the answers."""
_NEAR: Final = 1.0
"""Two tokens are nearly a tie if their log-probabilities differ by less than this."""


def find_border_probes(
    endpoint: Endpoint, candidates: Iterable[Probe], progress: Callable[[int, int], None] = lambda *_: None
) -> list[Probe]:
    """Return up to `ENOUGH` candidates whose first token is nearly a tie at this endpoint now. Raises EndpointFailed.

    ``progress`` is called with the number of near ties and the number of tried candidates.
    """
    near: list[Probe] = []
    for tried, probe in enumerate(islice(candidates, MOST_CANDIDATES), 1):
        if _is_near_tie(endpoint, probe):
            near.append(probe)
        progress(len(near), tried)
        if len(near) >= ENOUGH:
            break
    return near


def _is_near_tie(endpoint: Endpoint, probe: Probe) -> bool:
    reply = endpoint.ask(probe, logprobs="logprobs" not in endpoint.without)
    if reply is None:
        return False
    if len(reply.top_logprobs) >= 2:
        (_, first), (_, second) = sorted(reply.top_logprobs, key=lambda token: -token[1])[:2]
        return first - second < _NEAR
    # without log-probabilities, ask again and count the answers
    words = Counter([str(reply.message.get("content") or "")])
    for _ in range(_ASKED - 1):
        reply = endpoint.ask(probe)
        if reply is not None:
            words[str(reply.message.get("content") or "")] += 1
    ranked = words.most_common(2)
    return len(ranked) == 2 and ranked[1][1] >= _LEAST
