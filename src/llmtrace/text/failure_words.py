"""Recognizes how programs and people report a failure.

`begins_as_error` matches the forms in which programs begin an error message; they are much the same in every language. A match
counts as a failure. `mentions_failure` matches words of natural languages. It is broad on purpose, so a match is only a hint or
an excuse, never proof of a failure.
"""

from __future__ import annotations

import re

from llmtrace.text.patterns import lazy_pattern

_START = 200
"""Number of characters at the beginning of a text in which an error must show."""

_ERROR_START = lazy_pattern(
    r"""\W{0,4}(?:
        [\w.]{0,80}(?:Error|Exception|Failure|Fault)\s*(?:[:(\[\n]|$)      # an exception's name
      | (?i:(?!no\ |0\ )(?:[a-z_]+\ ){0,2}(?:error|exception)\s*(?:[:!\[\]\-–]|\d|$))   # "Validation error:"
      | (?i:an\ (?:[a-z]+\ )?error\ (?:occurred|happened)\b)
      | (?i:(?:error|exception|failure|panic)\s(?:in|while|when|executing|occurred|during|processing|code|from|reading|at)\b)
      | (?i:fatal|failed|abort(?:ed)?|invalid)\b(?![-_])
      | (?i:unauthorized|forbidden|(?:permission|access)\ denied|bad\ request|command\ not\ found)\s*(?:[:.!,(]|\n|$)
      | Traceback\ \(most\ recent
      | (?i:(?:http(?:/\d(?:\.\d)?)?|status(?:\ code)?|code)\W{0,3}[45]\d\d\b)
      | [45]\d\d\s(?i:error|bad\ request|unauthorized|forbidden|not\ found|conflict|too\ many|internal|service|bad|gateway)
      | <error\b
      | (?:/bin/)?(?:ba|z|da|c|k)?sh:\s                                    # a shell's own messages
    )""",
    re.VERBOSE,
)
_ERROR_FLAG = lazy_pattern(r"\s*(?:meta=|CallToolResult\(|\{).*\b(?:isError|is_error)['\"]?\s*[=:]\s*[Tt]rue\b", re.DOTALL)
"""The error flag of MCP results, as JSON or as Python prints them."""


def begins_as_error(text: str) -> bool:
    """Return True if the text begins as a program's error message does, or has MCP's error flag."""
    return _ERROR_START.match(text, 0, _START) is not None or ("rror" in text and _ERROR_FLAG.match(text) is not None)


_FAILURE_WORDS = lazy_pattern(
    # English; stems, so that tenses and plurals count
    r"error|fail|unable|(?:could|can|did|does|do|is|was|were|are|has|have|would|will)(?:n['’]t| not)\b|cannot|\bcan't|sorry"
    r"|apolog|unfortunate|not (?:found|enough|allowed|possible|available|eligible|valid|permitted|supported|yet)|unavailable"
    r"|\bno (?:\w+ ){0,3}(?:found|available|match|result|record)|problem|issue|trouble|difficult|invalid|incorrect|wrong"
    r"|there (?:is|are|was|were) no\b|\b(?:find|found|see|have|locate) no\b|insufficient|exceed|denied|declined"
    r"|reject|refus|missing|expired|time[ds]? ?out|retry|try again|however|instead|alternativ"
    # German, French, Spanish, Portuguese, Italian, Dutch
    r"|fehler|fehlgeschlagen|leider|konnte|kann nicht|nicht (?:gefunden|finden|möglich|verfügbar)|finde (?:kein|nicht)|désolé"
    r"|malheureusement|erreur|échou|impossible|introuvable|n'a pas|ne trouve|lo siento|lamento"
    r"|no (?:se )?(?:pud|pued|enc(?:o|ue)ntr|ha sido posible)|falló|desculpe|infelizmente"
    r"|não (?:foi|consegui|encontr|é possível)|falhou|erro\b|errore|purtroppo|spiacent|non (?:è stato|ho potuto|trovo)"
    r"|helaas|mislukt|niet (?:gevonden|mogelijk)"
    # Russian, Polish, Turkish, Chinese, Japanese, Korean, Arabic, Hindi
    r"|ошибк|не удалось|не найден|к сожалению|извините|błąd|niestety|nie (?:udało|znaleziono|można)|hata|maalesef|üzgünüm"
    r"|错误|失败|无法|未找到|抱歉|不能|錯誤|失敗|無法|找不到|エラー|できません|見つかりません|申し訳|오류|실패|죄송|찾을 수 없"
    r"|خطأ|فشل|عذر|للأسف|त्रुटि|विफल|क्षमा|माफ़",
    re.IGNORECASE,
)


def mentions_failure(text: str) -> bool:
    """Return True if the text mentions a failure, an obstacle or an alternative, in one of about twenty languages."""
    return _FAILURE_WORDS.search(text) is not None
