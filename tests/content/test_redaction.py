"""Redaction of texts and JSON values: what is replaced, and what is not."""

from __future__ import annotations

import json
import re
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrace.config import Config
from llmtrace.content import Redactor
from tests.strategies import json_values, texts

redactor = Redactor(Config())

KEY = "[REDACTED:key]"


@pytest.mark.parametrize(
    ("secret", "rule"),
    [
        ("sk-abcdefghijklmnop1234567890", "openai_key"),
        ("sk-proj-Ab1_cdefghij-klmnopqrst", "openai_key"),
        ("sk-ant-api03-abcdefgh1234567890", "openai_key"),
        ("sk_live_abcdefghijkl12345", "stripe_key"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "github_token"),
        ("github_pat_11ABCDEFG0123456789_abcdefghij", "github_token"),
        ("glpat-abcdefghij1234567890", "gitlab_token"),
        ("AKIAIOSFODNN7EXAMPLE", "aws_key"),
        ("AIzaSyA1234567890abcdefghijklmnopqrstuv", "google_key"),
        ("ya29.a0AfH6SMBx1234567890abcdef", "google_key"),
        ("xoxb-123456789012-abcdefABCDEF", "slack_token"),
        ("https://hooks.slack.com/services/T000/B000/abcdefghijklmnop", "slack_webhook"),
        ("hf_abcdefghijklmnopqrstuvwxyz0123456789", "model_key"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r", "jwt"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc\n-----END RSA PRIVATE KEY-----", "private_key"),
        ("-----BEGIN PRIVATE KEY-----\nMIIEow and it was cut off", "private_key"),
    ],
)
@pytest.mark.parametrize("around", ["%s", "use %s\nnow", '{"a": "%s"}', "(%s)", "x" * 2000 + " %s " + "y" * 2000])
def test_secrets_known_by_their_form(secret: str, rule: str, around: str) -> None:
    """Keys of common services are replaced wherever they stand, in short texts and long ones."""
    redacted = redactor.text(around % secret)
    assert secret not in redacted
    assert f"[REDACTED:{rule}]" in redacted


MIXED = "a1B2c3D4e5F6g7H8i9J0"
HEX = "0123456789abcdef"
DISCORD = f"MTA1{MIXED}.Gx1_aB.{MIXED}{MIXED[:10]}"
SNOWFLAKE = "MTk4NjIyNDgzNDcxOTI1MjQ4"
AWS_SECRET = "wJalrXUtnFEMI/K7MDENG+" + "bPxRfiCYEXAMPLEK7Y"


