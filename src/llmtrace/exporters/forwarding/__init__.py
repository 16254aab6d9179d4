"""Forwarding by OTLP: what the journal holds goes to a collector, from a thread of our own, and nothing of it is lost.

Read it in this order: `sending` (what is sent where), `forwarder` (the thread), `journal_cursor` (what is still to be sent),
`otlp_exporter` and `transport` (one request), `sampler` (which traces).
"""
