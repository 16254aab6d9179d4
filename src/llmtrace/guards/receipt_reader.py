"""Reads a change back through the program's own reader, and makes the receipt of it.

Laws: nothing that a reader does reaches the program: not its errors, not its time beyond the limit, not its spans. A reader
that fails, is too slow or may not run gives the receipt *unknown*, which marks nothing.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Mapping
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from llmtrace.content import to_json
from llmtrace.errors import ConfigurationError
from llmtrace.guards.durations import read_seconds
from llmtrace.guards.reader_threads import Busy, reader_threads
from llmtrace.guards.receipt_comparison import ChangeRecord, compare
from llmtrace.log_once import warn_once
from llmtrace.model import JsonValue, Receipt, replace
from llmtrace.reading.calls import canonical
from llmtrace.recorder.context import suppress

_RESULT, _ARGUMENTS = "result", "arguments"
_TOLERATED = "a function of some of the tool's arguments by name, or of (arguments, result)"


class Reader:
    """The reader of one tool, as its options describe it."""

    def __init__(
        self,
        confirm: Callable[..., Any],
        tool: str,
        parameters: frozenset[str],
        *,
        timeout: float | str,
        within: float | str | None,
    ) -> None:
        """``parameters``: names of the tool's arguments. Raises `ConfigurationError` for a reader that cannot be called with
        them, and for wrong durations."""
        if not callable(confirm):
            raise ConfigurationError(f"tool(confirm={confirm!r}): expected {_TOLERATED}")
        self.function = confirm
        self.tool = tool
        self.timeout = read_seconds("tool(confirm_timeout)", timeout)
        """Seconds that one look may take."""
        self.within = None if within is None else read_seconds("tool(confirm_within)", within)
        """Seconds within which a change that is not there yet may appear; None: it must be there at once."""
        self.is_async = inspect.iscoroutinefunction(confirm) or inspect.iscoroutinefunction(getattr(confirm, "__call__", None))  # noqa: B004
        self._names = _names_of(confirm, tool, parameters)
        """Names of its parameters; None: it is called with the arguments and the result, in this order."""

    def change(
        self,
        values: Mapping[str, Any],
        arguments: Mapping[str, JsonValue],
        result: Any,
        receiver: Any,
        times: Callable[[], int],
    ) -> Change:
        """Return a change that has answered.

        ``values``: the arguments, with defaults, as the program's own objects. ``arguments``: those that the call gave, as
        JSON. ``receiver``: the object of a method. ``times``: returns how often the run has begun this change.
        """
        return Change(self, dict(values), dict(arguments), result, receiver, times)

    def call(self, change: Change) -> tuple[Any, Callable[[], ChangeRecord]]:
        """Call the reader. Returns its answer, perhaps an awaitable, and a function that returns by what it was found."""
        arguments = _ReadMapping(change.values)
        result = _ReadMapping(change.result) if type(change.result) is dict else change.result
        named: dict[str, Any] = {}
        if self._names is None:
            answer = self.function(arguments, result)
        else:
            also = {"self": change.receiver, _ARGUMENTS: arguments, _RESULT: result, **change.values}
            named = {name: also[name] for name in self._names if name in also}
            answer = self.function(**named)

        def by_what() -> ChangeRecord:
            handles = [result.get(name) for name in result.read] if isinstance(result, _ReadMapping) else []
            if result is named.get(_RESULT) and isinstance(result, (str, int)):
                handles = [result]
            known = [canonical(argument) for argument in change.arguments.values()]
            by_handle = any(canonical(to_json(handle)) not in known for handle in handles if handle is not None)
            keys = arguments.read | named.keys()
            return ChangeRecord(change.arguments, change.recorded, keys, by_handle, change.times())

        return answer, by_what

    def key(self, change: Change) -> str:
        """Return a text that is equal for changes whose records are the same."""
        names = change.values if self._names is None else [name for name in self._names if name in change.values]
        found_by = {name: to_json(change.values[name]) for name in names}
        return f"{id(self.function)} {id(change.receiver)} {canonical(found_by)}"


class Change:
    """A change that has answered, and the looks at it so far."""

    def __init__(
        self,
        reader: Reader,
        values: dict[str, Any],
        arguments: dict[str, JsonValue],
        result: Any,
        receiver: Any,
        times: Callable[[], int],
    ) -> None:
        self.reader, self.values, self.arguments, self.result = reader, values, arguments, result
        self.recorded = to_json(result)
        """The result as it was recorded. The program may change its own object later."""
        self.receiver, self.times = receiver, times
        self.loop: asyncio.AbstractEventLoop | None = None
        """The program's event loop, on which an async reader is awaited."""
        self.looks = 0
        self.seconds = 0.0

    def look(self) -> Receipt:
        """Read the change back on another thread, and wait for that, as long as the reader's limit says."""
        began = time.monotonic()
        try:
            read = reader_threads.submit(self.reader.key(self), self.read)
        except Busy:
            return self.receipt(Receipt("unknown", error="busy"), began)
        try:
            receipt: Receipt = read.result(self.reader.timeout)
        except FutureTimeout:
            receipt = Receipt("unknown", error="timeout")
        finally:
            read.cancel()
        return self.receipt(receipt, began)

    async def look_async(self) -> Receipt:
        """Do what `look` does without blocking the event loop. An async reader is awaited on this loop, in its own task."""
        began = time.monotonic()
        self.loop = asyncio.get_running_loop()
        try:
            key = self.reader.key(self)
            if self.reader.is_async:
                receipt = await self._await_here(key, began)
            else:
                read = reader_threads.submit(key, self.read)
                try:
                    receipt = await asyncio.wait_for(asyncio.wrap_future(read), self.reader.timeout)
                finally:
                    read.cancel()
        except Busy:
            receipt = Receipt("unknown", error="busy")
        except (asyncio.TimeoutError, TimeoutError):
            receipt = Receipt("unknown", error="timeout")
        return self.receipt(receipt, began)

    async def _await_here(self, key: str, began: float) -> Receipt:
        claim = reader_threads.claim(key)
        try:
            await asyncio.wait_for(asyncio.wrap_future(claim), self.reader.timeout)
        except BaseException:
            if not claim.cancel():  # it became ours at the same moment
                reader_threads.release(claim)
            raise
        with suppress():
            task = asyncio.ensure_future(self._read_async())
        task.add_done_callback(lambda _: reader_threads.release(claim))
        remaining = max(0.0, self.reader.timeout - (time.monotonic() - began))
        try:
            done, _ = await asyncio.wait({task}, timeout=remaining)
        except BaseException:
            task.cancel()
            raise
        if done:
            return task.result()
        task.cancel()
        return Receipt("unknown", error="timeout")

    def read(self) -> Receipt:
        """Call the reader on this thread, which is not the program's. Never raises."""
        try:
            with suppress():
                answer, by_what = self.reader.call(self)
                if inspect.isawaitable(answer):
                    answer = self._await_elsewhere(answer)
                return compare(answer, by_what())
        except BaseException as error:  # also SystemExit: the program does not end by a reader
            return self._receipt_of(error)

    async def _read_async(self) -> Receipt:
        try:
            answer, by_what = self.reader.call(self)
            if inspect.isawaitable(answer):
                answer = await answer
            return compare(answer, by_what())
        except (Exception, SystemExit) as error:
            return self._receipt_of(error)

    def _await_elsewhere(self, answer: Any) -> Any:
        """Await on the program's loop, to which its clients belong, or on one of this thread if that has ended."""
        if self.loop is not None and self.loop.is_running():
            waiting = asyncio.run_coroutine_threadsafe(_awaited(answer), self.loop)
            try:
                return waiting.result(self.reader.timeout)
            finally:
                waiting.cancel()
        return asyncio.run(_awaited(answer))

    def _receipt_of(self, error: BaseException) -> Receipt:
        """Return the receipt after an error of the reader: *missing* if it says that there is no such record."""
        if isinstance(error, LookupError) and self._says_not_there(error):
            return Receipt("missing")
        name = type(error).__qualname__
        warn_once(f"the reader that confirms {self.reader.tool} raised {name}; the receipt of such a call is unknown")
        return Receipt("unknown", error=name)

    def _says_not_there(self, error: LookupError) -> bool:
        """Return False for a slip of the reader, which marks nothing: a list that is too short, or a key that is not one of
        the values that it was asked for."""
        if isinstance(error, (IndexError, UnicodeError)) or type(error).__module__ == "codecs":
            return False
        if type(error) is not KeyError:
            return True
        text = str(error.args[0]) if error.args else ""
        asked = [to_json(value) for value in (*self.values.values(), self.result)]
        inner = [member for value in asked if isinstance(value, dict) for member in value.values()]
        return any(str(value) in text for value in (*asked, *inner) if isinstance(value, (str, int)) and str(value))

    def receipt(self, receipt: Receipt, began: float) -> Receipt:
        """Return the receipt of a look with the number of looks and their seconds."""
        self.looks += 1
        self.seconds += time.monotonic() - began
        return replace(receipt, looks=self.looks, seconds=round(self.seconds, 6))


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


