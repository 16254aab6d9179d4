"""Content: capture level, redaction, truncation that keeps JSON valid, inline bytes; and snapshots of what is no JSON.

`Content` is the one door through which content leaves memory. Law: content that is off or redacted is nowhere.
"""

from llmtrace.content.clean import Content
from llmtrace.content.redaction import Redactor
from llmtrace.content.snapshot import UNSERIALISABLE, to_json

__all__ = ["UNSERIALISABLE", "Content", "Redactor", "to_json"]
