"""`llmtrace.prompt`: fill a prompt template, and have the calls that use the text name the template."""

from __future__ import annotations

from llmtrace.fingerprints import fill_prompt


def prompt(name: str, template: str, /, **values: object) -> str:
    """Return ``template.format(**values)``, or the template as it is without values.

    Model calls whose messages hold this text, alone or among other text, are marked with ``name`` and a digest of ``template``
    (``llmtrace.fingerprint.prompts``). So `llmtrace diff` tells a changed template from the same one with other values.
    Raises what `str.format` raises: KeyError for a value that is missing, ValueError for a lone brace.
    """
    return fill_prompt(name, template, values)
