"""Spans of other instrumentations, from this process (`processor`, `tracer_provider`) or from other programs.

They are decoded by a dialect, cleaned, stored, and evaluated with the same signals as our own (`ingest`).
"""
