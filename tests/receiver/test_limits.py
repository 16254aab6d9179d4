"""Small requests that become large, and slow ones that hold connections: the receiver goes on for everybody else."""

from __future__ import annotations

import contextlib
import gzip
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, TracesData

from llmtrace.codec import otlp
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.external.ingest import Ingestor
from llmtrace.receiver import request
from llmtrace.receiver.http import MOST_CONNECTIONS
from llmtrace.receiver.request import JSON, PROTOBUF
from llmtrace.store.memory import MemoryStore
from tests import strategies as some
from tests.receiver.test_receiver import Running, raw, running  # noqa: F401 - a fixture

MANY = 8_500_000


def field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    size, length = len(content), b""
    while size >= 0x80:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def in_span(content: bytes) -> bytes:
    return field(1, field(2, field(2, content)))


EMPTY: dict[str, Callable[[], tuple[bytes, str]]] = {
    "spans": lambda: (field(1, field(2, b"\x12\x00" * MANY)), PROTOBUF),
    "scopes": lambda: (field(1, b"\x12\x00" * MANY), PROTOBUF),
    "resources": lambda: (b"\x0a\x00" * MANY, PROTOBUF),
    "attributes": lambda: (in_span(b"\x4a\x00" * MANY), PROTOBUF),
    "attributes of a resource": lambda: (field(1, field(1, b"\x0a\x00" * MANY)), PROTOBUF),
    "events": lambda: (in_span(b"\x5a\x00" * MANY), PROTOBUF),
    "links": lambda: (in_span(b"\x6a\x00" * MANY), PROTOBUF),
    "values of a list": lambda: (in_span(field(9, field(2, field(5, b"\x0a\x00" * MANY)))), PROTOBUF),
    "JSON objects": lambda: (b'{"resourceSpans":[' + b"{}," * MANY + b"{}]}", JSON),
    "JSON lists": lambda: (b'{"resourceSpans":[' + b"[]," * MANY + b"[]]}", JSON),
    "JSON numbers": lambda: (b'{"resourceSpans":[' + b"1," * MANY + b"1]}", JSON),
    "JSON spans": lambda: (b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b"{}," * 60_000 + b"{}]}]}]}", JSON),
}


_QUICK = ("spans", "JSON objects", "JSON spans")


@pytest.mark.parametrize("name", [name if name in _QUICK else pytest.param(name, marks=pytest.mark.all) for name in EMPTY])
def test_small_bodies_that_become_large_are_refused(running: Running, name: str) -> None:  # noqa: F811
    """Before they are parsed: a few kilobytes of gzip would be gigabytes of objects."""
    body, kind = EMPTY[name]()
    began = time.process_time()
    status, said = running.send(gzip.compress(body, 1), content_type=kind, content_encoding="gzip")
    assert status == 413
    assert b"Send smaller batches" in said
    assert time.process_time() - began < 10
    assert running.send(otlp.to_protobuf([raw()]), content_type=PROTOBUF)[0] == 200


def test_grpc_unpacks_no_more_than_the_limit(running: Running) -> None:  # noqa: F811
    with grpc.insecure_channel(f"127.0.0.1:{running.receiver.grpc_port}", compression=grpc.Compression.Gzip) as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        for body in (bytes(request.MAX_BYTES + 1), field(1, field(2, b"\x12\x00" * 1_000_000))):
            with pytest.raises(grpc.RpcError):
                export(body, timeout=30)
        assert export(otlp.to_protobuf([raw()]), timeout=30) == b""


@settings(deadline=None, max_examples=50)
@given(some.spans())
def test_spans_are_counted_as_they_are_parsed(span: Any) -> None:
    """On the bytes, whatever is in the span, in a small request and in a large one."""
    from llmtrace.codec import genai

    data = otlp.to_protobuf([genai.encode(span), raw()])
    assert request.count_protobuf(data) == 2
    assert request._count(data, request._REQUEST, into_spans=True) == 2


def test_fields_are_counted_on_every_level() -> None:
    value = AnyValue()
    value.kvlist_value.values.add(key="a").value.array_value.values.add().string_value = "b"
    pair = KeyValue(key="k", value=value)
    span = Span(attributes=[pair], events=[Span.Event(attributes=[pair])], links=[Span.Link(attributes=[pair])])
    data = TracesData(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=[span, span])])]).SerializeToString()
    assert request._count(data, request._REQUEST, into_spans=True) == 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(request, "MAX_FIELDS", 50)
        with pytest.raises(request.TooMany):
            request._count(data, request._REQUEST, into_spans=True)


@pytest.mark.all
def test_twenty_thousand_chained_parents_are_evaluated_in_time() -> None:
    """Each span below the one before: the time grows with their number, not with its square."""
    chain = [raw(number, attributes={}, parent_id=f"{number - 1:016x}" if number > 1 else None) for number in range(1, 20_001)]
    ingestor = Ingestor(MemoryStore(), content=Content(Config()), quiet=1000)
    ingestor.ingest(chain)
    began = time.process_time()
    ingestor.close(seconds=1000)
    assert time.process_time() - began < 30  # 3 on an idle machine


def dripping(port: int) -> socket.socket:
    """A connection that never completes its request."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\nx")
    return connection


def test_dripping_connections_hold_up_nobody(running: Running) -> None:  # noqa: F811
    """More of them than there is room for: an honest sender is answered at once, and again on its open connection."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(dripping(running.receiver.http_port or 0)) for _ in range(200)]
        began = time.monotonic()
        for number in range(1, 20):
            assert running.send(otlp.to_protobuf([raw(number)]), content_type=PROTOBUF)[0] == 200
        assert time.monotonic() - began < 5
        assert connections[0].recv(1) == b""  # closed, as the one that had waited longest
    assert running.spans() == 19


def test_refused_connections_hold_up_nobody(running: Running) -> None:  # noqa: F811
    """The rest of their bodies is read and dropped, so that they see the answer; an honest sender does not wait for that."""
    with contextlib.ExitStack() as stack:
        for _ in range(MOST_CONNECTIONS):
            connection = stack.enter_context(
                socket.create_connection(("127.0.0.1", running.receiver.http_port or 0), timeout=30)
            )
            connection.sendall(b"POST /unknown HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nx")
            assert connection.recv(1) == b"H"
        assert running.send(otlp.to_protobuf([raw()]), content_type=PROTOBUF)[0] == 200


@pytest.mark.all
def test_ctrl_c_ends_the_receiver_whatever_waits(tmp_path: Any) -> None:
    """Thousands of traces that are not evaluated yet, and connections that drip: it ends within seconds, with 0."""
    command = [sys.executable, "-m", "llmtrace", "receive", "--json", "--http-port", "0", "--no-grpc", "--store", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ})
    assert process.stdout is not None
    port = int(process.stdout.readline().split(":")[1].split(",")[0])
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(dripping(port))
        sender = Running.__new__(Running)
        sender.receiver = type("Port", (), {"http_port": port})()  # type: ignore[assignment]
        body = otlp.to_protobuf([raw(1, trace) for trace in range(1, 5001)])
        assert sender.send(body, content_type=PROTOBUF)[0] == 200
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(30) == 0
        assert time.monotonic() - began < 20
