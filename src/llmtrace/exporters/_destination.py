"""Where OTLP goes: read from the standard ``OTEL_EXPORTER_OTLP_*`` variables, or from a URL in the program's own words.

Law: headers are in no ``repr``, no log line and no file. What is journaled for one destination goes to that one only: its `id`
is a digest of the address and of all headers, so that another tenant's key is another destination.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

from opentelemetry import trace
from opentelemetry.trace import ProxyTracerProvider

logger = logging.getLogger("llmtrace")

Protocol = Literal["http/protobuf", "http/json", "grpc"]
_PROTOCOLS: Final[tuple[Protocol, ...]] = ("http/protobuf", "http/json", "grpc")

_OTLP: Final = frozenset({"otlp", "otlp_proto_http", "otlp_proto_grpc"})
"""Names in ``OTEL_TRACES_EXPORTER`` that mean OTLP."""

TRACES_PATH: Final = "v1/traces"
TIMEOUT: Final = 10.0


@dataclass(frozen=True)
class Destination:
    endpoint: str = field(repr=False)
    """The whole URL that spans are posted to; for gRPC ``http://host:port`` or, with TLS, ``https://host:port``."""
    protocol: Protocol = "http/protobuf"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    gzip: bool = True
    timeout: float = TIMEOUT
    certificate: str | None = None
    client_key: str | None = field(default=None, repr=False)
    client_certificate: str | None = None

    @property
    def id(self) -> str:
        """What it is known by on this machine: 16 hex digits, from which no secret can be read."""
        parts = [self.endpoint, self.protocol, *(f"{name}={held}" for name, held in sorted(self.headers))]
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=8, person=b"llmtrace").hexdigest()

    @property
    def shown(self) -> str:
        """The address without user, password and query, which may be secrets."""
        parts = urlsplit(self.endpoint)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))


def is_enabled(environment: Mapping[str, str] = os.environ) -> bool:
    """Return False if ``OTEL_SDK_DISABLED`` turns sending off."""
    return environment.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"


def named(names: Sequence[str] | None, environment: Mapping[str, str] = os.environ) -> tuple[Destination | None, bool]:
    """The destination that these exporters ask for, and whether the program itself named it (and no variable did).

    ``names`` None: what ``OTEL_TRACES_EXPORTER`` says, else OTLP where an endpoint is set.
    """
    if not is_enabled(environment):
        return None, False
    if names is not None:
        for name in names:
            kind, _, url = name.partition(":")
            if kind == "otlp":
                return _read(environment, url), True
        return None, False
    said = environment.get("OTEL_TRACES_EXPORTER", "")
    asked = {word.strip() for word in said.split(",") if word.strip()}
    if asked and not asked & _OTLP:
        return None, False
    if not asked and _variable(environment, "ENDPOINT") is None:
        return None, False
    return _read(environment, ""), False


def standard_sinks(
    names: Sequence[str] | None, tracer_provider: object = None, environment: Mapping[str, str] = os.environ
) -> tuple[str, ...]:
    """The exporters that are asked for besides OTLP: ``names``, else those of ``OTEL_TRACES_EXPORTER``, unless the program has
    a TracerProvider: that one's own exporter writes then what the variable asks for."""
    if names is not None:
        return tuple(names)
    if tracer_provider is not None or not isinstance(trace.get_tracer_provider(), ProxyTracerProvider):
        return ()
    said = environment.get("OTEL_TRACES_EXPORTER", "")
    asked = {word.strip() for word in said.split(",") if word.strip()}
    if asked - _OTLP - {"console", "none"}:
        logger.warning(
            "llmtrace: OTEL_TRACES_EXPORTER=%r: llmtrace knows otlp, console and none; the others get no spans", said
        )
    return ("console",) if "console" in asked else ()


def _variable(environment: Mapping[str, str], name: str) -> str | None:
    for variable in (f"OTEL_EXPORTER_OTLP_TRACES_{name}", f"OTEL_EXPORTER_OTLP_{name}"):
        if environment.get(variable, "").strip():
            return environment[variable].strip()
    return None


def _read(environment: Mapping[str, str], url: str) -> Destination | None:
    protocol = _protocol(_variable(environment, "PROTOCOL"), environment, url)
    if url.partition(":")[0] in ("grpc", "grpcs"):
        protocol, url = "grpc", url.replace("grpc", "http", 1)
    endpoint = _grpc_endpoint(environment, url) if protocol == "grpc" else _http_endpoint(environment, url)
    if urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).hostname:
        logger.warning(
            "llmtrace: OTLP: the endpoint is no http:// or https:// address (such as http://localhost:4318); nothing is sent"
        )
        return None
    return Destination(
        endpoint,
        protocol,
        _headers(_variable(environment, "HEADERS") or ""),
        (_variable(environment, "COMPRESSION") or "gzip").lower() == "gzip",
        _seconds(_variable(environment, "TIMEOUT")),
        *(_file(environment, name) for name in ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")),
    )


def _file(environment: Mapping[str, str], name: str) -> str | None:
    path = _variable(environment, name)
    if path is not None and not os.access(path, os.R_OK):
        logger.warning("llmtrace: OTEL_EXPORTER_OTLP_%s=%r: there is no such file, or it may not be read", name, path)
    return path


def _protocol(said: str | None, environment: Mapping[str, str], url: str) -> Protocol:
    if said is None and not url and "otlp_proto_grpc" in environment.get("OTEL_TRACES_EXPORTER", ""):
        return "grpc"
    for known in _PROTOCOLS:
        if said == known:
            return known
    if said is not None:
        logger.warning(
            "llmtrace: OTEL_EXPORTER_OTLP_PROTOCOL=%r: expected http/protobuf, http/json or grpc; the first is used", said
        )
    return "http/protobuf"


def _http_endpoint(environment: Mapping[str, str], url: str) -> str:
    """A base address gets the path for traces; the variable for traces, and a URL with a path, stand as they are."""
    own = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()
    if url:
        return url if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}/{TRACES_PATH}"
    if own:
        return own
    base = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip() or "http://localhost:4318"
    return f"{base.rstrip('/')}/{TRACES_PATH}"


def _grpc_endpoint(environment: Mapping[str, str], url: str) -> str:
    """``host:port`` counts as TLS unless ``OTEL_EXPORTER_OTLP_INSECURE`` says otherwise."""
    given = url or _variable(environment, "ENDPOINT") or "http://localhost:4317"
    if "://" not in given:
        insecure = (_variable(environment, "INSECURE") or "").lower() == "true"
        given = f"{'http' if insecure else 'https'}://{given}"
    parts = urlsplit(given)
    return urlunsplit((parts.scheme, parts.netloc, "", "", ""))


def _headers(text: str) -> tuple[tuple[str, str], ...]:
    """``name=value`` pairs, percent-encoded. What is none is left out, and not shown: it may be a secret."""
    found = []
    for pair in text.split(","):
        name, equals, held = pair.partition("=")
        if pair.strip() and (not equals or not name.strip()):
            logger.warning("llmtrace: OTEL_EXPORTER_OTLP_HEADERS: a part without a name or '=' is left out")
        elif equals:
            found.append((unquote(name).strip().lower(), unquote(held).strip()))
    return tuple(found)


def _seconds(text: str | None) -> float:
    try:
        seconds = TIMEOUT if text is None else float(text)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        logger.warning("llmtrace: OTEL_EXPORTER_OTLP_TIMEOUT=%r: expected seconds; %g are used", text, TIMEOUT)
        return TIMEOUT
    return seconds
