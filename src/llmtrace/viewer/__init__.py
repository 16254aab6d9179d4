"""The local viewer: a small server over a store, and pages without a build step, served or in a single file.

`source` reads and caches traces; `rows`, `payload` and `lineage_json` turn them into JSON (pure); `watch`
follows the store; `app` and `access` answer requests; `serving` runs them; `page` writes the single file. Law: text of models,
tools and users reaches the browser as JSON and is shown as text, never as HTML.
"""
