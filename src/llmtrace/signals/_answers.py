"""How signals read an answer: its text, how it ended, what was asked for, what is new in the request.

Law: only the messages after the last answer are looked at, so a history of any length costs the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

from llmtrace import semconv
from llmtrace.content.scan import searcher
from llmtrace.model import Generic, Inference, JsonValue, Message, ServerToolCall, Span, ToolCall
from llmtrace.signals._traits import ANSWERED

Asked: TypeAlias = Literal["object", "any"]

PLACES = 20
"""Places in one text that are looked at more closely; a text full of marks is not worth more time."""

EXCERPT = 80
"""Characters of content shown before and after the place that evidence is about."""

CUT = frozenset({"length", "max_tokens", "max_output_tokens", "model_context_window_exceeded"})
FILTERED = frozenset({"content_filter", "content_filtered", "safety", "recitation", "blocklist", "prohibited_content", "spii"})

_CALLS = frozenset({ToolCall, ServerToolCall})
_USER = frozenset({"user", "human"})
_JSON = frozenset({"json", "json_object", "json_schema", "application/json"})

_tells_of_failure = searcher(
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
    r"|خطأ|فشل|عذر|للأسف|त्रुटि|विफल|क्षमा|माफ़"
)

_QUESTION_MARKS = ("?", "？", "؟")
_SENTENCE_END = re.compile(r"[.!?:]\s|[。！？؟\n]")


def has_call(message: Message) -> bool:
    for part in message.parts:  # noqa: SIM110 (any() takes three times as long, and many signals ask)
        if type(part) in _CALLS:
            return True
    return False


def holds(messages: Iterable[Message], kinds: frozenset[type]) -> bool:
    """True if one of the messages has a part of one of these kinds."""
    for message in messages:
        for part in message.parts:
            if type(part) in kinds:
                return True
    return False


def refuses(message: Message) -> bool:
    """True if the provider itself marks the message as a refusal."""
    for part in message.parts:  # noqa: SIM110 (any() takes three times as long)
        if type(part) is Generic and part.type == "refusal":
            return True
    return False


def finish_reason(inference: Inference, choice: int) -> str:
    """Why this choice ended, in lower case; empty where that is not known."""
    reason = inference.output[choice].finish_reason
    if reason is None and choice < len(inference.finish_reasons):
        reason = inference.finish_reasons[choice]
    return reason.lower() if reason else ""


def json_asked(span: Span, inference: Inference) -> Asked | None:
    """Whether the request asked for JSON: an object, or any JSON value."""
    asked = _json_format(inference.parameters) if inference.parameters else None
    if asked:
        return "object" if asked == "json_object" else "any"
    if span.attributes.get(semconv.OUTPUT_TYPE) == "json":
        return "any"
    # A form that is not known here, yet validation found a schema in it.
    found = span.violations and any(violation.where == "output" for violation in span.violations)
    return "any" if found else None


def _json_format(parameters: JsonValue) -> str | None:
    form = parameters.get("response_format")
    if form is None and isinstance(text := parameters.get("text"), dict):
        form = text.get("format")  # the Responses API
    if form is None:
        form = parameters.get("response_mime_type") or parameters.get("output_type")
    kind = form.get("type") if isinstance(form, dict) else form
    return kind if isinstance(kind, str) and kind in _JSON else None


def has_mark(text: str, marks: tuple[str, ...]) -> bool:
    """True if any of the marks, which begin with ``<``, ``[``, a backtick or no ASCII, stands in the text."""
    if "<" in text or "[" in text or "`" in text or not text.isascii():  # one character is found much faster than several
        return any(mark in text for mark in marks)
    return False


def fenced(text: str) -> Iterator[str]:
    """What stands in the text's code fences, without the name of the language."""
    for block in text.split("```")[1::2]:
        language, newline, rest = block.partition("\n")
        yield rest if newline and language.strip().isalnum() else block


def shown(text: str, place: int) -> bool:
    """True inside a code fence or right after a backtick or quotation mark: the text speaks about what stands there."""
    return text[place - 1 : place] in ("`", "'", '"') or text.count("```", 0, place) % 2 == 1


def new_messages(inference: Inference) -> tuple[Message, ...]:
    """What the request says since the model last spoke: the user's words, and the results of the last calls."""
    messages = inference.input
    start = len(messages)
    while start and messages[start - 1].role not in ANSWERED:
        start -= 1
    return messages[start:] if start else messages


def user_mentions(inference: Inference, what: str) -> bool:
    """True if the user's newest messages contain this text: then the answer may well be about it."""
    return any(what in message.text() for message in new_messages(inference) if message.role in _USER)


def admits_failure(text: str) -> bool:
    """True if the text speaks of a failure, an obstacle or another way. Broad on purpose."""
    return _tells_of_failure(text)


def asks_back(text: str) -> bool:
    """True if the text ends with a question."""
    return text.rstrip().endswith(_QUESTION_MARKS)


def only_asks(text: str) -> bool:
    """True if the text is a single question; a question after statements may be mere courtesy."""
    return asks_back(text) and _SENTENCE_END.search(text.strip()[:-1]) is None


def excerpt(text: str, start: int, end: int) -> str:
    """The text around a place, for evidence: bounded, whatever the place."""
    return text[max(0, start - EXCERPT) : min(end, start + 4 * EXCERPT) + EXCERPT]
