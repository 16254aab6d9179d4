"""The model declines to do what it was asked: the provider says so, or the answer opens with it, in so many words.

The words are those of some ten languages and mean the model's own unwillingness ("I can't help with that"), not a failure that
it reports; an answer with a call, or a long one, is none. What a content filter withheld is `truncated_output`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmtrace.content.scan import searcher
from llmtrace.model import Evaluation, Inference, Message, Span
from llmtrace.signals import Signal, Stateless
from llmtrace.signals._answers import finish_reason, has_call, refuses
from llmtrace.signals._traits import ANSWER, ODD_END, OTHER

OPENING = 200
"""Characters of an answer within which it must say so."""
LONGEST = 1200
"""Characters of an answer beyond which it does more than decline."""

_OFF = r"(?:can(?:no|['’])?t|can not|won['’]t|will not|am (?:not able|unable)|['’]m (?:not able|unable))"
_HELP = r"(?:help|assist|comply|fulfil|support|provide|create|generate|produce|write|share|discuss|do that|engage|participate)"
_declining = searcher(
    rf"\bI {_OFF} (?:to )?(?:\w+ ){{0,2}}{_HELP}\b|\bas an? (?:AI|language model|large language model|AI assistant)\b"
    r"|\bagainst (?:my|our) (?:\w+ )?(?:guidelines|polic(?:y|ies)|principles)\b"
    r"|kann ich (?:dir |ihnen )?(?:dabei |damit |hierbei )?(?:leider )?nicht (?:helfen|behilflich|weiterhelfen|unterstützen)"
    r"|je ne (?:peux|suis) pas (?:en mesure de )?(?:vous |t['’])?(?:aider|répondre|fournir|créer)"
    r"|no puedo (?:ayudarte|ayudarle|ayudar|proporcionar|cumplir)|não posso (?:ajudar|ajudá-lo|fornecer|atender)"
    r"|non posso (?:aiutarti|aiutarla|aiutare|fornire)|kan (?:je|u) (?:hier)?(?:mee |bij )?niet (?:mee )?helpen"
    r"|не могу (?:помочь|с этим помочь|предоставить|выполнить)|nie mogę (?:w tym )?pomóc|yardımcı olamam"
    r"|无法(?:提供|协助|帮助|满足)|不能(?:提供|协助|帮助)|無法(?:提供|協助)|お手伝いできません|お答えできません|도와드릴 수 없"
)

_ENGLISH = ("i can", "i won", "i will not", "i am ", "i'm ", "i’m ", "language model", "an ai", "against my", "against our")
_OTHERS = (
    *("nicht", "je ne", "no puedo", "não posso", "non posso", "niet", "не могу", "nie mogę", "olamam"),
    *("无法", "不能", "無法", "できません", "수 없"),
)
_MARKS = (*_ENGLISH, *_OTHERS)
"""Any of these stands in an opening that declines; looking for them is faster."""


def check(span: Span) -> Iterable[Evaluation]:
    inference = span.operation
    if not isinstance(inference, Inference) or inference.partial:
        return ()
    return _check(inference)


def _check(inference: Inference) -> Iterator[Evaluation]:
    for choice, message in enumerate(inference.output):
        if finish_reason(inference, choice) == "refusal" or refuses(message):
            yield Evaluation(SIGNAL.name, "warning", "the model refused, as the provider says", "provider")
        elif _declines(message):
            yield Evaluation(SIGNAL.name, "info", "the answer opens by declining the request", "words")


def _declines(message: Message) -> bool:
    text = message.text()
    if not text or len(text) > LONGEST or has_call(message):
        return False
    opening = text[:OPENING].lower()
    for mark in _MARKS:  # any() takes twice as long
        if mark in opening:
            return _declining(text[:OPENING])
    return False


_ADVICE = "Have the program tell a refusal from an answer, and say so to the user."

SIGNAL: Signal = Stateless("refusal", check, looks_at=(Inference,), waits_for=ANSWER | ODD_END | OTHER, advice=_ADVICE)
