"""Finds the line of the program, and the library, that made a call, from the stack of this thread."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path


def program_line() -> str:
    """Return the innermost line of the program's own code on this thread's stack, not of llmtrace or a library."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((_OURS, *_LIBRARIES, "<")):
            return f"{os.path.relpath(file) if file.startswith(os.getcwd() + os.sep) else file}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def calling_library() -> str:
    """Return the package that the program's own code called on this thread's stack: ``aiohttp``, ``botocore`` …"""
    frame, library = sys._getframe(1), ""
    while frame is not None:
        file = frame.f_code.co_filename
        folder = next((folder for folder in _LIBRARIES if file.startswith(folder)), None)
        if folder is not None and not file.startswith(_OURS):
            name = file[len(folder) :].partition(os.sep)[0].removesuffix(".py")
            library = library if name in _BETWEEN else name
        elif not file.startswith((_OURS, "<")):
            break
        frame = frame.f_back  # type: ignore[assignment]
    return library or "itself"


_BETWEEN = frozenset({"wrapt", "opentelemetry", "site-packages"})
_OURS = str(Path(__file__).resolve().parent.parent) + os.sep
_LIBRARIES = tuple(
    sorted({sysconfig.get_path(name) + os.sep for name in ("stdlib", "purelib", "platlib")}, key=len, reverse=True)
)
"""Longest paths first, because the folder of packages is inside the standard library's folder."""
