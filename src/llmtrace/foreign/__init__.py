"""Spans of other instrumentations, from this process (`processor`, `provider`) or from elsewhere, on their way into the store.

They are read by a dialect, cleaned, stored, and judged as our own are (`intake`).
"""
