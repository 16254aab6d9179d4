"""Recognizes how models decline a request, in about ten languages. A match is only a hint."""

from __future__ import annotations

import re

from llmtrace.text.patterns import lazy_pattern

_OPENING = 200
"""Number of characters at the beginning of an answer in which it must decline."""
_LONGEST = 1200
"""Number of characters up to which an answer can be a refusal. A longer one does more than decline."""

_NOT_ABLE = r"(?:can(?:no|['’])?t|can not|won['’]t|will not|am (?:not able|unable)|['’]m (?:not able|unable))"
_HELP = r"(?:help|assist|comply|fulfil|support|provide|create|generate|produce|write|share|discuss|do that|engage|participate)"
_DECLINING = lazy_pattern(
    rf"\bI {_NOT_ABLE} (?:to )?(?:\w+ ){{0,2}}{_HELP}\b|\bas an? (?:AI|language model|large language model|AI assistant)\b"
    r"|\bagainst (?:my|our) (?:\w+ )?(?:guidelines|polic(?:y|ies)|principles)\b"
    r"|kann ich (?:dir |ihnen )?(?:dabei |damit |hierbei )?(?:leider )?nicht (?:helfen|behilflich|weiterhelfen|unterstützen)"
    r"|je ne (?:peux|suis) pas (?:en mesure de )?(?:vous |t['’])?(?:aider|répondre|fournir|créer)"
    r"|no puedo (?:ayudarte|ayudarle|ayudar|proporcionar|cumplir)|não posso (?:ajudar|ajudá-lo|fornecer|atender)"
    r"|non posso (?:aiutarti|aiutarla|aiutare|fornire)|kan (?:je|u) (?:hier)?(?:mee |bij )?niet (?:mee )?helpen"
    r"|не могу (?:помочь|с этим помочь|предоставить|выполнить)|nie mogę (?:w tym )?pomóc|yardımcı olamam"
    r"|无法(?:提供|协助|帮助|满足)|不能(?:提供|协助|帮助)|無法(?:提供|協助)|お手伝いできません|お答えできません|도와드릴 수 없",
    re.IGNORECASE,
)
_MARKS = (
    *("i can", "i won", "i will not", "i am ", "i'm ", "i’m ", "language model", "an ai", "against my", "against our"),
    *("nicht", "je ne", "no puedo", "não posso", "non posso", "niet", "не могу", "nie mogę", "olamam"),
    *("无法", "不能", "無法", "できません", "수 없"),
)
"""Every opening that declines contains one of these. Searching for them is faster than the pattern."""


def declines(text: str) -> bool:
    """Return True if a short answer begins by declining the request: the model is unwilling, it does not report a failure."""
    if not text or len(text) > _LONGEST:
        return False
    opening = text[:_OPENING]
    lower = opening.lower()
    return any(mark in lower for mark in _MARKS) and _DECLINING.search(opening) is not None
