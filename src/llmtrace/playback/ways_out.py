"""Refuses what would leave the process during a replay: connections, names that a server would be asked for, other programs.

Python tells an audit hook of them, whichever library asks (https://docs.python.org/3/library/audit_events.html). Code that does
not use Python's own modules is not noticed, such as a library that opens sockets in C: see `no_network`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

_CONNECTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_STARTS = frozenset({"subprocess.Popen", "os.exec", "os.posix_spawn", "os.system", "os.startfile"})
_PYTHON = re.compile(r"pythonw?[\d.]*(\.exe)?", re.IGNORECASE)
_WITH_VALUE = frozenset({"-X", "-W"})
"""Options of Python whose value is the next word."""
_UNGUARDED_OPTIONS = frozenset("EIS")
"""Options of Python that ignore its environment, or ``sitecustomize``: a process that has one does not take part."""
_LEARN_ABOUT_THE_MACHINE = frozenset({"platform", "uuid", "ctypes.util"})
"""Python's own modules that ask a program of the system what machine this is, such as ``uname``."""


class Guard(NamedTuple):
    """Each returns the error for what it refuses, or None."""

    connection: Callable[[str], BaseException | None]
    """Called with an address, ``HOST:PORT``."""
    program: Callable[[str, Sequence[str]], BaseException | None]
    """Called with the path of a program that does not take part in the replay, and its words; the first is its name."""
    variable: str | None = None
    """The environment variable by which a Python process takes part in the replay; None: none does."""


_guards: list[Guard] = []
_is_resolving: ContextVar[bool] = ContextVar("llmtrace-resolving", default=False)
"""True while the name of a server that is allowed is looked up."""
_is_hooked = False


@contextmanager
def guarded(guard: Guard) -> Iterator[None]:
    """Inside the block, what ``guard`` refuses raises its error instead. Unix sockets work as always."""
    global _is_hooked
    if not _is_hooked:
        _is_hooked = True
        sys.addaudithook(_hook)  # it stays, because Python has no way to remove it
    _guards.append(guard)
    try:
        yield
    finally:
        _guards.remove(guard)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not _guards:
        return
    if event in _CONNECTS:
        _check_connection(*args[:2])
    elif event == "socket.getaddrinfo":
        _check_name(*args[:2])
    elif event in _STARTS:
        _check_program(event, args)


def _check_connection(this: socket.socket, address: Any) -> None:
    if address is not None and this.family in (socket.AF_INET, socket.AF_INET6):
        _refuse_connection(f"{address[0]}:{address[1]}")


def _check_name(host: Any, port: Any) -> None:
    """Refuse a name that a server would be asked for. Those of this machine and addresses are known without one."""
    name = _text(host)
    if name and port and not _is_resolving.get() and name not in ("localhost", socket.gethostname()) and not _is_address(name):
        _refuse_connection(f"{name}:{_text(port) if isinstance(port, (str, bytes)) else port}")


def _is_address(name: str) -> bool:
    try:
        ip_address(name.partition("%")[0])  # fe80::1%eth0
    except ValueError:
        return False
    return True


def _refuse_connection(address: str) -> None:
    for guard in tuple(_guards):
        error = guard.connection(address)
        if error is not None:
            raise error


def _check_program(event: str, args: tuple[Any, ...]) -> None:
    if _asking_module() in _LEARN_ABOUT_THE_MACHINE:
        return
    env: Mapping[Any, Any] | None = None
    if event in ("os.system", "os.startfile"):
        program, words = "sh" if event == "os.system" else _text(args[0]), [_text(args[0])]
    else:
        given = args[1]
        words = [_text(given)] if isinstance(given, (str, bytes, os.PathLike)) else [_text(word) for word in given]
        program = _text(args[0]) or words[0]
        env = args[-1] if isinstance(args[-1], Mapping) else None
    for guard in tuple(_guards):
        takes_part = guard.variable is not None and _is_guarded_python(program, words, env, guard.variable)
        error = None if takes_part else guard.program(program, words)
        if error is not None:
            raise error


def _text(path: Any) -> str:
    return "" if path is None else os.fsdecode(path)


def _asking_module() -> str:
    """Return the module that starts a program, not the one of Python that does it for everybody."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__"))
        if name not in ("subprocess", "os") and not name.startswith("llmtrace."):
            return name
        frame = frame.f_back
    return ""


def _is_guarded_python(program: str, words: Sequence[str], env: Mapping[Any, Any] | None, variable: str) -> bool:
    """Return True if ``program`` is this Python, or a script of it, and takes part in the replay, as its environment says."""
    if variable not in (os.environ if env is None else map(_text, env)):
        return False
    path = shutil.which(program) or program
    if _PYTHON.fullmatch(os.path.basename(path)) is None:
        return _is_here(_interpreter(path))
    options = iter(words[1:])
    for word in options:
        if word in _WITH_VALUE:
            next(options, None)
            continue
        if not word.startswith("-") or word.startswith("--") or word in ("-c", "-m", "-"):
            break
        if not _UNGUARDED_OPTIONS.isdisjoint(word[1:]):
            return False
    return _is_here(path)


def _is_here(python: str) -> bool:
    """Return True for the Python of this environment, which has llmtrace."""
    return bool(python) and os.path.dirname(os.path.abspath(python)) == os.path.dirname(os.path.abspath(sys.executable))


def _interpreter(script: str) -> str:
    """Return the interpreter that a script's first line names; "" if it has none."""
    try:
        with open(script, "rb") as file:
            first = file.readline(256)
    except OSError:
        return ""
    words = shlex.split(first[2:].decode(errors="replace")) if first.startswith(b"#!") else []
    return words[0] if words and _PYTHON.fullmatch(Path(words[0]).name) else ""


def is_at(address: str, server: str) -> bool:
    """Return True if two servers (``HOST:PORT``) have an address in common. Host names are resolved."""
    return address == server or not _addresses(address).isdisjoint(_addresses(server))


@lru_cache(maxsize=64)
def _addresses(server: str) -> frozenset[str]:
    host, _, port = server.rpartition(":")
    token = _is_resolving.set(True)
    try:
        places = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return frozenset()
    finally:
        _is_resolving.reset(token)
    return frozenset(f"{place[0]!s}:{place[1]!s}" for *_, place in places)
