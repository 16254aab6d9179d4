"""Clients that are recorded one by one (`llmtrace.instrument`), where their library is not recorded as a whole."""

from __future__ import annotations

import weakref
from typing import Any

from llmtrace.recorder.guard import guard

selected: dict[str, dict[int, weakref.ref[Any]]] = {}
"""By library, of which only some clients are recorded: those clients, by their ids. A library that is absent is recorded as a
whole."""

_libraries: dict[type, str | None] = {}


def select(library: str, client: Any) -> None:
    """Record the calls of ``client``, and of no other client of its library that is not selected, too."""
    clients = selected.setdefault(library, {})
    key = id(client)
    clients[key] = weakref.ref(client, lambda _: clients.pop(key, None))
    _libraries.clear()


def deselect(library: str) -> None:
    """Treat all clients of ``library`` alike again."""
    selected.pop(library, None)
    _libraries.clear()


def copying(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for a client's method that makes another client with other options: it is recorded if the first one is."""
    client = wrapped(*args, **kwargs)
    guard(_select_copy, instance, client)
    return client


def _select_copy(client: object, copy: object) -> None:
    library = _library_of(type(client)) if selected else None
    if library is not None and not is_left_out(client):
        select(library, copy)


def is_left_out(client: object) -> bool:
    """Return True if ``client`` belongs to a library of which only other clients are recorded."""
    kind = type(client)
    if kind not in _libraries:
        if len(_libraries) > 256:
            _libraries.clear()
        _libraries[kind] = _library_of(kind)
    library = _libraries[kind]
    return library is not None and id(client) not in selected.get(library, {id(client): None})


def _library_of(kind: type) -> str | None:
    modules = [base.__module__ for base in kind.__mro__]
    return next((library for library in selected for name in modules if f"{name}.".startswith(f"{library}.")), None)
