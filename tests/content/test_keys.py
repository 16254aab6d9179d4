"""Which names stand for a secret."""

from __future__ import annotations

import pytest

from llmtrace.content.keys import is_schema, is_secret, words

SECRET = """
password passwd PASSWORD dbPassword db_password new-password password2 password_hash passphrase secret clientSecret api_key
apikey apiKey APIKey X-Api-Key OPENAI_API_KEY token access_token accessToken refresh-token id_token csrfToken authorization
http.request.header.authorization cookie Set-Cookie credentials private_key AWS_SECRET_ACCESS_KEY secretAccessKey
Ocp-Apim-Subscription-Key connectionString jwt session_token
"""
INNOCENT = """
max_tokens maxTokens input_tokens output_tokens total_tokens token_count tokenCount tokens prompt_tokens token_type tokenizer
next_token nextPageToken page_token continuationToken eos_token bos_token pad_token stop_token first_token per_token
cached_tokens password_policy password_reset_url secret_name secretary passport author authorization_url key keyboard
primary_key sort_key public_key monkey turkey compass auth user gen_ai.usage.input_tokens gen_ai.token.type
"""


@pytest.mark.parametrize("name", SECRET.split())
def test_secret(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", INNOCENT.split())
def test_innocent(name: str) -> None:
    assert not is_secret(name)


def test_words() -> None:
    assert words("accessToken") == words("access-token") == words("ACCESS_TOKEN") == words("access token") == "access_token"
    assert words("") == words("--") == ""


def test_a_name_of_a_megabyte_costs_nothing() -> None:
    assert is_secret("a_" * 500_000 + "password")
    assert not is_secret("a_" * 500_000)


def test_schemas() -> None:
    assert is_schema({"type": "string"})
    assert is_schema({"type": ["string", "null"]})
    assert is_schema({"$ref": "#/x"})
    assert not is_schema({"type": "plain", "value": "hunter2"})
    assert not is_schema({"type": {"x": 1}})
    assert not is_schema("string")
