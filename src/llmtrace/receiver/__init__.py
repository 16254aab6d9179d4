"""Spans of programs in any language: OTLP in, over HTTP (protobuf, JSON, gzip) and gRPC, on loopback, into a store.

Read it in this order: `request` (bytes to spans, within limits), `http` and `grpc` (the two servers), `receiver` (both); what
is done with the spans is `foreign.intake`. Law: nothing that is sent ends a receiver; what is refused is said to the sender.
"""

from llmtrace.receiver.receiver import Receiver

__all__ = ["Receiver"]
