"""Receives spans of programs in any language: OTLP over HTTP (protobuf, JSON, gzip) and gRPC, on loopback, into a store.

Read the files in this order: `request` (bytes to spans, within limits), `http` and `grpc` (the two servers), `receiver` (both).
`external.ingest` stores the spans. Law: no input stops a receiver; the answer tells the sender what was rejected.
"""

from llmtrace.receiver.receiver import Receiver

__all__ = ["Receiver"]
