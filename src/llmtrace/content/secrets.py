"""Secrets with a known form: keys of common services, tokens, private keys, passwords in URLs.

Each entry is a name and a regular expression; to add one, add a line here or in `VENDOR_TOKENS`. If the form alone is not
enough (words may begin with ``sk-`` too), a check decides. The text between the groups ``keep`` and ``after`` is replaced, or
else the whole match. The grouping of the forms decides how fast a text without secrets is read: see `secret_groups`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from llmtrace.content.redaction_stats import RedactionStats
from llmtrace.content.scan import Rule


def _has_digit(text: str) -> bool:
    return any(letter.isdigit() for letter in text)


def _is_token(text: str) -> bool:
    """Return True for ``Bearer dGhpcyBpcw``, False for ``bearer instruments``."""
    return _has_digit(text) or len(text) >= 40


def _is_basic(text: str) -> bool:
    """Return True for base64 of ``user:password``."""
    word = text.rsplit(maxsplit=1)[-1]
    try:
        return b":" in base64.b64decode(word + "=" * (-len(word) % 4), validate=True)
    except ValueError:
        return False


def _is_mixed(text: str) -> bool:
    """Return True if the last 40 letters look random: not a hexadecimal digest, a path or a long word."""
    secret = text[-40:]
    return _has_digit(secret) and not (secret.islower() or secret.isupper()) and max(map(len, secret.split("/"))) > 12


def _is_random(text: str) -> bool:
    """Return True for a token, False for a name: ``reader_of_orders_2024`` has digits at its end only."""
    return len(re.findall("[0-9]+", text.rstrip("0123456789"))) >= 2 and any(map(str.isalpha, text))


def _is_literal(text: str) -> bool:
    """Return True for a password, False for a variable that holds one."""
    return text[:1] not in "$<{%"


_AWS_KEY = r"(?-u:\b)(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?-u:\b)"
_AWS_NAME = "(?:AWS|aws)[ _-]?[Ss]ecret|ecret[ _-]?[Aa]ccess[ _-]?[Kk]ey|ECRET_ACCESS_KEY"
_FORTY_LETTERS = r"(?<![A-Za-z0-9/+])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"
_MAILGUN = "[a-f0-9]{32}-[a-f0-9]{8}-[a-f0-9]{8}"
_DISCORD = r"[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38}"
_B = r"(?-u:\b)"
"""An ASCII word boundary in the fast engine's syntax; removed for Python's ``re``."""


def _discord(begin: str) -> str:
    """Return the form of Discord tokens within a text. Their first part is a number of 17 to 20 digits in base64."""
    three_digits = "[MNO][DTjz][AEIMQUYcgk][wxyz0-5]"
    rest = r"[A-Za-z0-9_-]{3,7}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38}"
    return f"{begin}[AEIMQUYcgk][wxyz0-5](?:{three_digits}){{4}}{rest}"


_Form: TypeAlias = tuple[str, str, Callable[[str], bool] | None]

_FORMS: tuple[tuple[_Form, ...], ...] = (
    (
        (
            "url_password",
            (
                r"(?P<keep>://[^ \t\r\n/:@\[\"'\\]{0,256}:)[^ \t\r\n/@\"'\\]{1,256}"
                r"(?:@[^ \t\r\n/@\"'\\?#,;&<>()]{1,256}){0,4}(?P<after>@)"
            ),
            None,
        ),
        (
            "url_token",
            r"(?P<keep>://)[A-Za-z0-9_.~%=-]{20,256}(?P<after>:[^ \t\r\n/@\"'\\]{0,64}@|@)",
            _is_random,
        ),
        ("discord_token", _discord("[MN][DTjz]"), None),
        ("discord_webhook", r"(?P<keep>/webhooks/[0-9]{10,32}/)[A-Za-z0-9_-]{40,}", None),
    ),
    (
        ("google_key", _B + r"(?:AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,})", None),
        ("model_key", _B + r"(?:hf_|gsk_|xai-|pplx-|nvapi-|r8_)[A-Za-z0-9_-]{28,}", _has_digit),
        ("discord_token", _B + r"(?P<keep>Bot[ \t]+)" + _DISCORD, None),
        ("telegram_token", r"(?P<keep>:)AA[A-Za-z0-9_-]{33}", None),
        ("private_key", r"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----", None),
        ("aws_secret", rf"(?P<keep>(?:{_AWS_NAME})[^\r\n]{{0,60}}?){_FORTY_LETTERS}", _is_mixed),
    ),
    (
        ("gitlab_token", _B + r"glpat-[A-Za-z0-9_-]{16,}", None),
        ("slack_webhook", r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_-]{20,}", None),
        ("azure_sas", r"(?P<keep>sig=)[A-Za-z0-9%+/]{43,}=*", None),
        (
            "curl_password",
            (
                r"(?P<keep>curl[^\r\n]{0,300}?[ \t](?:-u|--user)(?:[ \t]{1,4}|=)?[\"'\\]{0,3}"
                r"[^ \t\r\n:\"'\\]{0,64}:)[^ \t\r\n\"'\\]{1,256}"
            ),
            _is_literal,
        ),
    ),
    (
        ("twilio_key", _B + r"SK[A-Fa-f0-9]{32}" + _B, None),
        ("azure_secret", r"[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,}", None),
        ("jwt", _B + r"eyJ[A-Za-z0-9_-]{8,1024}\.eyJ[A-Za-z0-9_-]{8,8192}(?:\.[A-Za-z0-9_-]*)?", None),
        ("basic", _B + r"(?P<keep>Basic[ \t]+)[A-Za-z0-9+/]{6,}={0,2}", _is_basic),
        ("doppler_token", _B + r"dp\.(?:[pc]t|s[ta]|scim|audit)\.(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9]{40,}", None),
        ("google_token", _B + r"1//0[A-Za-z0-9_-]{40,}", None),
        ("discord_token", _discord("O[DT]"), None),
    ),
    (
        ("stripe_key", _B + r"(?:[sr]k_(?:live|test)_|whsec_)[A-Za-z0-9]{10,}", None),
        ("slack_token", _B + r"(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{10,}", _has_digit),
        ("openai_key", _B + r"sk-[A-Za-z0-9_-]{20,}", _has_digit),  # also Anthropic (sk-ant-), OpenRouter (sk-or-)
        ("sendgrid_key", _B + r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}", None),
        ("bearer", _B + r"(?P<keep>[Bb]earer[ \t]+|BEARER[ \t]+)[A-Za-z0-9._~+/-]{8,}=*", _is_token),
        ("mapbox_token", _B + r"[st]k\.eyJ[A-Za-z0-9_-]{40,1024}\.[A-Za-z0-9_-]{20,}", None),
        ("mailgun_key", _B + "key-[a-f0-9]{32}" + _B, None),
        ("square_token", _B + r"sq0(?:at|cs)p-[A-Za-z0-9_-]{22,}", None),
        ("square_token", r"(?<![A-Za-z0-9+])EAAA[A-Za-z0-9_-]{60}(?![A-Za-z0-9+/=_-])", _is_random),
    ),
    (("mailgun_key", _B + _MAILGUN + _B, None),),
)
"""The forms, by the groups in which their anchors are tested: see `secret_groups`. URLs come first: their user may be a token
of another form, and a password beside the mark of that token would not be found.
"""
_BARE = re.compile(rf"(?P<aws_secret>[A-Za-z0-9/+]{{40}})|(?P<discord_token>{_DISCORD})|(?P<mailgun_key>{_MAILGUN})")
"""Texts that are a secret as a whole; within a text, they might be a part of anything."""
SHORTEST_BARE, LONGEST_BARE = 40, 80
_ANCHORS = {
    # begins with any letter, which the engine cannot search for
    r"[A-Za-z0-9_~.]{3}[0-9]Q~": r"Q~[A-Za-z0-9_~.-]{31}",
    _B + _MAILGUN: "ailgun|AILGUN",  # a form of digests, too: only in a text that names Mailgun
    r"(?<![A-Za-z0-9+])EAAA": "EAAA[A-Za-z0-9_-]{60}",
    "(?P<keep>(?:" + _AWS_NAME: _AWS_NAME,
    _B + "1//": "1//0[A-Za-z0-9_-]{40}",
    _B + "key-": "key-[a-f0-9]{32}",
    _B + r"dp\.": r"dp\.[pcsa][a-z]{1,4}\.[A-Za-z0-9._-]{40}",
    _B + r"[st]k\.": r"[st]k\.eyJ[A-Za-z0-9_-]{40}",
    _B + "sq0": r"sq0[ac][ts]p-[A-Za-z0-9_-]{22}",
}
"""Anchors, by the beginnings of their forms, where the form itself would be slow or no anchor."""
_WHOLE = {
    # to the end of the key, or of the text where the key was cut off
    "private_key": r"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?!-----END)[\s\S])*(?:-----END [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----)?",
}

_HEX = "[A-Fa-f0-9]"
_LETTERS = "[A-Za-z0-9]"
_WORD = "[A-Za-z0-9_-]"
_BASE64 = "[A-Za-z0-9+/=_-]"

VENDOR_TOKENS: tuple[tuple[str, str, str, int], ...] = (
    ("github_token", "(?:gh[pousr]_|github_pat_)", "[A-Za-z0-9_]", 20),
    ("package_token", "npm_", _LETTERS, 36),
    ("package_token", "pypi-", _WORD, 50),
    ("shopify_token", "shp(?:at|ca|pa|ss)_", _HEX, 32),
    ("sentry_token", "sntry[suai]_", _BASE64, 40),
    ("databricks_token", "dapi", _HEX, 32),
    ("vault_token", r"hv[sbr]\.", _WORD, 24),
    ("docker_token", "dckr_[op]at_", _WORD, 20),
    ("pinecone_key", "pcsk_", "[A-Za-z0-9_]", 30),
    ("atlassian_token", "ATATT3", _BASE64, 60),
    ("grafana_token", "gl(?:sa|c)_", _BASE64, 32),
    ("newrelic_key", "NRAK-", _LETTERS, 27),
    ("notion_token", "ntn_", _LETTERS, 40),
    ("digitalocean_token", "do[opr]_v1_", _HEX, 64),
    ("supabase_token", "sbp_", _HEX, 40),
    ("linear_key", "lin_api_", _LETTERS, 40),
    ("age_key", "AGE-SECRET-KEY-1", "[A-Z0-9]", 58),
    ("langsmith_key", "lsv2_[ps][tk]_", "[A-Za-z0-9_]", 32),
    ("tavily_key", "tvly-", _WORD, 20),
)
"""Tokens with a known beginning: the rule's name, the beginning, the letters that follow, and their number at least.

