"""Tokens that are known by how they begin: their rule, the beginning, the letters that follow, and how many at least.

Most of these facts are those of gitleaks (https://github.com/gitleaks/gitleaks, config/gitleaks.toml, July 2026). Those of
Docker, Pinecone and Supabase are from the vendors' own documentation.
"""

from __future__ import annotations

_HEX = "[A-Fa-f0-9]"
_LETTERS = "[A-Za-z0-9]"
_WORD = "[A-Za-z0-9_-]"
_BASE64 = "[A-Za-z0-9+/=_-]"

VENDOR_TOKENS: tuple[tuple[str, str, str, int], ...] = (
    ("github_token", "(?:gh[pousr]_|github_pat_)", "[A-Za-z0-9_]", 20),
    ("package_token", "npm_", _LETTERS, 36),
    ("package_token", "pypi-", _WORD, 50),
    ("shopify_token", "shp(?:at|ca|pa|ss)_", _HEX, 32),
    ("sentry_token", "sntry[su]_", _BASE64, 40),
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
)
