"""Finds the suspects of a trace, each with its confidence, its evidence and the chain from the outcome back to it.

`flow` follows values through the trace. `checks` look for faults that the record proves or makes likely. `causes` joins
findings with one cause. `place_ranker` ranks the places to look at first in a run that is known to have failed. Pure: no clock,
no randomness, and no I/O except reading the weights in the package.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmtrace.diagnosis.causes import causes_of, suspects_of
from llmtrace.diagnosis.checks import all_checks
from llmtrace.diagnosis.finding import Finding
from llmtrace.diagnosis.flow import Flow
from llmtrace.diagnosis.place_ranker import Ranker, places_of
from llmtrace.diagnosis.result import Confidence, Diagnosis, Place, Step, Suspect
from llmtrace.diagnosis.run_reports import is_known_to_have_failed, reports_of
from llmtrace.diagnosis.visibility import unchecked, visible_needs
from llmtrace.errors import DiagnosisFailed, LlmtraceError
from llmtrace.model import Trace, run_health
from llmtrace.semconv import CHECKPOINT, CHECKPOINT_PASSED

__all__ = [
    "Confidence",
    "Diagnosis",
    "Finding",
    "Flow",
    "Place",
    "Ranker",
    "Step",
    "Suspect",
    "diagnose",
    "findings_of",
    "wrap_errors",
]


def diagnose(trace: Trace, flow: Flow | None = None) -> Diagnosis:
    """Return the suspects of a trace, and the places to look at first if it is known to have failed.

    ``flow``: the flow of this trace if it was built already. Evaluations recorded on the spans are used. Raises IndexError for
    an empty trace, and DiagnosisFailed for a fault of llmtrace itself.
    """
    with wrap_errors(trace.trace_id):
        flow = flow or Flow(trace)
        findings = findings_of(flow)
        failed = is_known_to_have_failed(trace)
        places = places_of(flow, findings) if failed else ()
        needs = visible_needs(flow)
        ran = [check for check in all_checks() if needs.issuperset(check.needs)]
        suspects = suspects_of(causes_of(findings, flow), flow)
        return Diagnosis(
            trace.trace_id,
            run_health(trace.health, is_marked=any(suspect.is_marked for suspect in suspects), has_failed=failed),
            suspects,
            places,
            tuple(check.name for check in ran),
            unchecked(flow),
            reports_of(trace, suspects),
            any(set(check.needs) - {"inferences"} for check in ran),
            failed,
            _last_good_checkpoint(trace, suspects, failed=failed),
        )


def _last_good_checkpoint(trace: Trace, suspects: tuple[Suspect, ...], *, failed: bool) -> Step | None:
    marked = [trace.span(suspect.span_id) for suspect in suspects if suspect.is_marked]
    began = min((span.start for span in marked or trace.root_causes), default=None)  # a suspect may precede the error
    if not (failed or marked):
        return None
    for span in reversed(trace.spans):
        is_good = CHECKPOINT in span.attributes and span.attributes.get(CHECKPOINT_PASSED) is not False and span.end is not None
        if is_good and (began is None or span.start < began):
            return Step(span.span_id, str(span.attributes[CHECKPOINT]))
    return None


def findings_of(flow: Flow) -> list[Finding]:
    """Return the findings of all checks, before findings of one cause are joined."""
    return [finding for check in all_checks() for finding in check.look(flow)]


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
