"""Secrets of every documented kind, each one new: what stands in a text, and the part that must be nowhere else.

The part that is searched for is random, so that a hit names the kind and the place where the secret was planted.
"""

from __future__ import annotations

import base64
import string
from collections.abc import Callable, Mapping
from random import Random
from typing import NamedTuple, TypeAlias

_MIXED, _HEX = string.ascii_letters + string.digits, "0123456789abcdef"
_BASE32 = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"


class Planted(NamedTuple):
    text: str
    """The secret with what tells that it is one."""
    core: str
    """Random letters of it, twelve or more."""


Make: TypeAlias = Callable[[Random], Planted]


def _letters(chance: Random, number: int, letters: str = _MIXED) -> str:
    """Random letters with digits among them, as every token of that length has."""
    while True:
        word = "".join(chance.choice(letters) for _ in range(number))
        digits = [letter.isdigit() for letter in word[:-1]]
        if sum(digits) >= 3 and not all(digits) and digits[0] != digits[number // 2]:
            return word


def _form(begin: str, number: int, letters: str = _MIXED, end: str = "") -> Make:
    def make(chance: Random) -> Planted:
        core = _letters(chance, number, letters)
        return Planted(f"{begin}{core}{end}", core)

    return make


def _discord_number(chance: Random) -> str:
    return base64.b64encode(str(chance.randrange(10**17, 10**18)).encode()).decode().rstrip("=")


def _discord(begin: str) -> Make:
    def make(chance: Random) -> Planted:
        core = _letters(chance, 27)
        return Planted(f"{begin}{_discord_number(chance)}.{_letters(chance, 6)}.{core}", core)

    return make


def _basic(chance: Random) -> Planted:
    core = base64.b64encode(f"ann:{_letters(chance, 20)}".encode()).decode().rstrip("=")
    return Planted(f"Basic {core}", core)


def _jwt(chance: Random) -> Planted:
    core = _letters(chance, 40)
    return Planted(f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.{core}", core)


def _private_key(chance: Random) -> Planted:
    core = _letters(chance, 64)
    return Planted(f"-----BEGIN RSA PRIVATE KEY-----\nMIIEow{core}\n-----END RSA PRIVATE KEY-----", core)


KINDS: Mapping[str, Make] = {
    "openai": _form("sk-proj-", 40),
    "anthropic": _form("sk-ant-api03-", 40),
    "openrouter": _form("sk-or-v1-", 64, _HEX),
    "stripe": _form("sk_live_", 24),
    "stripe restricted": _form("rk_test_", 24),
    "stripe webhook": _form("whsec_", 32),
    "gitlab": _form("glpat-", 20),
    "aws key id": _form("AKIA", 16, string.ascii_uppercase + string.digits),
    "aws secret": _form("AWS secret access key ", 40),
    "aws variable": _form("AWS_SECRET_ACCESS_KEY=", 40),
    "google key": _form("AIzaSy", 33),
    "google access": _form("ya29.", 60),
    "google client": _form("GOCSPX-", 28),
    "google refresh": _form("1//0g", 60),
    "slack": _form("xoxb-1234567890-", 24),
    "slack app": _form("xapp-1-", 40),
    "slack webhook": _form("https://hooks.slack.com/services/T0001/B0001/", 24),
    "hugging face": _form("hf_", 34),
    "groq": _form("gsk_", 52),
    "xai": _form("xai-", 80),
    "perplexity": _form("pplx-", 48),
    "nvidia": _form("nvapi-", 60),
    "replicate": _form("r8_", 37),
    "github": _form("ghp_", 36),
    "github fine": _form("github_pat_", 60),
    "npm": _form("npm_", 36),
    "pypi": _form("pypi-AgEIcHlwaS5vcmc", 60),
    "shopify": _form("shpat_", 32, _HEX),
    "sentry": _form("sntrys_", 60),
    "sentry dsn": _form("https://", 32, _HEX, "@o45.ingest.us.sentry.io/678"),
    "databricks": _form("dapi", 32, _HEX),
    "vault": _form("hvs.", 40),
    "docker": _form("dckr_pat_", 27),
    "pinecone": _form("pcsk_", 60),
    "atlassian": _form("ATATT3xFfGF0", 80),
    "grafana": _form("glsa_", 41),
    "new relic": _form("NRAK-", 27),
    "notion": _form("ntn_", 46),
    "digitalocean": _form("dop_v1_", 64, _HEX),
    "supabase": _form("sbp_", 40, _HEX),
    "linear": _form("lin_api_", 40),
    "age": _form("AGE-SECRET-KEY-1", 58, _BASE32),
    "langsmith": _form("lsv2_pt_", 32, _HEX, "_0123456789"),
    "tavily": _form("tvly-dev-", 32),
    "twilio": _form("SK", 32, _HEX),
    "azure secret": _form("abc8Q~", 34),
    "azure signature": _form("https://x.blob.core.windows.net/a?sv=2024&sig=", 44, end="&se=1"),
    "telegram": _form("123456789:AA", 33),
    "discord": _discord(""),
    "discord header": _discord("Bot "),
    "discord webhook": _form("https://discord.com/api/webhooks/123456789012345678/", 68),
    "mailgun": _form("key-", 32, _HEX),
    "mailgun new": _form("Mailgun: ", 32, _HEX, "-12ab34cd-56ef7890"),
    "doppler": _form("dp.pt.", 43),
    "square": _form("sq0atp-", 22),
    "square long": _form("EAAA", 60),
    "mapbox": _form(f"sk.eyJ{'a1B2' * 15}.", 22),
    "sendgrid": _form("SG.abcdefghij1234567890ab.", 43),
    "jwt": _jwt,
    "bearer": _form("Bearer ", 32),
    "basic": _basic,
    "curl": _form("curl -u ann:", 20, end=" https://x.org"),
    "private key": _private_key,
    "url password": _form("postgres://app:", 20, end="@db/x"),
    "url user": _form("https://", 40, end="@git.example.org/x.git"),
    "password": _form("password=", 16),
    "json": _form('{"api_key": "', 20, end='"}'),
    "option": _form("tool --token ", 20),
    "header": _form("X-Api-Key: ", 24),
    "variable": _form("export SERVICE_SECRET='", 24, end="'"),
    "sentence": _form("the password is ", 16),
    "german": _form("mein Passwort lautet ", 16),
}


def plant(place: str, kinds: Mapping[str, Make] = KINDS) -> dict[str, Planted]:
    """New secrets for a place, the same on each run."""
    return {kind: make(Random(f"{place}: {kind}")) for kind, make in kinds.items()}
