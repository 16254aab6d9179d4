"""What one run tells about issues: which issues it shows, and with which versions of the program, prompts and models it ran.

A run shows the issue of each suspect that marks it (see `identity`). A run that is known to have failed and has no mark shows
an issue for each report: an outcome, a check of the program that refused the answer, or bad feedback.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from llmtrace.diagnosis.identity import Identity, agent_of, place_of, without_ids
from llmtrace.diagnosis.result import Diagnosis
from llmtrace.model import ACCEPTANCE, FEEDBACK, OUTCOME, Evaluation, Inference, Span, Trace
from llmtrace.model.issues import (
    COMMIT,
    MODEL,
    PROMPT_TEMPLATE,
    SERVICE,
    SYSTEM_PROMPT,
    TOOLS,
    VERSION_KINDS,
    Occurrence,
    Strength,
)
from llmtrace.model.traces import is_program
from llmtrace.semconv import SERVICE_VERSION, VCS_CHANGES, VCS_REVISION

_CLEAN_TREE: Final = "none"
_SHORT_DIGEST: Final = 8


def occurrences_of(trace: Trace, diagnosis: Diagnosis) -> tuple[Occurrence, ...]:
    """Return the issues that a run shows, each once, the strongest first."""
    found: dict[str, Occurrence] = {}
    inside = [suspect for suspect in diagnosis.marked if not is_program(trace.span(suspect.span_id))]
    for suspect in inside or diagnosis.marked:  # the end of a whole program repeats what ended the run inside it
        identity = suspect.identity
        if identity is not None and suspect.confidence != "possible":
            occurrence = _occurrence(identity, suspect.title, suspect.confidence, suspect.check, suspect.span_id)
            found.setdefault(occurrence.issue, occurrence)
    if not found and diagnosis.failed:
        for span, evaluation in _reports(trace):
            occurrence = _reported(trace, span, evaluation)
            found.setdefault(occurrence.issue, occurrence)
        if not found:
            identity = Identity("failed", agent_of(trace, trace.root))
            occurrence = _occurrence(identity, "the run failed without a known cause", "reported", "failed", trace.root.span_id)
            found[occurrence.issue] = occurrence
    return tuple(found.values())


def _occurrence(identity: Identity, title: str, confidence: Strength, check: str, span_id: str) -> Occurrence:
    return Occurrence(identity.id, title, confidence, check, identity.kind, identity.subject, identity.place, span_id)


def _reports(trace: Trace) -> Iterator[tuple[Span, Evaluation]]:
    """Yield the evaluations that say that the run failed. An outcome that repeats an acceptance check is left out."""
    is_checked = any(evaluation.name == ACCEPTANCE for span in trace.spans for evaluation in span.evaluations)
    for span in trace.spans:
        for evaluation in span.evaluations:
            name, label = evaluation.name, evaluation.label
            is_report = (
                (name == OUTCOME and label == "failure" and not (is_checked and evaluation.source == ACCEPTANCE))
                or (name == ACCEPTANCE and label == "fail" and trace.is_run_root(span))
                or (name == FEEDBACK and evaluation.severity != "info")
            )
            if is_report:
                yield span, evaluation


def _reported(trace: Trace, span: Span, evaluation: Evaluation) -> Occurrence:
    label = without_ids(evaluation.label or "")
    place = place_of(evaluation.pointer or "")
    if evaluation.name == OUTCOME:
        title = "the program reported failure"
    elif evaluation.name == ACCEPTANCE:
        title = f"the program's check refused the answer{f' at {place}' if place else ''}"
    else:
        title = f"bad feedback{f': {label}' if label else ''}"
    identity = Identity(f"{evaluation.name} {label}".rstrip(), agent_of(trace, span), place)
    return _occurrence(identity, title, "reported", evaluation.name, span.span_id)


def version_of(trace: Trace) -> dict[str, tuple[str, ...]]:
    """Return the versions that a run was made with, as far as they were recorded."""
    found: dict[str, dict[str, None]] = {kind: {} for kind in VERSION_KINDS}
    changes: dict[int, str] = {}
    """The uncommitted changes of each process, by the identity of its resource."""
    for span in trace.spans:
        if isinstance(changed := span.attributes.get(VCS_CHANGES), str):
            changes[id(span.resource)] = changed
    for resource in {id(span.resource): span.resource for span in trace.spans}.values():
        if isinstance(version := resource.get(SERVICE_VERSION), str) and version:
            found[SERVICE][version] = None
        if isinstance(commit := resource.get(VCS_REVISION), str) and commit:
            changed = changes.get(id(resource), _CLEAN_TREE)
            found[COMMIT][commit if changed == _CLEAN_TREE else f"{commit}+{changed[:_SHORT_DIGEST]}"] = None
    for span in trace.spans:
        if not isinstance(span.operation, Inference):
            continue
        if model := span.operation.request_model or span.operation.model:
            found[MODEL][model] = None
        if (fingerprint := span.operation.fingerprint) is not None:
            found[PROMPT_TEMPLATE].update(dict.fromkeys(fingerprint.prompts))
            found[SYSTEM_PROMPT].update(dict.fromkeys([fingerprint.system] if fingerprint.system else ()))
            found[TOOLS].update(dict.fromkeys([fingerprint.tools] if fingerprint.tools else ()))
    return {kind: tuple(values) for kind, values in found.items() if values}
