"""One request to an OTLP endpoint, and what its answer means. Law: `send` never raises, and no word of it holds a header.

`requests` and `grpc` are those that OpenTelemetry's own exporters send by; they are imported by the first request, on the
forwarder's thread. A fork waits for that: a child with half a module could never import it.
"""

from __future__ import annotations

import email.utils
import importlib
import json
import math
import os
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from llmtrace.codec import otlp
from llmtrace.exporters._destination import Destination
from llmtrace.model import RawSpan

_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
_BAD = frozenset({400, 406, 415, 422})
_LONGEST_WAIT = 3600.0
LEAST_SECONDS = 0.2
"""With less time left no request is begun: what is on its way when the program ends is sent again by the next."""
_FORK_SECONDS = 5.0
"""How long a fork waits for imports to be done."""
_ANSWERS = "opentelemetry.proto.collector.trace.v1.trace_service_pb2"
_HTTP = ("requests", "encodings.idna", _ANSWERS)
_GRPC = ("grpc", "google.rpc.error_details_pb2", "google.rpc.status_pb2", _ANSWERS)

_GRPC_LATER = frozenset(
    {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS", "UNKNOWN", "INTERNAL"}
)
_GRPC_BAD = frozenset({"INVALID_ARGUMENT", "FAILED_PRECONDITION", "ALREADY_EXISTS"})


class Answer(NamedTuple):
    """``taken``: all is well, ``rejected`` spans apart. ``large``: too many bytes. ``bad``: these spans are not taken, others
    may be. ``later``: try again. ``closed``: nothing is taken from us, until somebody changes something. ``late``: no time was
    left to ask."""

    kind: Literal["taken", "large", "bad", "later", "closed", "late"]
    why: str = ""
    wait: float | None = None
    """Seconds that the other side asks us to wait."""
    rejected: int = 0
    broken: bool = False
    """The other side failed at this very request, and may do so each time."""


_LATE = Answer("late")


class Transport(Protocol):
    def encode(self, spans: Sequence[RawSpan]) -> bytes:
        """One ExportTraceServiceRequest."""

    def send(self, body: bytes, seconds: Callable[[], float]) -> Answer:
        """Send what `encode` gave; ``seconds`` tells how long it may wait, once all is ready."""

    def close(self) -> None: ...


def transport(destination: Destination) -> Transport:
    return Grpc(destination) if destination.protocol == "grpc" else Http(destination)


class Http:
    def __init__(self, destination: Destination) -> None:
        self._to = destination
        self._session: Any = None
        as_json = destination.protocol == "http/json"
        self._kind = "application/json" if as_json else "application/x-protobuf"
        self.encode = otlp.to_json_line if as_json else otlp.to_protobuf

    def send(self, body: bytes, seconds: Callable[[], float]) -> Answer:
        try:
            session = self._session = self._session or self._opened()
            if self._to.gzip:
                packer = zlib.compressobj(3, wbits=31)
                body = packer.compress(body) + packer.flush()
            wait = min(seconds(), self._to.timeout)
            if wait < LEAST_SECONDS:
                return _LATE
            # a redirect is not followed: the headers are for this address alone
            response = session.post(
                self._to.endpoint,
                data=body,
                timeout=(wait, wait),
                allow_redirects=False,
                verify=self._to.certificate,  # said here, since requests' own variable wins over what a session says
            )
            return _http_answer(response.status_code, response.headers, response.content)
        except Exception as error:  # no connection, no name, no file of that certificate
            return Answer("later", _reason(error))

    def _opened(self) -> Any:
        session = _imported(*_HTTP).Session()
        session.headers.update({"content-type": self._kind, "user-agent": "llmtrace"})
        if self._to.gzip:
            session.headers["content-encoding"] = "gzip"
        session.headers.update(dict(self._to.headers))
        session.auth = _as_it_is  # or requests would put what ~/.netrc says in place of our headers
        if self._to.client_certificate is not None:
            key = self._to.client_key
            session.cert = self._to.client_certificate if key is None else (self._to.client_certificate, key)
        return session

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()


def _as_it_is(request: Any) -> Any:
    return request


def _http_answer(status: int, headers: Any, content: bytes) -> Answer:
    why = f"HTTP {status}"
    if 200 <= status < 300:
        return Answer("taken", *_partial(content, headers.get("content-type", "")))
    if status == 413:
        return Answer("large", why)
    if status in _BAD:
        return Answer("bad", why)
    if status in _LATER or status > 504:
        return Answer("later", why, retry_after(headers.get("retry-after")), broken=status == 500)
    return Answer("closed", why)


def _partial(content: bytes, kind: str) -> tuple[str, None, int]:
    """Why, and how many spans were refused by an answer that took the others."""
    if not content:
        return "", None, 0
    if "json" in kind:
        return _partial_json(content)
    if "protobuf" not in kind:
        return "", None, 0
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        said = ExportTraceServiceResponse.FromString(content).partial_success
    except Exception:  # some other page; the spans were taken
        return "", None, 0
    return "partial success", None, max(0, int(said.rejected_spans))


def _partial_json(content: bytes) -> tuple[str, None, int]:
    try:
        rejected = int(json.loads(content)["partialSuccess"]["rejectedSpans"])
    except (ValueError, TypeError, KeyError):
        return "", None, 0
    return "partial success", None, max(0, rejected)


def retry_after(said: str | None) -> float | None:
    """The seconds of a ``Retry-After`` header: a number, or a date."""
    if said is None:
        return None
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(said).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), _LONGEST_WAIT) if math.isfinite(seconds) else None


