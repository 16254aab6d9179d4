"""Imported by a Python process that ``llmtrace run`` started, before the program. It must never fail or print anything."""

import importlib.machinery
import importlib.util
import os
import sys


def _import_hidden() -> None:
    """Import the sitecustomize module that this one hides, if there is one."""
    own_folder = os.path.dirname(os.path.abspath(__file__))
    search_path = [path for path in sys.path if os.path.abspath(path) != own_folder]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", search_path)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


def _start_recording() -> None:
    try:
        from llmtrace.launch.program import start
    except Exception:  # llmtrace is not installed for this Python, or does not work
        return
    start()


try:
    _import_hidden()
finally:
    _start_recording()
