"""Starts threads of our own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from opentelemetry.context import Context, attach, detach


def start_thread(name: str, work: Callable[..., Any], *args: Any) -> threading.Thread:
    """Start a daemon thread that is below no span of the program's, wherever it is started from.

    Raises RuntimeError while the interpreter shuts down.
    """
    thread = threading.Thread(target=work, args=args, name=name, daemon=True)
    outside = attach(Context())
    try:
        thread.start()
    finally:
        detach(outside)
    return thread
