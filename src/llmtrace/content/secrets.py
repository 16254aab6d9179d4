"""Secrets that are known by their form: keys of common services, tokens, private keys, passwords in URLs.

Each entry is a name and a regular expression; a new one is one line. Where the form alone is not enough (``sk-`` begins words,
too), a check decides. What stands between a group named ``keep`` and a group named ``after`` is replaced, else the whole match.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

from llmtrace.content.redaction_stats import RedactionStats
from llmtrace.content.scan import Rule


def _has_digit(text: str) -> bool:
    return any(letter.isdigit() for letter in text)


def _is_token(text: str) -> bool:
    """``Bearer dGhpcyBpcw`` but not ``bearer instruments``."""
    return _has_digit(text) or len(text) >= 40


def _is_basic(text: str) -> bool:
    """Base64 of ``user:password``."""
    word = text.rsplit(maxsplit=1)[-1]
    try:
        return b":" in base64.b64decode(word + "=" * (-len(word) % 4), validate=True)
    except ValueError:
        return False


_B = r"(?-u:\b)"
"""A word boundary by ASCII rules, as the fast engine spells it; taken out for Python's."""

_FORMS: tuple[tuple[str, str, Callable[[str], bool] | None], ...] = (
    ("url_password", r"(?P<keep>://[^ \t\r\n/:@\[\"'\\]{0,256}:)[^ \t\r\n/@\"'\\]{1,256}(?P<after>@)", None),
    ("openai_key", _B + r"sk-[A-Za-z0-9_-]{20,}", _has_digit),  # also Anthropic (sk-ant-), OpenRouter (sk-or-)
    ("stripe_key", _B + r"(?:[sr]k_(?:live|test)_|whsec_)[A-Za-z0-9]{10,}", None),
    ("github_token", _B + r"(?:gh[pousr]_|github_pat_)[A-Za-z0-9_]{20,}", None),
    ("gitlab_token", _B + r"glpat-[A-Za-z0-9_-]{16,}", None),
    ("aws_key", _B + r"(?:AKIA|ASIA)[A-Z0-9]{16}" + _B, None),
    ("google_key", _B + r"(?:AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,})", None),
    ("slack_token", _B + r"(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{10,}", _has_digit),
    ("slack_webhook", r"hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_-]{20,}", None),
    ("model_key", _B + r"(?:hf_|gsk_|xai-|pplx-|nvapi-|r8_)[A-Za-z0-9_-]{28,}", _has_digit),
    ("package_token", _B + r"(?:npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,})", None),
    ("sendgrid_key", _B + r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}", None),
    ("jwt", _B + r"eyJ[A-Za-z0-9_-]{8,1024}\.eyJ[A-Za-z0-9_-]{8,8192}(?:\.[A-Za-z0-9_-]*)?", None),
    ("bearer", _B + r"(?P<keep>[Bb]earer[ \t]+|BEARER[ \t]+)[A-Za-z0-9._~+/-]{8,}=*", _is_token),
    ("basic", _B + r"(?P<keep>Basic[ \t]+)[A-Za-z0-9+/]{6,}={0,2}", _is_basic),
    ("private_key", r"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----", None),
)
_WHOLE = {
    # to the end of the key, or of the text where the key was cut off
    "private_key": r"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?!-----END)[\s\S])*(?:-----END [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----)?",
}

_GROUP = re.compile(r"\(\?P<\w+>")
_BOUND = re.compile(r"\{(\d+),\d+\}")
"""Upper bounds keep ``re`` from going over a hostile text again and again; the fast engine needs none and is slowed by them."""


def _replacer(name: str, form: str, check: Callable[[str], bool] | None) -> Callable[[str, RedactionStats], str]:
    source = _WHOLE.get(name, form).replace("(?-u:", "(?:")
    has_keep, after = "(?P<keep>" in source, "(?P<after>" in source

    def apply(text: str, stats: RedactionStats) -> str:
        pattern = re.compile(source, re.ASCII)  # here, since most programs need none of them, and `re` remembers it

        def replace(match: re.Match[str]) -> str:
            if check is not None and not check(match[0].removeprefix(match["keep"]) if has_keep else match[0]):
                return match[0]
            replacement = stats.take(name)
            return f"{match['keep'] if has_keep else ''}{replacement}{match['after'] if after else ''}"

        return pattern.sub(replace, text)

    return apply


def secret_rules() -> tuple[Rule, ...]:
    return tuple(Rule(name, _anchor(form), _replacer(name, form, check)) for name, form, check in _FORMS)


def _anchor(form: str) -> str:
    return _BOUND.sub(r"{\1,}", _GROUP.sub("(?:", form))
