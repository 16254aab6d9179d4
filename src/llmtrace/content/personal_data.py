"""Personal data with check digits or a fixed form: payment cards, IBANs, national ids, e-mail addresses, phone numbers.

They are redacted only if ``configure(redact=…)`` names them. JSON text stays JSON: a number is replaced by a string.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from llmtrace.config import PersonalData
from llmtrace.content.redaction_stats import RedactionStats
from llmtrace.content.scan import Rule
from llmtrace.text.patterns import lazy_pattern

_CARD = lazy_pattern(r"(?<![\w.-])[2-6](?:[ -]?[0-9]){12,18}(?![\w-])", re.ASCII)
_IBAN = lazy_pattern(r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}", re.ASCII)
_SSN = lazy_pattern(r"(?<![\w-])(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![\w-])", re.ASCII)
_EMAIL = lazy_pattern(r"[\w.%+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}")
_PHONE = lazy_pattern(
    r"(?<![\w.+-])(?:\+[1-9](?:[ ./-]?\(?[0-9]\)?){7,14}"
    r"|(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[-. ])[2-9][0-9]{2}[-. ][0-9]{4})(?![\w-])",
    re.ASCII,
)
"""International numbers, which begin with ``+``, and those of North America, in groups of three, three and four digits."""
_NATIONAL_ID = lazy_pattern(
    r"""(?x)(?<![\w.-])(?:
        (?P<spain> [0-9XYZ][0-9]{7}-?[A-Z])
      | (?P<italy> [A-Z]{6} [0-9LMNP-V]{2} [ABCDEHLMPRST] [0-9LMNP-V]{2} [A-Z] [0-9LMNP-V]{3} [A-Z])
      | (?P<france> [12] [ ]?[0-9]{2} [ ]?(?:0[1-9]|1[0-2]) [ ]?(?:[0-9]{2}|2[AB]) [ ]?[0-9]{3} [ ]?[0-9]{3} [ ]?[0-9]{2})
      | (?P<brazil> [0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2})
      | (?P<britain> [A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] [ ]?[0-9]{2} [ ]?[0-9]{2} [ ]?[0-9]{2} [ ]?[A-D])
      | (?P<germany> [1-9][0-9] [ ]?[0-9]{3} [ ]?[0-9]{3} [ ]?[0-9]{3})
    )(?![\w-])""",
    re.ASCII,
)
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


def _emails(text: str, stats: RedactionStats) -> str:
    return _EMAIL.sub(lambda _: stats.take("email"), text)


def _phones(text: str, stats: RedactionStats) -> str:
    return _PHONE.sub(lambda _: stats.take("phone"), text)


def _national_ids(text: str, stats: RedactionStats) -> str:
    def replace(match: re.Match[str]) -> str:
        country = match.lastgroup or ""
        if not _IS_ID.get(country, bool)(re.sub("[ .-]", "", match[0])):
            return match[0]
        is_number = match[0].isdigit() and _AFTER_NUMBER.match(text, match.end())
        quote = '"' if is_number and _BEFORE_NUMBER.search(text[max(match.start() - 16, 0) : match.start()]) else ""
        return f"{quote}{stats.take('national_id')}{quote}"

    return _NATIONAL_ID.sub(replace, text)


def _is_spanish(number: str) -> bool:
    """DNI and NIE: the letter is that of the number modulo 23."""
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number[:-1].translate(str.maketrans("XYZ", "012"))) % 23] == number[-1]


def _is_italian(code: str) -> bool:
    """Codice fiscale: the last letter is the sum of the values of the 15 before it, modulo 26."""
    odd = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
    values = [int(letter) if letter.isdigit() else ord(letter) - 65 for letter in code[:15]]
    return (sum(odd[value] for value in values[::2]) + sum(values[1::2])) % 26 == ord(code[15]) - 65


def _is_french(number: str) -> bool:
    """NIR: the last two digits are 97 less the number modulo 97; Corsica's departments count as 19 and 18."""
    digits = number[:13].replace("2A", "19").replace("2B", "18")
    return 97 - int(digits) % 97 == int(number[13:])


def _is_brazilian(number: str) -> bool:
    """CPF: two check digits, each the weighted sum of those before it, modulo 11."""
    digits = [int(digit) for digit in number]
    return len(set(digits)) > 1 and all(
        sum(digit * (end + 1 - place) for place, digit in enumerate(digits[:end])) * 10 % 11 % 10 == digits[end]
        for end in (9, 10)
    )


def _is_german(number: str) -> bool:
    """Tax number: one digit of the first ten stands twice or three times, and the last is the check digit of ISO 7064."""
    if len(set(number[:10])) not in (8, 9):
        return False
    product = 10
    for digit in number[:10]:
        product = (int(digit) + product) % 10 or 10
        product = product * 2 % 11
    return (11 - product) % 10 == int(number[10])


def is_national_number(digits: str) -> bool:
    """Return True for a number of France or Germany: those of other countries have letters or points."""
    match = _NATIONAL_ID.fullmatch(digits)
    return match is not None and _IS_ID[match.lastgroup or ""](digits)


_IS_ID: dict[str, Callable[[str], bool]] = {
    "spain": _is_spanish,
    "italy": _is_italian,
    "france": _is_french,
    "brazil": _is_brazilian,
    "germany": _is_german,
}
"""The test of the check digits; Britain's numbers have none."""
_RULES: dict[PersonalData, Rule] = {
    "iban": Rule("iban", r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11}", _ibans),  # before cards: its digits may look like one
    "cards": Rule("card", r"[2-6](?:[ -]?[0-9]){12}", _cards),
    "ssn": Rule("ssn", r"[0-9]{3}-[0-9]{2}-[0-9]{4}", _ssns),
    "email": Rule("email", r"@[^ \t\r\n@]+\.", _emails),
    "phone": Rule("phone", r"\+[1-9]|[0-9]{3}\)? ?[-. ]?[0-9]{3}[-. ][0-9]{4}", _phones),
    "national_id": Rule(
        "national_id", "[0-9]{7}|[0-9] ?[0-9]{3}|[A-Z]{6}[0-9L-V]|[A-Z]{2} ?[0-9]{2}|[0-9]{3}\\.[0-9]{3}", _national_ids
    ),
}
