"""Finds the suspects of a trace, each with its confidence, its evidence and the chain from the outcome back to it.

Each run of the trace is read (`reading`), and judged by the laws (`laws`): the same ones, in the same way, as while it ran.
`causes` joins findings with one cause, `reading.graph` follows values from a cause to the outcome, and `place_ranker` ranks the
places to look at first in a run that is known to have failed. Pure: no clock, no randomness, and no I/O except reading the
weights in the package.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Final

from llmtrace.diagnosis.causes import causes_of, suspects_of
from llmtrace.diagnosis.place_ranker import MOST_PLACES, Ranker, places_of
from llmtrace.diagnosis.result import ChainStep, Diagnosis, Place, Suspect
from llmtrace.diagnosis.run_reports import is_known_to_have_failed, reports_of
from llmtrace.diagnosis.stored_verdicts import as_judged_live
from llmtrace.diagnosis.visibility import unchecked, visible_needs
from llmtrace.errors import DiagnosisFailed, LlmtraceError
from llmtrace.laws.base import AnyLaw, Need
from llmtrace.laws.finding import RANK, Finding
from llmtrace.laws.judging import Judgement, judge
from llmtrace.model import Confidence, Trace, run_health
from llmtrace.reading.graph import Graph, agent_names, analyze
from llmtrace.reading.read import read_runs
from llmtrace.semconv import CHECKPOINT, CHECKPOINT_PASSED

__all__ = [
    "ChainStep",
    "Confidence",
    "Diagnosis",
    "Finding",
    "Place",
    "Ranker",
    "Reading",
    "Suspect",
    "diagnose",
    "findings_of",
    "wrap_errors",
]

_ABOUT_ENDINGS: Final[frozenset[Need]] = frozenset({"inferences", "facts"})
"""The needs of a law that looks at how a run or an answer ended, and not at calls or the content of answers."""


class Reading:
    """The runs of a trace, read and judged once, for all who show or explain it."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        agents = agent_names(trace)
        self.graphs = [Graph(trace, run, agents) for run in read_runs(trace)]

    @cached_property
    def whole(self) -> Graph:
        """The graph of the whole trace, also from one run to another."""
        return self.graphs[0] if len(self.graphs) == 1 else analyze(self.trace)

    @cached_property
    def judgements(self) -> list[Judgement]:
        """What the laws say of each run over what was stored."""
        return [judge(graph.run) for graph in self.graphs]

    @cached_property
    def findings(self) -> list[list[Finding]]:
        """The findings of each run, before those of one cause are joined."""
        return [
            as_judged_live(graph.run, judgement.findings) for graph, judgement in zip(self.graphs, self.judgements, strict=True)
        ]


def diagnose(trace: Trace, reading: Reading | None = None) -> Diagnosis:
    """Return the suspects of a trace, and the places to look at first if it is known to have failed.

    ``reading``: of this trace, if it was read already. Evaluations recorded on the spans are used. Raises IndexError for an
    empty trace, and DiagnosisFailed for a fault of llmtrace itself.
    """
    with wrap_errors(trace.trace_id):
        reading = reading or Reading(trace)
        failed = is_known_to_have_failed(trace)
        suspects: list[Suspect] = []
        places: list[Place] = []
        for graph, findings in zip(reading.graphs, reading.findings, strict=True):
            suspects += suspects_of(causes_of(findings, graph), graph)
            if failed:
                places += places_of(graph, findings)
        checked, errors = _checks_of(reading)
        in_order = tuple(sorted(suspects, key=lambda suspect: RANK[suspect.confidence]))
        places.sort(key=lambda place: -place.probability)
        return Diagnosis(
            trace.trace_id,
            run_health(trace.health, is_marked=any(suspect.is_marked for suspect in in_order), has_failed=failed),
            in_order,
            tuple(places[:MOST_PLACES]),
            tuple(law.name for law in checked),
            unchecked(trace, [graph.run for graph in reading.graphs], errors),
            reports_of(trace, in_order),
            any(not _ABOUT_ENDINGS.issuperset(law.needs) for law in checked),
            failed,
            _last_good_checkpoint(trace, in_order, failed=failed),
        )


def _checks_of(reading: Reading) -> tuple[list[AnyLaw], dict[str, str]]:
    """Return the laws that judged a run of the trace, and failed for none, and the errors of those that failed.

    A law did not judge a run of which its needs were not recorded.
    """
    checked: dict[str, AnyLaw] = {}
    errors: dict[str, str] = {}
    for graph, judgement in zip(reading.graphs, reading.judgements, strict=True):
        needs = visible_needs(graph.run)
        checked.update((law.name, law) for law in judgement.laws if needs.issuperset(law.needs))
        errors.update(judgement.errors)
    return [law for name, law in checked.items() if name not in errors], errors


def findings_of(trace: Trace) -> list[Finding]:
    """Return what the laws say of the runs of a trace, before findings of one cause are joined."""
    return [finding for findings in Reading(trace).findings for finding in findings]


def _last_good_checkpoint(trace: Trace, suspects: tuple[Suspect, ...], *, failed: bool) -> ChainStep | None:
    marked = [trace.span(suspect.span_id) for suspect in suspects if suspect.is_marked]
    began = min((span.start for span in marked or trace.root_causes), default=None)  # a suspect may precede the error
    if not (failed or marked):
        return None
    for span in reversed(trace.spans):
        is_good = CHECKPOINT in span.attributes and span.attributes.get(CHECKPOINT_PASSED) is not False and span.end is not None
        if is_good and (began is None or span.start < began):
            return ChainStep(span.span_id, str(span.attributes[CHECKPOINT]))
    return None


@contextmanager
def wrap_errors(trace_id: str) -> Iterator[None]:
    """Wrap code that reads and diagnoses a trace: a fault of llmtrace becomes DiagnosisFailed, with its place in the code.

    Errors of the store (LlmtraceError, OSError) pass unchanged. A caller that diagnoses many traces catches DiagnosisFailed for
    each one, so that a broken trace does not stop the others.
    """
    try:
        yield
    except (LlmtraceError, OSError):
        raise
    except Exception as error:
        innermost = traceback.extract_tb(error.__traceback__)[-1]
        message = " ".join(str(error).split())[:200]
        what = type(error).__qualname__ + (f" ({message})" if message else "")
        raise DiagnosisFailed(trace_id, f"{what} at {Path(innermost.filename).name}:{innermost.lineno}") from error