@pytest.mark.parametrize(
    ("secret", "rule"),
    [
        (f"shpat_{HEX * 2}", "shopify_token"),
        (f"shpss_{HEX * 2}", "shopify_token"),
        (f"sntrys_{MIXED * 4}", "sentry_token"),
        (f"sntryu_{HEX * 4}", "sentry_token"),
        (f"dapi{HEX * 2}", "databricks_token"),
        (f"hvs.{MIXED * 4}", "vault_token"),
        (f"dckr_pat_{MIXED}a1B2c3D", "docker_token"),
        (f"pcsk_{MIXED[:6]}_{MIXED * 3}", "pinecone_key"),
        (f"ATATT3{MIXED * 8}", "atlassian_token"),
        (f"glsa_{MIXED}{MIXED[:12]}_{HEX[:8]}", "grafana_token"),
        (f"glc_{MIXED * 3}==", "grafana_token"),
        (f"NRAK-{MIXED.upper()}ABCDEF1", "newrelic_key"),
        (f"ntn_12345678901{MIXED}{MIXED[:15]}", "notion_token"),
        (f"dop_v1_{HEX * 4}", "digitalocean_token"),
        (f"sbp_{HEX * 2}01234567", "supabase_token"),
        (f"lin_api_{MIXED * 2}", "linear_key"),
        (f"SK{HEX * 2}", "twilio_key"),
        (f"abc8Q~{MIXED}{MIXED[:13]}", "azure_secret"),
        (f"123456789:AA{MIXED}{MIXED[:13]}", "telegram_token"),
        (f"Bot {DISCORD}", "discord_token"),
        (f"https://discord.com/api/webhooks/123456789012345678/{MIXED * 3}", "discord_webhook"),
        (f"?sv=2024&sig={MIXED * 2}%2Fa%3D&se=1", "azure_sas"),
        (f"sntryi_{MIXED * 4}", "sentry_token"),
        (f"https://{MIXED}{MIXED}@git.org/x", "url_token"),
        (f"https://{MIXED}{MIXED}:x-oauth-basic@git.org/x", "url_token"),
        (f"https://{HEX * 2}@o45.ingest.us.sentry.io/67", "url_token"),
        (f"AWS secret access key {AWS_SECRET}", "aws_secret"),
        (f"{SNOWFLAKE}.Gx1_aB.{MIXED}{MIXED[:10]}", "discord_token"),
        (f"OD{SNOWFLAKE[2:]}.Gx1_aB.{MIXED}{MIXED[:10]}", "discord_token"),
        (f"https://discord.com/api/v10/webhooks/123456789012345678/{MIXED * 3}", "discord_webhook"),
        (f"key-{HEX * 2}", "mailgun_key"),
        (f"Mailgun {HEX * 2}-{HEX[:8]}-{HEX[8:]}", "mailgun_key"),
        (f"1//0gAbCdEf{MIXED * 3}", "google_token"),
        (f"dp.pt.{MIXED * 2}abc", "doppler_token"),
        (f"dp.st.dev_1.{MIXED * 2}abc", "doppler_token"),
        (f"AGE-SECRET-KEY-1{MIXED.upper() * 2}{MIXED.upper()[:18]}", "age_key"),
        (f"lsv2_pt_{HEX * 2}_{HEX[:10]}", "langsmith_key"),
        (f"lsv2_sk_{HEX * 2}_{HEX[:10]}", "langsmith_key"),
        (f"tvly-{MIXED * 2}", "tavily_key"),
        (f"sq0atp-{MIXED}ab", "square_token"),
        (f"EAAA{MIXED * 3}", "square_token"),
        (f"sk.eyJ{MIXED * 4}.{MIXED}12", "mapbox_token"),
    ],
)
@pytest.mark.parametrize("around", ["%s", "use %s\nnow", '{"a": "%s"}', "x " * 2000 + "%s" + " y" * 2000])
def test_tokens_of_vendors(secret: str, rule: str, around: str) -> None:
    redacted = redactor.text(around % secret)
    assert f"[REDACTED:{rule}]" in redacted
    assert secret not in redacted
    assert MIXED not in redacted
    assert HEX not in redacted
    assert redactor.text(redacted) == redacted


