"""Reads a change back after its tool has answered, and before the span of its execution ends.

Laws: the program gets the tool's own result or exception, whatever the reader does. The span ends when the tool answered, so
that its duration is the tool's own. In a replay no reader runs: the receipt is that of the record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llmtrace.content import to_json
from llmtrace.guards.receipt_reader import Change
from llmtrace.model import JsonValue, Receipt, ToolExecution, replace
from llmtrace.reading.result_form import is_error
from llmtrace.recorder.guard import guard, report
from llmtrace.recorder.player import player
from llmtrace.validation.parse_arguments import usable_arguments

if TYPE_CHECKING:
    from llmtrace.decorators.tool_execution import Execution, ToolSpec
    from llmtrace.guards.receipt_reader import Reader


class Confirmation:
    """The reading back of one execution; see `functions.Followup`."""

    def __init__(self, execution: Execution, spec: ToolSpec, reader: Reader, receiver: Any) -> None:
        self._execution, self._spec, self._reader, self._receiver = execution, spec, reader, receiver
        self._times: Callable[[], int] = lambda: 1
        if execution.recording is not None and execution.operation is not None:
            asked = _asked(execution.operation)
            self._times = guard(execution.recording.run.count_change, execution.operation.name, asked) or self._times

    def run(self, result: Any) -> None:
        """Read the change back. Only what interrupts the program, such as Ctrl-C, is raised."""
        change = guard(self._begin, result)
        if change is None:
            return
        try:
            self._take(change, change.look())
        except Exception as error:
            report(self.run, error)
        except BaseException:
            self._interrupted(result)
            raise

    async def run_async(self, result: Any) -> None:
        """Do what `run` does, without blocking the event loop."""
        change = guard(self._begin, result)
        if change is None:
            return
        try:
            self._take(change, await change.look_async())
        except Exception as error:
            report(self.run_async, error)
        except BaseException:  # the task was cancelled
            self._interrupted(result)
            raise

    def _begin(self, result: Any) -> Change | None:
        """Return the change to look at, or None if it is not looked at."""
        execution = self._execution
        recording, operation = execution.recording, execution.operation
        if recording is None or operation is None or is_error(to_json(result)):
            return None  # a change that says itself that it failed
        execution.note_answer(result)
        if player() is not None:
            execution.receipt = Receipt("unknown", error="not_allowed", looks=0)
            return None
        if not recording.run.may_read(recording.recorder.config.receipt_reads):
            execution.receipt = Receipt("unknown", error="not_allowed", looks=0)
            return None
        signature = self._spec.signature
        given = signature.arguments(execution.args[execution.receivers :], execution.kwargs)
        arguments = usable_arguments(_asked(operation))
        asked = {name: to_json(value) for name, value in given.items()} if arguments is None else arguments
        receiver = execution.args[0] if execution.receivers else self._receiver
        return self._reader.change({**signature.defaults, **given}, asked, result, receiver, self._times)

    def _take(self, change: Change, receipt: Receipt) -> None:
        execution, within = self._execution, self._reader.within
        if within is None or receipt.status == "confirmed":
            pending = receipt.status == "pending"  # nobody will look again
            execution.receipt = replace(receipt, status="unknown", seen="pending") if pending else receipt
            return
        execution.receipt = replace(receipt, status="pending", seen=receipt.status, error="")
        execution.pending_change = change

    def _interrupted(self, result: Any) -> None:
        self._execution.receipt = Receipt("unknown", error="interrupted")
        guard(self._execution.returned, result)


def _asked(operation: ToolExecution) -> JsonValue:
    """Return the arguments that the tool got, as they were recorded."""
    return operation.arguments if operation.repaired is None else operation.repaired
