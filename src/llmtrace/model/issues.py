"""Issues: failures with an identity over many runs. An `Occurrence` is one issue in one run.

Law: an occurrence has no content: names of laws, tools, agents, fields and labels, never a value or a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from llmtrace.model.value import value

Version: TypeAlias = Mapping[str, tuple[str, ...]]
"""The versions of the program, its prompts and models: values by kind, one of `VERSION_KINDS`."""
SERVICE: Final = "service version"
COMMIT: Final = "commit"
"""A commit with uncommitted changes is ``COMMIT+DIGEST``."""
PROMPT_TEMPLATE: Final = "prompt template"
"""``NAME DIGEST``, see `llmtrace.prompt`."""
SYSTEM_PROMPT: Final = "system prompt"
TOOLS: Final = "tools"
MODEL: Final = "model"
VERSION_KINDS: Final = (SERVICE, COMMIT, PROMPT_TEMPLATE, SYSTEM_PROMPT, TOOLS, MODEL)

Strength: TypeAlias = Literal["certain", "likely", "reported"]
"""The confidence of the suspect. ``reported``: no law marks the run, but it is known to have failed."""


@value
class Occurrence:
    issue: str
    """Id of the issue."""
    title: str
    confidence: Strength
    check: str
    """The law that found it, or the kind of the report: ``outcome``, ``acceptance``, ``feedback``."""
    kind: str
    """The kind of failure, see `diagnosis.identity`."""
    subject: str
    """The tool; else the agent or workflow."""
    place: str
    """JSON Pointer of the field."""
    span_id: str