def test_bare_secrets() -> None:
    """A text that is nothing else; beside the id of its key; digests and paths of the same length are none."""
    assert redactor.value({"k": AWS_SECRET, "d": DISCORD}) == {"k": "[REDACTED:aws_secret]", "d": "[REDACTED:discord_token]"}
    text = f"id AKIAIOSFODNN7EXAMPLE, secret {AWS_SECRET}."
    assert redactor.text(text) == "id [REDACTED:aws_key], secret [REDACTED:aws_secret]."
    digest = "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"
    for innocent in (
        digest,
        digest.upper(),
        f"commit {digest}",
        "/usr/local/lib/python3/site/Packages/abc",
        f"x {AWS_SECRET} y",
    ):
        assert redactor.text(innocent) is innocent


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        *((f"{name}: Zq8fK2mN4pR6", f"{name}: {KEY}") for name in ("X-Api-Key", "X-Goog-Api-Key", "Ocp-Apim-Subscription-Key")),
        *((f"{name}: Zq8fK2mN4pR6", f"{name}: {KEY}") for name in ("Secret-Key", "Private_Key", "Api-Key", "Xi-Api-Key")),
        ("curl -H 'X-Api-Key: Zq8fK2' https://x.org", f"curl -H 'X-Api-Key: {KEY}' https://x.org"),
        ("curl -u ann:swordfish https://x.org", "curl -u ann:[REDACTED:curl_password] https://x.org"),
        ("curl -s --user 'ann:sword' https://x.org", "curl -s --user 'ann:[REDACTED:curl_password]' https://x.org"),
        ("curl -u a:pw1 x; curl -u b:pw2 y", "curl -u a:[REDACTED:curl_password] x; curl -u b:[REDACTED:curl_password] y"),
        ('{"cmd": "curl -u \\"ann:sword\\" x"}', '{"cmd": "curl -u \\"ann:[REDACTED:curl_password]\\" x"}'),
        ("the password is hunter2", f"the password is {KEY}"),
        ("Password is: 'correct horse'", f"Password is: '{KEY}'"),
        ("My API key is Zq8fK2mN4pR6, thanks", f"My API key is {KEY}, thanks"),
        ("la contraseña y el token es Zq8fK2mN4pR6", f"la contraseña y el token es {KEY}"),
        ("mein Passwort lautet Zq8fK2mN4pR6", f"mein Passwort lautet {KEY}"),
        ("Mein Passwort ist: geheim!x", f"Mein Passwort ist: {KEY}"),
        ("KENNWORT=geheim", f"KENNWORT={KEY}"),
        ("le mot de passe est Zq8fK2mN", f"le mot de passe est {KEY}"),
        ("the password is Tr!cky", f"the password is {KEY}"),
        ("https://ghp_abcdefghijklmnopqrstuvwxyz1:pw@h", "https://[REDACTED:github_token]:[REDACTED:url_password]@h"),
        ("DB_PASS=swordfish", f"DB_PASS={KEY}"),
        ("pass: hunter2", f"pass: {KEY}"),
        ("smtp_pass='sword fish'", f"smtp_pass='{KEY}'"),
        ("postgres://app:p@ss@w0rd@db/x", "postgres://app:[REDACTED:url_password]@db/x"),
        ("see https://a:b@c.org, or mail x@y.org", "see https://a:[REDACTED:url_password]@c.org, or mail x@y.org"),
    ],
)
def test_headers_commands_and_sentences(text: str, redacted: str) -> None:
    """Names in title case, ``curl -u``, ``DB_PASS``, a password in a sentence, an ``@`` in a password."""
    for padding in ("", " " * 500):
        assert redactor.text(text + padding) == redacted + padding
    assert redactor.text(redacted) == redacted


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Authorization: Bearer abcdef123456", f"Authorization: {KEY}"),
        ("send Bearer abc.def-123456 along", "send Bearer [REDACTED:bearer] along"),
        ("use Basic dXNlcjpwYXNz there", "use Basic [REDACTED:basic] there"),
        ("postgres://app:s3cr!t@db:5432/x", "postgres://app:[REDACTED:url_password]@db:5432/x"),
        ("https://user:p%40ss@host/path?x=1", "https://user:[REDACTED:url_password]@host/path?x=1"),
        ("password=hunter2", f"password={KEY}"),
        ("password: hunter2, then", f"password: {KEY}, then"),
        ("PASSWORD=swordfish\nHOME=/root", f"PASSWORD={KEY}\nHOME=/root"),
        ("export OPENAI_API_KEY='abc def'", f"export OPENAI_API_KEY='{KEY}'"),
        ('{"password": "hunter2", "n": 1}', f'{{"password": "{KEY}", "n": 1}}'),
        ('{"password": 123456, "n": 1}', f'{{"password": "{KEY}", "n": 1}}'),
        ('{"client_secret": {"a": ["b"]}, "n": 1}', f'{{"client_secret": "{KEY}", "n": 1}}'),
        ("{'apiKey': 'abc', 'n': 1}", f"{{'apiKey': '{KEY}', 'n': 1}}"),
        ('{"accessToken": "abc', f'{{"accessToken": "{KEY}'),
        ('api_key="abc", x=1', f'api_key="{KEY}", x=1'),
        ("curl 'https://x.org?api_key=abc&q=1'", f"curl 'https://x.org?api_key={KEY}&q=1'"),
        ("mysql --password swordfish --user root", f"mysql --password {KEY} --user root"),
        ("tool --api-key=swordfish --user root", f"tool --api-key={KEY} --user root"),
        ("Server=db;Password=abc;Timeout=5", f"Server=db;Password={KEY};Timeout=5"),
        ("<password>swordfish</password>", f"<password>{KEY}</password>"),
        ("Cookie: sid=1; theme=dark\nHost: x", f"Cookie: {KEY}\nHost: x"),
        ("API key: x7f9", f"API key: {KEY}"),
        ("**Password:** hunter2", f"**Password:** {KEY}"),
        ("the password: `two words`", f"the password: `{KEY}`"),
        ("https://ghp_abcdefghijklmnopqrstuvwxyz:x@git.org", "https://[REDACTED:github_token]:[REDACTED:url_password]@git.org"),
    ],
)
def test_secrets_known_by_the_name_before_them(text: str, redacted: str) -> None:
    """Environment files, headers, command lines, URLs, code and broken JSON; the rest of the text is as it was."""
    assert redactor.text(text) == redacted
    assert redactor.text(redacted) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens: 100, input_tokens=5, token_count: 7",
        '{"max_tokens": 100, "usage": {"input_tokens": 5, "output_tokens": 6}}',
        '{"next_token": "abc", "page_token": "abc", "eos_token": "</s>"}',
        "def login(user: str, password: str) -> Token:",
        "password: str\ntoken: Optional[str] = None",
        'client = OpenAI(api_key=os.environ["OPENAI_API_KEY"])',
        "api_key=get_key()",
        'curl -H "X-Api-Key: $KEY"',
        '{"properties": {"password": {"type": "string", "minLength": 8}}}',
        "The password must have at least 8 characters; a token is a word.",
        "the password is required, the token is invalid, the secret was rotated in 2024, the API key is in the header",
        "pass: 12, fail: 3; tests pass: yes; by-pass: on; compass: north",
        "curl -u $USER:$PASSWORD https://x.org; curl -u ann https://x.org:8080",
        '{"pass": "yes", "bypass": "no1"}',
        "a bearer of good news; Basic understanding of tokens",
        "task-list-for-the-project-management-team-2024",
        "sk-this-is-only-a-long-name-with-hyphens",
        "https://example.org:8080/a@b and mailto:x@y.org",
        "secretary: Ann, passport: 12345, tokenizer=fast, keyboard: QWERTZ",
        "PWD=/home/ann/project",
        "Das Passwort ist falsch. Das Passwort ist abgelaufen! the password is required!",
        "passenger: 12, passes: 3",
        "postgres://reader_of_orders_2024@db/x https://firstname.lastname1990@host/x ssh://deploy-of-the-shop@host",
        "http://host1//0a1B2c3D4e5F6g7H8i9J0a1B2c3D4e5F6g7H8i9J0a1B2c3D4",
        f"deadbeef {HEX * 2}-{HEX[:8]}-{HEX[8:]}, monkey-{HEX}",
        f"AWS secrets are safe; sha1 is {HEX * 2}01234567",
        "var cookie=document.cookie.match(/x/)",
        "sort_key=5, primary_key: 17, key: abc1",
        '{"password": null, "token": "", "secret": true}',
    ],
)
def test_innocent_texts_come_back_as_they_are(text: str) -> None:
    assert redactor.text(text) is text