class Grpc:
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
                return self._refused(error)
            return Answer("taken", *_partial(answered, "protobuf"))
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

    def _refused(self, error: Any) -> Answer:
        code = error.code().name
        why, wait = f"gRPC {code}", _retry_info(error.trailing_metadata())
        if code == "UNAVAILABLE":
            self.close()  # the next request finds out anew where the name leads
        if code == "RESOURCE_EXHAUSTED":  # by the specification a limit of rate only where it says when to come again
            return Answer("large", why) if wait is None else Answer("later", why, wait)
        if code in _GRPC_LATER:
            return Answer("later", why, wait, broken=code in ("UNKNOWN", "INTERNAL"))
        return Answer("bad" if code in _GRPC_BAD else "closed", why)

    def close(self) -> None:
        channel, self._channel, self._export = self._channel, None, None
        if channel is not None:
            channel.close()


def _retry_info(trailing: Any) -> float | None:
    from google.rpc.error_details_pb2 import RetryInfo
    from google.rpc.status_pb2 import Status

    found = dict(trailing or ())
    try:
        if "google.rpc.retryinfo-bin" in found:
            return _delay(RetryInfo.FromString(found["google.rpc.retryinfo-bin"]).retry_delay)
        for detail in Status.FromString(found.get("grpc-status-details-bin", b"")).details:
            info = RetryInfo()
            if detail.Unpack(info):
                return _delay(info.retry_delay)
    except Exception:  # somebody's metadata that is no such message
        return None
    return None


def _delay(said: Any) -> float:
    return min(float(said.seconds) + float(said.nanos) / 1e9, _LONGEST_WAIT)


def _file(path: str | None) -> bytes | None:
    if path is None:
        return None
    with open(path, "rb") as file:
        return file.read()


_importing = threading.RLock()
_held: list[bool] = []


def _imported(name: str, *more: str) -> Any:
    """The first of these modules, when all of them are there."""
    with _importing:
        found, *_ = [importlib.import_module(one) for one in (name, *more)]
    return found


def _before_fork() -> None:
    _held.append(_importing.acquire(timeout=_FORK_SECONDS))


def _after_fork_in_parent() -> None:
    if _held.pop():
        _importing.release()


def _after_fork_in_child() -> None:
    global _importing
    _importing = threading.RLock()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


def _reason(error: Exception) -> str:
    """Why, in words that hold no address and no header: the innermost error's kind and, of the system's, its text."""
    seen: BaseException = error
    for _ in range(8):
        inner = seen.__cause__ or seen.__context__
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        if inner is None:
            break
        seen = inner
    return seen.strerror if isinstance(seen, OSError) and seen.strerror else type(error).__name__