Most of these facts are those of gitleaks (https://github.com/gitleaks/gitleaks, config/gitleaks.toml, July 2026). Those of
Docker, Pinecone and Supabase are from the vendors' own documentation.
"""

_GROUP = re.compile(r"\(\?P<\w+>")
_BOUND = re.compile(r"\{(\d+),\d+\}")
"""Upper bounds protect ``re`` from hostile texts. The fast engine needs none, and they would slow it down."""


def _replacer(name: str, form: str, check: Callable[[str], bool] | None) -> Callable[[str, RedactionStats], str]:
    source = _WHOLE.get(name, form).replace("(?-u:", "(?:")
    has_keep, after = "(?P<keep>" in source, "(?P<after>" in source

    def apply(text: str, stats: RedactionStats) -> str:
        pattern = re.compile(source, re.ASCII)  # most programs never need it; `re` caches it

        def replace(match: re.Match[str]) -> str:
            end = match.start("after") if after else match.end()
            secret = text[match.end("keep") if has_keep else match.start() : end]
            if check is not None and not check(secret):
                return match[0]
            # where only the text before it tells, it would not be found elsewhere
            replacement = stats.take(name, secret) if has_keep and _is_random(secret) else stats.take(name)
            return f"{match['keep'] if has_keep else ''}{replacement}{match['after'] if after else ''}"

        return pattern.sub(replace, text)

    return apply


def _rules(forms: Iterable[_Form]) -> list[Rule]:
    return [Rule(name, _anchor(form), _replacer(name, form, check)) for name, form, check in forms]


def _aws_rule() -> Rule:
    """Return the rule for AWS key ids and the secrets beside them. Without the id, 40 letters may be anything."""
    key_id, secret = _replacer("aws_key", _AWS_KEY, None), _replacer("aws_secret", _FORTY_LETTERS, _is_mixed)

    def apply(text: str, stats: RedactionStats) -> str:
        without_id = key_id(text, stats)
        return without_id if without_id == text else secret(without_id, stats)

    return Rule("aws_key", _AWS_KEY, apply)


def secret_groups() -> Sequence[Sequence[Rule]]:
    """Return the rules in groups whose anchors are tested together.

    The engine searches for the beginnings of all alternatives of a group at once. That is ten times as fast while there are
    fewer than about 30, and none is very short. Add a new form where ``benchmarks/redaction_speed.py`` shows the least cost.
    """
    groups = [_rules(forms) for forms in _FORMS]
    groups[4].append(_aws_rule())
    groups[5].append(_vendor_rule())
    return groups


def secret_rules() -> tuple[Rule, ...]:
    return tuple(rule for group in secret_groups() for rule in group)


def _vendor_rule() -> Rule:
    """Return one rule for all `VENDOR_TOKENS`: one anchor is faster than one for each."""
    begins = "|".join(begin for _, begin, _, _ in VENDOR_TOKENS)
    least = min(length for *_, length in VENDOR_TOKENS)
    source = "|".join(f"({begin}{letters}{{{length},}})" for _, begin, letters, length in VENDOR_TOKENS)

    def apply(text: str, stats: RedactionStats) -> str:
        pattern = re.compile(rf"\b(?:{source})", re.ASCII)
        return pattern.sub(lambda match: stats.take(VENDOR_TOKENS[(match.lastindex or 1) - 1][0]), text)

    return Rule("vendor_token", rf"{_B}(?:{begins})[A-Za-z0-9_+/=-]{{{least}}}", apply)


def bare_secret(text: str) -> str | None:
    """Return the rule's name if the whole text is a secret whose form is too common within other texts; else None."""
    match = _BARE.fullmatch(text)
    if match is None or (match["aws_secret"] and not _is_mixed(text)):
        return None
    return match.lastgroup


def _anchor(form: str) -> str:
    for begin, anchor in _ANCHORS.items():
        if form.startswith(begin):
            return anchor
    return _BOUND.sub(r"{\1,}", _GROUP.sub("(?:", form))