def nest(value: Any, depth: int) -> Any:
    return value if depth == 0 else {"inner": json.dumps(nest(value, depth - 1))}


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 4),
    st.sampled_from(["password", "apiKey", "client-secret", "AUTH_TOKEN"]),
    st.text(min_size=1, max_size=20).map(lambda text: f"Zq{text}7x"),
)
def test_json_in_json_is_redacted_and_stays_json(depth: int, key: str, secret: str) -> None:
    """However deep the escaping: the secret is gone, the text parses, and what stood beside it is unharmed."""
    value = nest({"before": 'a "b" \\', key: secret, "after": [1, "x\n"]}, depth)
    text = json.dumps(value)
    redacted = redactor.text(text)
    assert json.loads(redacted) == nest({"before": 'a "b" \\', key: KEY, "after": [1, "x\n"]}, depth)


def test_keys_of_objects() -> None:
    """By name, at any depth; null, empty and true are no secrets, a number under a token is a count or an id."""
    value = {
        "user": "ann",
        "password": "a",
        "pin": {"dbPassword": 1234, "X-Api-Key": ["a", "b"], "credentials": {"user": "ann", "pass": "b"}},
        "token": 17,
        "secret": None,
        "cookie": "",
        "max_tokens": 100,
        "nextToken": "abc",
        "password_policy": "8 characters",
    }
    assert redactor.value(value) == {
        "user": "ann",
        "password": KEY,
        "pin": {"dbPassword": KEY, "X-Api-Key": KEY, "credentials": KEY},
        "token": 17,
        "secret": None,
        "cookie": "",
        "max_tokens": 100,
        "nextToken": "abc",
        "password_policy": "8 characters",
    }


