"""The baseline file of a canary: the questions, the measurements of their answers, and the endpoint that answered."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Final

from pydantic import TypeAdapter

from llmtrace.canary.endpoint import Endpoint
from llmtrace.canary.probes import Probe
from llmtrace.canary.sample import Sample, measure
from llmtrace.errors import EndpointFailed
from llmtrace.model.value import replace, value
from llmtrace.version import __version__

FORM: Final = 3
_READABLE: Final = (2, 3)
_HOPELESS: Final = 3
"""Number of failed questions, without any answer, after which the endpoint is not asked again. Each is tried several times."""


@value
class Observed:
    probe: Probe
    samples: tuple[Sample, ...]


@value
class Baseline:
    url: str
    model: str
    """The requested model."""
    times: int
    """Number of times that each question was asked."""
    observed: tuple[Observed, ...]
    answered_by: tuple[str, ...] = ()
    """Models that the endpoint named in its answers."""
    fingerprints: tuple[str, ...] = ()
    """System fingerprints in the endpoint's answers."""
    without: tuple[str, ...] = ()
    """Options that the endpoint refused, so that they were left out."""
    recorded: str = ""
    """Time of the recording, in ISO 8601; of several sessions, of the first."""
    sessions: int = 1
    """Number of sessions in which it was recorded, such as on several days."""
    problem: str = ""
    """The reason why some questions were not answered. It is not written to the file."""

    @property
    def planned(self) -> int:
        return self.times * len(self.observed)

    @property
    def answered(self) -> int:
        return sum(len(prompt.samples) for prompt in self.observed)

    def joined(self, other: Baseline) -> Baseline:
        """Return both together: the answers to the same questions."""
        pairs = zip(self.observed, other.observed, strict=True)
        return replace(
            self,
            times=self.times + other.times,
            observed=tuple(Observed(first.probe, (*first.samples, *second.samples)) for first, second in pairs),
            answered_by=tuple(sorted({*self.answered_by, *other.answered_by})),
            fingerprints=tuple(sorted({*self.fingerprints, *other.fingerprints})),
            without=tuple(dict.fromkeys((*self.without, *other.without))),
            sessions=max(self.sessions, other.sessions),
            problem=other.problem or self.problem,
        )

    def of_session(self, session: int, *, others: bool = False) -> Baseline:
        """Return the answers of one session; with ``others``, of all sessions but this one."""
        observed = [
            Observed(one.probe, tuple(sample for sample in one.samples if (sample.session == session) is not others))
            for one in self.observed
        ]
        return replace(self, observed=tuple(observed))

    def write(self) -> str:
        """Return the baseline as JSON, with one question a line."""
        members = TypeAdapter(Baseline).dump_python(self, mode="json", exclude={"problem"}, exclude_none=True)
        lines = [json.dumps(question, ensure_ascii=False) for question in members.pop("observed")]
        members = {"llmtrace_canary": FORM, "written_by": f"llmtrace-otel {__version__}", **members}
        head = json.dumps(members, indent=1, ensure_ascii=False)[:-2]  # without the closing brace
        return head + ',\n "observed": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n"

    @classmethod
    def read(cls, text: str) -> Baseline:
        """Return the baseline that `write` wrote. Raises ValueError for any other text."""
        try:
            members = json.loads(text)
            form = members["llmtrace_canary"]
            if form in _READABLE:
                return TypeAdapter(Baseline).validate_python(members)
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ValueError("not a baseline of llmtrace canary record") from None
        raise ValueError(f"form {form!r}, which this version cannot read (it reads {_READABLE[0]} to {FORM})")


def observe(
    endpoint: Endpoint,
    probes: Sequence[Probe],
    times: int,
    *,
    parallel: int = 4,
    recorded: str = "",
    session: int = 0,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Baseline:
    """Ask every question ``times`` times and return the baseline. Every question is asked once before any is asked again.

    ``session``: number of the session of a baseline, from 0. ``progress`` is called in this thread, with the numbers of
    answered and of failed questions. Raises EndpointFailed.
    """
    replies: dict[int, list[Sample]] = {place: [] for place in range(len(probes))}
    models: dict[str, None] = {}
    fingerprints: dict[str, None] = {}
    answered = failed = 0
    with ThreadPoolExecutor(parallel, thread_name_prefix="llmtrace canary") as pool:
        waiting = {pool.submit(endpoint.ask, probe): place for _ in range(times) for place, probe in enumerate(probes)}
        try:
            for future in as_completed(waiting):
                reply = future.result()
                if reply is None:
                    failed += 1
                    if not answered and failed >= _HOPELESS:
                        raise EndpointFailed(endpoint.problem)
                else:
                    answered += 1
                    place = waiting[future]
                    replies[place].append(measure(probes[place], reply, session))
                    models[reply.model] = fingerprints[reply.fingerprint] = None
                progress(answered, failed)
        except BaseException:  # also Ctrl-C: the threads must not go on asking
            endpoint.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return Baseline(
        endpoint.url,
        endpoint.model,
        times,
        tuple(Observed(probe, tuple(replies[place])) for place, probe in enumerate(probes)),
        tuple(sorted(filter(None, models))),
        tuple(sorted(filter(None, fingerprints))),
        tuple(endpoint.without),
        recorded,
        session + 1,
        endpoint.problem,
    )
