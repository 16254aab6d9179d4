"""The OTLP destination, from the standard ``OTEL_EXPORTER_OTLP_*`` variables or from a URL that the program passes.

Law: headers never appear in a ``repr``, a log line or a file. Spans that are journaled for one destination are sent only to
that destination: its `id` is a digest of the address and all headers, so another tenant's key is another destination.
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

from llmtrace import installed

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
    """The full URL that spans are posted to; for gRPC ``http://host:port`` or, with TLS, ``https://host:port``."""
    protocol: Protocol = "http/protobuf"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    gzip: bool = True
    timeout: float = TIMEOUT
    certificate: str | None = None
    client_key: str | None = field(default=None, repr=False)
    client_certificate: str | None = None

    @property
    def id(self) -> str:
        """The destination's name on this machine: 16 hex digits, from which no secret can be derived."""
        parts = [self.endpoint, self.protocol, *(f"{name}={value}" for name, value in sorted(self.headers))]
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=8, person=b"llmtrace").hexdigest()

    @property
    def shown(self) -> str:
        """The address to show, without user, password and query, which may be secrets."""
        parts = urlsplit(self.endpoint)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))


def is_enabled(environment: Mapping[str, str] = os.environ) -> bool:
    """Return False if ``OTEL_SDK_DISABLED`` turns sending off."""
    return environment.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"


def named(names: Sequence[str] | None, environment: Mapping[str, str] = os.environ) -> tuple[Destination | None, bool]:
    """Return the destination of these exporters, and True if the program itself named it rather than a variable.

    ``names`` None: use ``OTEL_TRACES_EXPORTER``, or else OTLP if an endpoint is set.
    """
    if not is_enabled(environment):
        return None, False
    if names is not None:
        for name in names:
            kind, _, url = name.partition(":")
            if kind == "otlp":
                return _read(environment, url), True
        return None, False
    requested = _requested(environment)
    if requested and not requested & _OTLP:
        return None, False
    if not requested and _variable(environment, "ENDPOINT") is None:
        return None, False
    return _read(environment, ""), False


def standard_sinks(
    names: Sequence[str] | None, tracer_provider: object = None, environment: Mapping[str, str] = os.environ
) -> tuple[str, ...]:
    """Return the exporters besides OTLP: ``names``, or else those of ``OTEL_TRACES_EXPORTER``.

    If the program has its own TracerProvider, the variable is ignored, because that provider's exporters follow it.
    """
    if names is not None:
        return tuple(names)
    if tracer_provider is not None or not isinstance(trace.get_tracer_provider(), ProxyTracerProvider):
        return ()
    requested = _requested(environment)
    if requested - _OTLP - {"console", "none"}:
        logger.warning(
            "llmtrace: OTEL_TRACES_EXPORTER=%r: llmtrace supports otlp, console and none; others are ignored",
            environment["OTEL_TRACES_EXPORTER"],
        )
    return ("console",) if "console" in requested else ()


def _requested(environment: Mapping[str, str]) -> set[str]:
    return {word for part in environment.get("OTEL_TRACES_EXPORTER", "").split(",") if (word := part.strip())}


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
            "llmtrace: OTLP: the endpoint is not an http:// or https:// URL, so nothing is sent. Use one like http://localhost:4318"
        )
        return None
    if protocol == "grpc" and not installed.has_grpc():
        logger.warning("llmtrace: %s, or send by http/protobuf. Until then spans wait", installed.NO_GRPC)
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
        logger.warning("llmtrace: OTEL_EXPORTER_OTLP_%s=%r: the file does not exist or is not readable", name, path)
    return path


def _protocol(protocol: str | None, environment: Mapping[str, str], url: str) -> Protocol:
    if protocol is None and not url and "otlp_proto_grpc" in environment.get("OTEL_TRACES_EXPORTER", ""):
        return "grpc"
    for supported in _PROTOCOLS:
        if protocol == supported:
            return supported
    if protocol is not None:
        logger.warning(
            "llmtrace: OTEL_EXPORTER_OTLP_PROTOCOL=%r: expected http/protobuf, http/json or grpc. http/protobuf is used",
            protocol,
        )
    return "http/protobuf"


def _http_endpoint(environment: Mapping[str, str], url: str) -> str:
    """Add the path for traces to a base address. The variable for traces, and a URL with a path, are used unchanged."""
    traces_endpoint = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()
    if url:
        return url if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}/{TRACES_PATH}"
    if traces_endpoint:
        return traces_endpoint
    base = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip() or "http://localhost:4318"
    return f"{base.rstrip('/')}/{TRACES_PATH}"


def _grpc_endpoint(environment: Mapping[str, str], url: str) -> str:
    """Read the gRPC address. ``host:port`` means TLS unless ``OTEL_EXPORTER_OTLP_INSECURE`` says otherwise."""
    address = url or _variable(environment, "ENDPOINT") or "http://localhost:4317"
    if "://" not in address:
        insecure = (_variable(environment, "INSECURE") or "").lower() == "true"
        address = f"{'http' if insecure else 'https'}://{address}"
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc, "", "", ""))


def _headers(text: str) -> tuple[tuple[str, str], ...]:
    """Parse percent-encoded ``name=value`` pairs. Invalid parts are skipped, and not shown: they may be secrets."""
    headers = []
    for pair in text.split(","):
        name, equals, value = pair.partition("=")
        if pair.strip() and (not equals or not name.strip()):
            logger.warning("llmtrace: OTEL_EXPORTER_OTLP_HEADERS: a part without a name or '=' is ignored. Write name=value,…")
        elif equals:
            headers.append((unquote(name).strip().lower(), unquote(value).strip()))
    return tuple(headers)


def _seconds(text: str | None) -> float:
    try:
        seconds = TIMEOUT if text is None else float(text)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        logger.warning("llmtrace: OTEL_EXPORTER_OTLP_TIMEOUT=%r: expected seconds. %g are used", text, TIMEOUT)
        return TIMEOUT
    return seconds