def test_log_probabilities_are_no_tokens() -> None:
    value = {"content": [{"token": "Hello", "logprob": -0.1, "top_logprobs": [{"token": "Hi", "logprob": -1}]}]}
    assert redactor.value(value) is value


def test_a_schema_says_what_a_password_looks_like() -> None:
    """Schemas stay whole but for the defaults and examples of secrets."""
    schema = {"type": "object", "properties": {"password": {"type": "string", "minLength": 8}, "n": {"type": "integer"}}}
    assert redactor.value(schema) is schema
    schema["properties"]["password"]["default"] = "hunter2"
    assert redactor.value(schema)["properties"]["password"] == {"type": "string", "minLength": 8, "default": KEY}
    assert redactor.value({"properties": {"password": "hunter2"}}) == {"properties": {"password": KEY}}
    assert redactor.value({"properties": {"password": {"value": "hunter2"}}}) == {"properties": {"password": KEY}}


def test_a_secret_may_be_a_name() -> None:
    assert redactor.value({"sk-abcdefghijklmnop1234567890": 1}) == {"[REDACTED:openai_key]": 1}


def test_what_is_no_json_is_judged_as_it_will_be_shown() -> None:
    """Tuples, other mappings, numbers as names, objects: nothing slips through for its type."""
    assert redactor.value({"a": ("password=x1", 1)}) == {"a": [f"password={KEY}", 1]}
    assert redactor.value({"a": MappingProxyType({"password": "x"})}) == {"a": {"password": KEY}}
    assert redactor.value({1: {"password": "x"}}) == {"1": {"password": KEY}}
    assert redactor.value({"a": object()}) == {"a": "<unserialisable builtins.object>"}


def test_paths() -> None:
    """JSON paths in values, in JSON texts, and by their last name in what only looks like JSON."""
    own = Redactor(Config(redact_paths=("$.user.ssn", "$..card", "$.items[*].price", "$.rows[1]", "$['odd name']")))
    mark = "[REDACTED:path]"
    value = {
        "user": {"ssn": "1", "name": "ann"},
        "ssn": "2",
        "a": [{"card": 5}],
        "items": [{"price": 1, "n": 2}],
        "rows": [1, 2],
        "odd name": 0,
    }
    expected = {
        "user": {"ssn": mark, "name": "ann"},
        "ssn": "2",
        "a": [{"card": mark}],
        "items": [{"price": mark, "n": 2}],
        "rows": [1, mark],
        "odd name": mark,
    }
    assert own.value(value) == expected
    assert json.loads(own.text(json.dumps(value))) == expected
    assert own.text('{"user": {"ssn": "1", "name": "an') == f'{{"user": {{"ssn": "{mark}", "name": "an'
    assert own.text("ssn: 5") == "ssn: 5"
    clean = {"user": {"name": "ann"}}
    assert own.value(clean) is clean
    assert own.value(None) is None


def test_own_keys_and_patterns() -> None:
    """In any spelling, whatever the value; and the common secrets stay on unless they are turned off."""
    own = Redactor(Config(redact_keys=("ssn", "cardNumber"), redact_patterns=(r"\bW\d{6}\b",)))
    assert own.value({"SSN": 5, "card-number": True, "card_number_hint": 1, "id": "W123456"}) == {
        "SSN": KEY,
        "card-number": KEY,
        "card_number_hint": 1,
        "id": "[REDACTED:pattern]",
    }
    assert (
        own.text('ssn=5, {"cardNumber": true, "a": "W123456"}')
        == f'ssn={KEY}, {{"cardNumber": "{KEY}", "a": "[REDACTED:pattern]"}}'
    )
    assert own.value({"password": "x"}) == {"password": KEY}
    off = Redactor(Config(redact=False, redact_keys=("ssn",)))
    assert off.value({"password": "x", "ssn": "y"}) == {"password": "x", "ssn": KEY}
    assert off.text("sk-abcdefghijklmnop1234567890") == "sk-abcdefghijklmnop1234567890"


