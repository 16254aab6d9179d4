"""Lets the laws judge a run: the one place where findings are made, for the live path and for stored traces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from llmtrace.laws import is_built_in, load
from llmtrace.laws.base import AnyLaw, Law
from llmtrace.laws.finding import OF_NO_LAW, Finding, finding_of, is_shown
from llmtrace.log_once import warn_once
from llmtrace.model import ACCEPTANCE, FEEDBACK, OUTCOME, Confidence, Evaluation, Span
from llmtrace.model.value import value
from llmtrace.reading.ended_run import EndedRun

_REPORTS = frozenset({OUTCOME, FEEDBACK, ACCEPTANCE})
"""Names of evaluations by people and programs. They are about the run as a whole, and no law."""
_OWN_ADVICE = "Check for it in the program before the answer goes out."


@value
class Judgement:
    """What the laws said of a run."""

    findings: tuple[Finding, ...]
    laws: tuple[AnyLaw, ...]
    """The laws that judged. A law that only states facts about steps, without a `judge` of its own, is not among them."""
    errors: Mapping[str, str]
    """The class of the error of each law that failed, by the law's name."""


def judge(run: EndedRun, laws: Iterable[AnyLaw] | None = None) -> Judgement:
    """Have the laws judge a run. A law that raises loses only its own findings.

    ``laws``: default, all. An error that the program's own signal stated is certain, since the program decides.
    """
    findings: list[Finding] = []
    judges: list[AnyLaw] = []
    errors: dict[str, str] = {}
    laws = load() if laws is None else tuple(laws)
    for law in laws:
        is_judge = type(law).judge is not Law.judge
        if not is_judge and not (run.facts and is_built_in(law.name)):
            continue  # it has only facts, and those of other signals are judged below, whether they are loaded or not
        try:
            findings += tuple(law.judge(run))  # all findings of the law, or none if its iterator raises
        except Exception as error:
            report(law, error)
            errors[law.name] = type(error).__qualname__
        else:
            judges += [law] if is_judge else []
    if run.facts:
        advice = {law.name: law.advice for law in laws}
        findings += (_of_other(span, fact, advice, run) for span, fact in run.facts if _is_other(fact))
    return Judgement(tuple(findings), tuple(judges), errors)


def _is_other(fact: Evaluation) -> bool:
    """Return True for a warning or error by a signal of the program or of another package."""
    name = fact.name
    return is_shown(fact) and name not in _REPORTS and not name.startswith(OF_NO_LAW) and not is_built_in(name)


def _of_other(span: Span, fact: Evaluation, advice: Mapping[str, str], run: EndedRun) -> Finding:
    confidence: Confidence = "certain" if fact.severity == "error" else "possible"
    return finding_of(span, fact, advice.get(fact.name) or _OWN_ADVICE, run, confidence)


def report(law: AnyLaw, error: Exception) -> None:
    """Log once that a law failed."""
    failed = f"quality signal {law.name} failed with {type(error).__qualname__}"
    warn_once(f"{failed}; its verdicts are incomplete. This is reported once.")
