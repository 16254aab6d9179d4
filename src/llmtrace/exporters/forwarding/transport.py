"""Sends a request to an OTLP endpoint, and interprets the response. Law: `send` never raises, and no text contains a header.

`requests` and `grpc` are the packages that OpenTelemetry's own exporters use. The first request imports them, on the
forwarder's thread.
"""

from __future__ import annotations

import contextlib
import email.utils
import importlib
import json
import math
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from llmtrace import installed
from llmtrace.codec import otlp
from llmtrace.exporters.forwarding.destination import Destination
from llmtrace.locks import background_importing

_LATER = frozenset({408, 425, 429, 502, 503, 504})
_BAD = frozenset({400, 406, 415, 422})
_LONGEST_WAIT = 3600.0
LEAST_SECONDS = 0.2
"""Shortest time for a request. With less left no request is started, because the next program would send its spans again."""
MOST_ANSWERED = 64 << 10
"""Bytes read of an HTTP answer, at most. An OTLP answer has some hundred; gRPC's own limit is 4 MiB."""
LEAST_LIMIT = 64 << 10
"""Every gRPC server accepts messages of this size, in bytes: one that refuses them limits the rate."""
_ANSWERS = "opentelemetry.proto.collector.trace.v1.trace_service_pb2"
_HTTP = ("requests", "encodings.idna", _ANSWERS)
_GRPC = ("grpc", "google.rpc.error_details_pb2", "google.rpc.status_pb2", _ANSWERS)

_GRPC_LATER = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"})
_GRPC_FAILING = frozenset({"UNKNOWN", "INTERNAL"})
_GRPC_BAD = frozenset({"INVALID_ARGUMENT", "FAILED_PRECONDITION", "ALREADY_EXISTS"})


class Answer(NamedTuple):
    """The interpretation of a response.

    ``taken``: accepted, except ``rejected`` spans. ``large``: too many bytes. ``bad``: these spans are rejected, others may be
    accepted. ``failing``: the endpoint failed, perhaps because of these spans. ``later``: try again. ``closed``: nothing is
    accepted until somebody fixes the cause. ``late``: no time was left for a request.
    """

    kind: Literal["taken", "large", "bad", "failing", "later", "closed", "late"]
    why: str = ""
    wait: float | None = None
    """Seconds that the endpoint asks us to wait."""
    rejected: int = 0


_LATE = Answer("late")


def transport(destination: Destination) -> Http | Grpc:
    return Grpc(destination) if destination.protocol == "grpc" else Http(destination)


class Http:
    """Requests over HTTP. ``encode`` makes the body of one ExportTraceServiceRequest."""

    def __init__(self, destination: Destination) -> None:
        self._to = destination
        self._session: Any = None
        as_json = destination.protocol == "http/json"
        self._kind = "application/json" if as_json else "application/x-protobuf"
        self.encode = otlp.to_json_line if as_json else otlp.to_protobuf

    def send(self, body: bytes, seconds: Callable[[], float]) -> Answer:
        """Send what ``encode`` returned. ``seconds`` is called when the request is ready, and returns the time that it may
        take."""
        try:
            session = self._session = self._session or self._opened()
            if self._to.gzip:
                packer = zlib.compressobj(3, wbits=31)
                body = packer.compress(body) + packer.flush()
            wait = min(seconds(), self._to.timeout)
            if wait < LEAST_SECONDS:
                return _LATE
            until = time.monotonic() + wait
            # a redirect is not followed: the headers are for this address alone
            with session.post(
                self._to.endpoint,
                data=body,
                timeout=(wait, wait),
                allow_redirects=False,
                stream=True,
                verify=self._to.certificate,  # passed here, since requests' own variable wins over the session's setting
            ) as response:
                content = _content(response, until) if response.ok else b""
                return _http_answer(response.status_code, response.headers, content)
        except Exception as error:  # no connection, unknown host, certificate file missing …
            return Answer("later", _reason(error))

    def _opened(self) -> Any:
        session = _imported(*_HTTP).Session()
        session.headers.update({"content-type": self._kind, "user-agent": "llmtrace"})
        if self._to.gzip:
            session.headers["content-encoding"] = "gzip"
        session.headers.update(dict(self._to.headers))
        session.auth = lambda request: request  # otherwise requests would use credentials from ~/.netrc instead of our headers
        if self._to.client_certificate is not None:
            key = self._to.client_key
            session.cert = self._to.client_certificate if key is None else (self._to.client_certificate, key)
        return session

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()


def _content(response: Any, until: float) -> bytes:
    """Return the body of a response; empty if it is longer than `MOST_ANSWERED`, or incomplete at the time ``until``."""
    content = bytearray()
    try:
        for byte in response.iter_content(1):  # byte by byte: a larger read would block past the deadline
            content += byte
            if len(content) > MOST_ANSWERED or time.monotonic() > until:
                return b""
    except Exception:  # cut off after the status, which is enough
        return b""
    return bytes(content)


