"""Reconciles what the laws say of a stored run with what they said while it ran.

A run that llmtrace recorded was judged over its whole content. If content was cut, redacted or left out afterwards, the marks
that its outermost span carries stand: no law that looks at content marks the run anew, and no mark is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llmtrace import laws
from llmtrace.laws.finding import Finding, as_sentence
from llmtrace.model import Evaluation, Span
from llmtrace.reading.ended_run import EndedRun
from llmtrace.reading.visible_context import is_whole
from llmtrace.semconv import FINDINGS_COUNT


def as_judged_live(run: EndedRun, findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings of a stored run. ``findings``: those of the laws over what was stored."""
    outermost = run.outermost
    if outermost is None or FINDINGS_COUNT not in outermost.attributes or all(map(is_whole, run.spans)):
        return list(findings)
    marks = [mark for mark in outermost.evaluations if mark.is_mark]
    confirmed = {(mark.name, mark.label): mark for mark in marks}
    loaded = laws.load()
    # the others need no content: an error, the end of the program, a receipt and the program's own signals show without it
    of_content = {law.name for law in loaded if set(law.needs) - {"receipts"}}
    reconciled = []
    for finding in findings:
        mark = confirmed.get((finding.law, finding.label))
        if mark is None and finding.is_marked and finding.law in of_content:
            reconciled.append(replace(finding, confidence="possible"))
        elif mark is not None and not finding.is_marked and finding.span_id in mark.sources:
            reconciled.append(replace(finding, confidence=mark.confidence or "possible"))
        else:
            reconciled.append(finding)
    shown = {(finding.law, finding.label) for finding in reconciled if finding.is_marked}
    advice = {law.name: law.advice for law in loaded}
    missing = [mark for mark in marks if (mark.name, mark.label) not in shown]
    return [*(_finding_of(run, outermost, mark, advice.get(mark.name, "")) for mark in missing), *reconciled]


def _finding_of(run: EndedRun, outermost: Span, mark: Evaluation, advice: str) -> Finding:
    """Return a mark of the live run as a finding. Its first source is the span to look at, if that is still stored."""
    ids = {span.span_id for span in run.spans}
    sources = tuple(span_id for span_id in mark.sources if span_id in ids) or (outermost.span_id,)
    text = mark.evidence.get("text")
    evidence = text if isinstance(text, str) else as_sentence(mark.explanation)
    return Finding(
        mark.name, mark.label or "fail", mark.confidence or "possible", sources[0], mark.explanation, evidence, advice,
        pointer=mark.pointer, cause_key=(mark.explanation, mark.pointer), spans=sources,
    )  # fmt: skip
