"""The answer ends in the same piece of text again and again: the model got stuck while it wrote.

Judged at the end of the text, where a model that got stuck stays until its limit. The piece must fill a good part of the text;
rules, table borders and blank lines, which have neither letters nor digits, do not count, nor does code in fences.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmtrace.model import Evaluation, Inference, Span
from llmtrace.signals import Signal, Stateless
from llmtrace.signals._answers import shown, user_mentions
from llmtrace.signals._traits import TEXT

SHORTEST = 200
"""Characters of the shortest text that is judged."""
LONGEST_PIECE = 600
TIMES = 6
"""How often the piece stands there, at least."""
SHARE = 0.4
"""The least share of the text that the repetition fills, where it is short."""
PLENTY = 2000
"""Characters of repetition that need not fill any share."""
_PROBE = 24


def check(span: Span) -> Iterable[Evaluation]:
    inference = span.operation
    return _check(inference) if isinstance(inference, Inference) else ()


def _check(inference: Inference) -> Iterator[Evaluation]:
    for message in inference.output:
        text = message.text()
        if len(text) < SHORTEST:
            continue
        piece, length = _stuck(text)
        if piece and not user_mentions(inference, piece * 2) and not shown(text, len(text) - length):
            times = length // len(piece)
            explanation = f"the answer ends in {times} times the same piece of {len(piece)} character{'s' * (len(piece) > 1)}"
            evidence = {"text": piece[:200]}
            yield Evaluation(SIGNAL.name, "warning", explanation, "repetition", float(times), evidence=evidence)


def _stuck(text: str) -> tuple[str, int]:
    """The piece that the text ends in again and again, and how many characters they are in all; or nothing."""
    end = len(text)
    probe = text[-_PROBE:]
    before = text.rfind(probe, max(0, end - _PROBE - LONGEST_PIECE), end - 1)
    period = end - _PROBE - before
    if before < 0 or text[-period:] != text[-2 * period : -period]:
        return "", 0
    piece = text[-period:]
    length = 2 * period
    while text[end - length - period : end - length] == piece:
        length += period
    enough = length >= PLENTY or length >= SHARE * end
    if length < TIMES * period or length < SHORTEST / 2 or not enough or not any(map(str.isalnum, piece)):
        return "", 0
    return piece, length


_ADVICE = "Ask again with a penalty on repetition or another temperature, and a lower limit on output tokens."

SIGNAL: Signal = Stateless("degenerate_output", check, looks_at=(Inference,), waits_for=TEXT, advice=_ADVICE)