class _ReadMapping(dict[str, Any]):
    """A dict that notes which of its members were read."""

    def __init__(self, members: Mapping[str, Any]) -> None:
        super().__init__(members)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)


_BY_POSITION: frozenset[Any] = frozenset({inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD})


def _names_of(confirm: Callable[..., Any], tool: str, parameters: frozenset[str]) -> tuple[str, ...] | None:
    """Return the names by which a reader is called, or None for a function of the arguments and the result."""
    try:
        declared = list(inspect.signature(confirm).parameters.values())
    except (TypeError, ValueError):  # a builtin
        return None
    known = parameters | {_RESULT, _ARGUMENTS}
    if declared and declared[0].name == "self" and "self" not in parameters:
        known |= {"self"}
    named = [one for one in declared if one.kind not in (one.POSITIONAL_ONLY, one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    takes_any = any(one.kind is one.VAR_KEYWORD for one in declared)
    required = [one for one in declared if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    if all(one in named and one.name in known for one in required) and (required or takes_any or named):
        names = [one.name for one in named if one.name in known]
        names += sorted(parameters - set(names)) if takes_any else []
        if names:
            return tuple(names)
    strange = [one.name for one in required if one.name not in known]
    by_position = [one for one in declared if one.kind in _BY_POSITION]
    takes_two = len(by_position) >= 2 and len([one for one in required if one.kind in _BY_POSITION]) <= 2
    if any(one.kind is one.VAR_POSITIONAL for one in declared) and len(required) <= 2:
        return None
    if takes_two and not any(one.name in parameters for one in by_position[:2]) and len(required) <= 2:
        return None
    names_of_tool = ", ".join(sorted(parameters)) or "none"
    what = f"its parameter {strange[0]!r} is no argument of {tool} ({names_of_tool})" if strange else "it takes no arguments"
    raise ConfigurationError(f"tool(confirm={getattr(confirm, '__name__', confirm)!s}): {what}; expected {_TOLERATED}")
