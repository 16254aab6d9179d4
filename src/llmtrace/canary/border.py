"""Border probes: questions whose first token is nearly a tie, so that the smallest change of the model moves the answers.

Each answer has one token, which makes them the cheapest probes. (Chauvin and others, 2026, "B3IT".)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from llmtrace.canary.endpoint import Endpoint
from llmtrace.canary.probes import Probe

ENOUGH: Final = 10
"""Probes after which no more are looked for."""
MOST_CANDIDATES: Final = 60
_ASKED: Final = 6
"""Times that a candidate is asked where the endpoint gives no log-probabilities."""
MOST_CALLS: Final = MOST_CANDIDATES * _ASKED
"""Calls that the search may make."""
_LEAST: Final = 2
"""Answers, among these, in which the second token must occur."""
_NEAR: Final = 1.0
"""Difference of the log-probabilities of the first two tokens below which they are nearly a tie."""


def find_border_probes(
    endpoint: Endpoint, candidates: Iterable[Probe], progress: Callable[[int, int], None] = lambda *_: None
) -> list[Probe]:
    """The candidates, at most `ENOUGH`, whose first token is nearly a tie at this endpoint now. Raises EndpointFailed.

    ``progress`` is called with the number of near ties and of candidates that were tried.
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
    words = Counter([str(reply.message.get("content") or "")])
    for _ in range(_ASKED - 1):
        reply = endpoint.ask(probe)
        if reply is not None:
            words[str(reply.message.get("content") or "")] += 1
    ranked = words.most_common(2)
    return len(ranked) == 2 and ranked[1][1] >= _LEAST
