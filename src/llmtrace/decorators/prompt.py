"""`llmtrace.prompt`: fills a prompt template, and marks the calls that use the text with the template's name."""

from __future__ import annotations

from llmtrace.fingerprints import fill_prompt


def prompt(name: str, template: str, /, **values: object) -> str:
    """Return ``template.format(**values)``, or the template unchanged without values.

    Model calls whose messages contain this text are marked with ``name`` and a digest of ``template``
    (``llmtrace.fingerprint.prompts``). So `llmtrace diff` tells a changed template from the same template with other values.
    Raises the errors of `str.format`: KeyError for a missing value, ValueError for a lone brace.
    """
    return fill_prompt(name, template, values)
