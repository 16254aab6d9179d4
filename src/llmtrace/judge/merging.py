"""Evidence and verdict as one probability: the mean of both.

What the judge left for "elsewhere or nothing" goes to the suspects it was not asked about in proportion to their evidence, and
the rest to "nothing". Law: each suspect keeps what both said of it; what one side holds
impossible, the other alone brings to a half at most.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmtrace.diagnosis import Diagnosis, Suspect
from llmtrace.judge.endpoint import Answer
from llmtrace.judge.verdict import Verdict
from llmtrace.model.value import replace, value


@value
class Opinion:
    """What both sides said of one suspect; its ``score`` is the mean."""

    evidence: float
    judge: float
    reason: str


@value
class Judged:
    model: str
    diagnosis: Diagnosis
    """Its suspects have merged scores, and are in their order."""
    opinions: tuple[Opinion | None, ...] = ()
    """One for each suspect of the diagnosis; None where the judge was not asked about it."""
    input_tokens: int | None = None
    output_tokens: int | None = None


def merged(model: str, diagnosis: Diagnosis, verdicts: Sequence[Verdict], answer: Answer) -> Judged:
    asked, others = diagnosis.suspects[: len(verdicts)], diagnosis.suspects[len(verdicts) :]
    model_held = 1.0 - sum(verdict.probability for verdict in verdicts)
    evidence_held = max(1.0 - sum(one.score for one in asked), sum(one.score for one in others))
    share = max(0.0, model_held) / evidence_held if evidence_held > 0 else 0.0
    both: list[tuple[Suspect, Opinion | None]] = []
    for one, verdict in zip(asked, verdicts, strict=True):
        opinion = Opinion(one.score, round(verdict.probability, 4), verdict.reason)
        both.append((_scored(one, verdict.probability), opinion))
    both += [(_scored(one, one.score * share), None) for one in others]
    both.sort(key=lambda pair: -pair[0].score)  # stable: of equals, the evidence's order
    suspects = replace(diagnosis, suspects=tuple(suspect for suspect, _ in both))
    opinions = tuple(opinion for _, opinion in both)
    return Judged(model, suspects, opinions, answer.input_tokens, answer.output_tokens)


def _scored(suspect: Suspect, judged: float) -> Suspect:
    return replace(suspect, score=round((suspect.score + judged) / 2, 4))