def _http_answer(status: int, headers: Any, content: bytes) -> Answer:
    why = f"HTTP {status}"
    if 200 <= status < 300:
        return _accepted(content, headers.get("content-type", ""))
    if status == 413:
        return Answer("large", why)
    if status in _BAD:
        return Answer("bad", why)
    if status == 500 or status in _LATER or status > 504:
        return Answer("failing" if status == 500 else "later", why, retry_after(headers.get("retry-after")))
    return Answer("closed", why)


def _accepted(content: bytes, kind: str) -> Answer:
    """Return the answer for a success, which may reject some spans. A body that is not an OTLP response rejects none."""
    rejected = 0
    with contextlib.suppress(Exception):
        if "json" in kind:
            rejected = int(json.loads(content)["partialSuccess"]["rejectedSpans"])
        elif content and "protobuf" in kind:
            from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

            rejected = int(ExportTraceServiceResponse.FromString(content).partial_success.rejected_spans)
    return Answer("taken", "partial success" if rejected > 0 else "", rejected=max(0, rejected))


def retry_after(header: str | None) -> float | None:
    """Return the seconds of a ``Retry-After`` header: a number, or a date."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), _LONGEST_WAIT) if math.isfinite(seconds) else None


class Grpc:
    """Requests over gRPC, with the same methods as `Http`."""

    def __init__(self, destination: Destination) -> None:
        self._to = destination
        self._channel: Any = None
        self._export: Any = None
        self.encode = otlp.to_protobuf

    def send(self, body: bytes, seconds: Callable[[], float]) -> Answer:
        try:
            grpc = _imported(*_GRPC)
            if self._export is None:
                self._open(grpc)
            wait = min(seconds(), self._to.timeout)
            if wait < LEAST_SECONDS:
                return _LATE
            try:
                answered = self._export(body, timeout=wait, metadata=self._to.headers)
            except grpc.RpcError as error:
                return self._refused(error, len(body))
            return _accepted(answered, "protobuf")
        except ModuleNotFoundError:
            return Answer("closed", installed.NO_GRPC)
        except Exception as error:
            return Answer("later", _reason(error))

    def _open(self, grpc: Any) -> None:
        scheme, _, address = self._to.endpoint.partition("://")
        packing = grpc.Compression.Gzip if self._to.gzip else grpc.Compression.NoCompression
        options = (("grpc.primary_user_agent", "llmtrace"),)
        if scheme == "https":
            credentials = grpc.ssl_channel_credentials(
                _file(self._to.certificate), _file(self._to.client_key), _file(self._to.client_certificate)
            )
            self._channel = grpc.secure_channel(address, credentials, compression=packing, options=options)
        else:
            self._channel = grpc.insecure_channel(address, compression=packing, options=options)
        self._export = self._channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")

    def _refused(self, error: Any, size: int) -> Answer:
        code = error.code().name
        why, wait = f"gRPC {code}", _retry_info(error.trailing_metadata())
        if code == "UNAVAILABLE":
            self.close()  # the next request resolves the host name again
        if code == "RESOURCE_EXHAUSTED":  # by the specification, it is a rate limit only with a retry delay
            return Answer("large" if wait is None and size > LEAST_LIMIT else "later", why, wait)
        if code in _GRPC_LATER or code in _GRPC_FAILING:
            return Answer("failing" if code in _GRPC_FAILING else "later", why, wait)
        return Answer("bad" if code in _GRPC_BAD else "closed", why)

    def close(self) -> None:
        channel, self._channel, self._export = self._channel, None, None
        if channel is not None:
            channel.close()


def _retry_info(trailing: Any) -> float | None:
    from google.rpc.error_details_pb2 import RetryInfo
    from google.rpc.status_pb2 import Status

    metadata = dict(trailing or ())
    try:
        if "google.rpc.retryinfo-bin" in metadata:
            return _delay(RetryInfo.FromString(metadata["google.rpc.retryinfo-bin"]).retry_delay)
        for detail in Status.FromString(metadata.get("grpc-status-details-bin", b"")).details:
            info = RetryInfo()
            if detail.Unpack(info):
                return _delay(info.retry_delay)
    except Exception:  # metadata of another form
        return None
    return None


def _delay(retry_delay: Any) -> float:
    return min(float(retry_delay.seconds) + float(retry_delay.nanos) / 1e9, _LONGEST_WAIT)


def _file(path: str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()


def _imported(name: str, *more: str) -> Any:
    """Import these modules. Returns the first."""
    with background_importing:
        first, *_ = [importlib.import_module(module_name) for module_name in (name, *more)]
    return first


def _reason(error: Exception) -> str:
    """Return the reason without address and headers: the text of an operating system error, or else the error's type."""
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            break
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        seen = seen.__cause__ or seen.__context__
    return type(error).__name__
