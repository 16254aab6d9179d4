"""``python -m llmtrace`` is the command ``llmtrace``."""

from __future__ import annotations

import sys

from llmtrace.cli import main

if __name__ == "__main__":
    sys.exit(main())
