"""Spans of programs in any language: OTLP in, over HTTP (protobuf, JSON, gzip) and gRPC, on loopback, into a store.

Read it in this order: `intake` (what is done with spans of others), `request` (bytes to spans, within limits), `http` and
`grpc` (the two servers). Law: nothing that is sent ends a receiver, and what is refused is said to the sender.
"""

from llmtrace.receiver.intake import Intake
from llmtrace.receiver.receiver import Receiver

__all__ = ["Intake", "Receiver"]
