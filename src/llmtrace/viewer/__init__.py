"""The local viewer: a small server over a store, and pages without a build step that it serves or that one file holds.

`source` reads and caches traces, `rows`, `payload`, `context` and `values` turn them into JSON (pure), `live` follows the
store, `app` and `guard` answer requests, `serving` runs them, `page` writes the single file. Law: all that a model, a tool or
a user wrote reaches the browser as JSON and is put on the screen as text, never as HTML.
"""
