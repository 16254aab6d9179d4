"""Personal numbers with check digits or a fixed form: payment cards, IBANs, US social security numbers.

They are redacted only if ``configure(redact=…)`` names them. JSON text stays JSON: a number is replaced by a string.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from llmtrace.config import PersonalData
from llmtrace.content.redaction_stats import RedactionStats
from llmtrace.content.scan import Rule
from llmtrace.text.patterns import lazy_pattern

_CARD = lazy_pattern(r"(?<![\w.-])[2-6](?:[ -]?[0-9]){12,18}(?![\w-])", re.ASCII)
_IBAN = lazy_pattern(r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}", re.ASCII)
_SSN = lazy_pattern(r"(?<![\w-])(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![\w-])", re.ASCII)
_SHORTEST_IBAN = 15
_BEFORE_NUMBER, _AFTER_NUMBER = re.compile(r"[:,\[]\s*$"), re.compile(r"\s*[,}\]]")


def personal_rules(kinds: Collection[PersonalData]) -> list[Rule]:
    return [rule for kind, rule in _RULES.items() if kind in kinds]


def is_card(digits: str) -> bool:
    """Return True for the digits of a payment card: by length, first digit and the check digit of Luhn's method."""
    if not 13 <= len(digits) <= 19 or digits[0] not in "23456" or len(set(digits)) == 1:
        return False
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    return (sum(map(int, digits[-1::-2])) + sum(number - 9 if number > 9 else number for number in doubled)) % 10 == 0


def _cards(text: str, stats: RedactionStats) -> str:
    def replace(match: re.Match[str]) -> str:
        if not is_card(re.sub("[ -]", "", match[0])):
            return match[0]
        is_number = match[0].isdigit() and _AFTER_NUMBER.match(text, match.end())
        quote = '"' if is_number and _BEFORE_NUMBER.search(text[max(match.start() - 16, 0) : match.start()]) else ""
        return f"{quote}{stats.take('card')}{quote}"

    return _CARD.sub(replace, text)


def _ibans(text: str, stats: RedactionStats) -> str:
    def replace(match: re.Match[str]) -> str:
        candidate = match[0]
        while len(candidate) >= _SHORTEST_IBAN:  # words in capitals after it may look like a part of it
            if _is_iban(candidate.replace(" ", "")):
                return stats.take("iban") + match[0][len(candidate) :]
            candidate = candidate[:-1].rstrip()
        return match[0]

    return _IBAN.sub(replace, text)


def _is_iban(code: str) -> bool:
    """Return True if the code, first four letters moved to the end, letters as numbers, is 1 modulo 97 (ISO 13616)."""
    return len(code) >= _SHORTEST_IBAN and int("".join(str(int(letter, 36)) for letter in code[4:] + code[:4])) % 97 == 1


def _ssns(text: str, stats: RedactionStats) -> str:
    return _SSN.sub(lambda _: stats.take("ssn"), text)


_RULES: dict[PersonalData, Rule] = {
    "iban": Rule("iban", r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11}", _ibans),  # before cards: its digits may look like one
    "cards": Rule("card", r"[2-6](?:[ -]?[0-9]){12}", _cards),
    "ssn": Rule("ssn", r"[0-9]{3}-[0-9]{2}-[0-9]{4}", _ssns),
}
