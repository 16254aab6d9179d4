"""Refuses connections during a replay: a call without a recorded answer must not leave the process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

_LOCK = threading.RLock()


@lru_cache(maxsize=64)
def is_at(address: str, server: str) -> bool:
    """Return True if ``server`` (``HOST:PORT``) has this address (``127.0.0.1:8000``). The host name is resolved."""
    host, _, port = server.rpartition(":")
    try:
        places = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return address in {f"{place[0]!s}:{place[1]!s}" for *_, place in places}


@contextmanager
def no_network(refuse: Callable[[str], BaseException | None]) -> Iterator[None]:
    """Inside the block, a socket that connects or sends a datagram raises the error that ``refuse`` returns for its address;
    None allows it.

    Unix sockets work as always. A library that opens sockets without Python's ``socket`` is not noticed.
    """
    patched: Any = socket.socket
    connect, connect_ex, sendto = patched.connect, patched.connect_ex, patched.sendto

    def check(this: socket.socket, address: Any) -> None:
        if this.family in (socket.AF_INET, socket.AF_INET6):
            error = refuse(f"{address[0]}:{address[1]}")
            if error is not None:
                raise error

    def guarded(this: socket.socket, address: Any, /) -> None:
        check(this, address)
        connect(this, address)

    def guarded_ex(this: socket.socket, address: Any, /) -> int:
        check(this, address)
        result: int = connect_ex(this, address)
        return result

    def guarded_sendto(this: socket.socket, data: Any, *flags_and_address: Any) -> int:
        check(this, flags_and_address[-1])
        sent: int = sendto(this, data, *flags_and_address)
        return sent

    with _LOCK:
        patched.connect, patched.connect_ex, patched.sendto = guarded, guarded_ex, guarded_sendto
    try:
        yield
    finally:
        with _LOCK:
            patched.connect, patched.connect_ex, patched.sendto = connect, connect_ex, sendto
