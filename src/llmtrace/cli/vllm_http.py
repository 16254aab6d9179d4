"""Talking to a vLLM server: its JSON, and its ``/metrics``. Law: what the URL names is asked, and nothing followed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from llmtrace.cli.options import BadInput

TIMEOUT = 30.0
_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: str

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return None


def root_of(url: str) -> str:
    """The base URL of a server, from a URL with or without ``/v1``. Raises BadInput."""
    url = url if "://" in url else f"http://{url}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput(f"{url!r} is not a server's URL.\nGive one like http://localhost:8000")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/v1')}"


def ask(url: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply | None:
    """Send a request. Returns the answer, whatever its status; None without an answer."""
    import requests

    try:
        with requests.Session() as session:
            session.auth = lambda request: request  # else what ~/.netrc says would be sent
            method = "GET" if body is None else "POST"
            answer = session.request(method, url, json=body, headers=headers, timeout=TIMEOUT, allow_redirects=False)
            answer.encoding = "utf-8"
            return Reply(answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, answer.text)
    except (requests.RequestException, ValueError):
        return None


class Metrics:
    """The samples of a Prometheus text, by name; labels are kept."""

    def __init__(self, text: str) -> None:
        self._samples: dict[str, list[tuple[dict[str, str], float]]] = {}
        for line in text.splitlines():
            sample = _SAMPLE.match(line)
            if sample:
                try:
                    value = float(sample[3])
                except ValueError:
                    continue
                self._samples.setdefault(sample[1], []).append((dict(_LABEL.findall(sample[2] or "")), value))

    def total(self, name: str) -> float | None:
        """The sum over all labels; None if the metric does not exist."""
        samples = self._samples.get(name)
        return None if not samples else sum(value for _, value in samples)

    def largest(self, name: str) -> float | None:
        samples = self._samples.get(name)
        return None if not samples else max(value for _, value in samples)

    def quantile(self, name: str, share: float) -> float | None:
        """The upper bound of the histogram bucket with the quantile; None if nothing was counted."""
        buckets: dict[float, float] = {}
        for labels, value in self._samples.get(f"{name}_bucket", ()):
            bound = float(labels.get("le", "inf"))
            buckets[bound] = buckets.get(bound, 0.0) + value
        count = buckets.get(float("inf"), 0.0)
        return next((bound for bound in sorted(buckets) if buckets[bound] >= share * count), None) if count else None

    def count(self, name: str) -> int:
        return round(self.total(f"{name}_count") or 0)
