"""Forwarding by OTLP: a thread of our own sends the journal to a collector, without losing spans.

Read the files in this order: `sending` (which spans go where), `forwarder` (the thread), `journal_queue` and `journal_cursor`
(the spans still to be sent), `otlp_exporter` and `transport` (one request), `sampler` (which traces).
"""