def test_own_keys_in_any_script() -> None:
    own = Redactor(Config(redact_keys=("contraseña", "密码")))
    assert own.value({"Contraseña": "a", "密码": "b", "!": "c", "": "d"}) == {"Contraseña": KEY, "密码": KEY, "!": "c", "": "d"}
    assert own.text("contraseña=abc, 密码: x, ") == f"contraseña={KEY}, 密码: {KEY}, "


def test_the_function_comes_last_and_fails_closed() -> None:
    def mask(text: str) -> Any:
        if text == "boom":
            raise ValueError
        return 5 if text == "five" else text.replace("ann", "A.")

    own = Redactor(Config(redact_with=mask))
    value = own.value({"a": "ann password=ann77", "b": "boom", "c": "five", "n": 1})
    assert value == {"a": f"A. password={KEY}", "b": "[REDACTED:error]", "c": "[REDACTED:error]", "n": 1}


def test_a_broken_rule_redacts_everything() -> None:
    own = Redactor(Config(redact_patterns=("(",)))
    assert own.broken
    assert own.text("hello") == "[REDACTED:error]"
    assert "hello" not in repr(own.value({"a": ["hello", 1]}))


@pytest.mark.parametrize("option", ["redact_keys", "redact_paths", "redact_patterns"])
@pytest.mark.parametrize("given", [b"ssn", None, 5, ["ssn"], re.compile(b"ssn")], ids=repr)
def test_a_rule_of_another_kind_is_a_broken_one(option: str, given: Any) -> None:
    """What is no name, path or expression was meant to hide something: it is not passed over."""
    for rules in ((given,), ("$.a", given)):
        own = Redactor(Config(**{option: rules}))
        assert own.broken
        assert "123" not in repr(own.value({"ssn": "123"}))


@pytest.mark.parametrize("key", [re.compile("ssn"), "", " ", "…"], ids=repr)
def test_a_key_without_a_word_is_a_broken_rule(key: Any) -> None:
    """Neither an expression nor signs name a key: no member would ever be hidden by it."""
    own = Redactor(Config(redact_keys=(key,)))
    assert own.broken
    assert "123" not in repr(own.value({"ssn": "123", "…": "123"}))


def test_nested_too_deep_fails_closed() -> None:
    deep: Any = "password=x1y2"
    for _ in range(100_000):
        deep = [deep]
    assert redactor.value(deep) == "[REDACTED:error]"


@settings(max_examples=300, deadline=None)
@given(json_values())
def test_redaction_never_raises_and_is_done_after_once(value: Any) -> None:
    once = redactor.value(value)
    assert redactor.value(once) == once or once != once  # NaN


@given(texts(200))
def test_texts_never_raise(text: str) -> None:
    assert redactor.text(text).isascii() or redactor.text(text).encode()


@pytest.mark.parametrize(
    "hostile",
    [
        "eyJ" * 100_000,
        "-eyJ" * 100_000 + " eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.x",
        "://a:" * 100_000 + "://a:b@",
        "password=" * 50_000,
        '"password": "' * 40_000,
        '{"password": {' * 40_000,
        "\\" * 300_000 + '"password": "x',
        "a-" * 200_000 + "password=x1",
        "-----BEGIN PRIVATE KEY-----" * 20_000,
        "bearer " * 50_000 + "Bearer abc123456",
        "data:a;base64," * 40_000,
        "curl -u " * 40_000 + "a:b",
        "curl -u" * 40_000 + " curl -u a:b",
        "://a:b@c" * 40_000 + "@",
        "password is " * 40_000 + "hunter2",
        "sig=" * 60_000 + "a" * 50,
        "shpat_" * 60_000 + "0" * 32,
        "İ" * 100_000 + " password=x1",
    ],
    ids=lambda text: text[:12],
)
@pytest.mark.timeout(20)
def test_no_text_takes_long(hostile: str) -> None:
    """The time is bounded by the length, whatever the text."""
    import time

    own = Redactor(Config(), blobs=True)
    started = time.process_time()
    own.text(hostile)
    assert time.process_time() - started < 5
