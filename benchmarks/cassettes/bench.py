"""Drives recorded HTTP exchanges through the real client SDKs, and compares each span with what the recorded bytes say.

    python benchmarks/cassettes/bench.py --data DIR [--driver anthropic] [--verbose]

A server on loopback replays the answers. Compared are the messages, tool calls, tools, usage, finish reasons and more (`Told`
in `driver`), read independently from the bytes. DIR has a folder ``cassettes``, or is one: files ``provider.jsonl``, a cassette
a line. Exit code 1 if a difference has no explanation, or an exchange could not be read by its driver.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import report
from driver import Call, Driver, Exchange, Told, read
from llmtrace.model import Generic, Inference, Message, Reasoning, Span, Text, ToolResult
from llmtrace.recorder import collected
from llmtrace.testing import capture
from replaying import Replaying, replaying

ONE_SPAN = "spans"
"""The name of a difference: not exactly one inference was recorded."""
RAISED = "driver"
"""The name of a difference: the driver raised, so that nothing could be compared."""


def drivers() -> dict[str, Driver]:
    """Those whose library is installed, by file name; the folder is the registry."""
    found: dict[str, Driver] = {}
    for path in sorted((HERE / "drivers").glob("[!_]*.py")):
        try:
            found[path.stem] = importlib.import_module(f"drivers.{path.stem}").DRIVER
        except ImportError as missing:  # of a part of a namespace it is no ModuleNotFoundError
            print(f"{path.stem}: {missing.name} is not installed; left out", file=sys.stderr)
    return found


@dataclass
class Difference:
    exchange: Exchange
    field: str
    told: Any
    found: Any
    reason: str | None

    def __str__(self) -> str:
        place = f"{self.exchange.provider} {self.exchange.cassette} [{self.exchange.number}]"
        if self.field == RAISED:
            return f"{place}: the driver raised {self.found}"
        return f"{place}: {self.field}: the bytes say {self.told!r:.300}, the span says {self.found!r:.300}"


@dataclass
class Row:
    """One provider by one driver."""

    driven: int = 0
    cassettes: set[str] = field(default_factory=set)
    sent_alike: int = 0
    """Exchanges whose request went out as it was recorded."""
    exact: int = 0
    explained: int = 0
    differences: list[Difference] = field(default_factory=list)

    @property
    def unexplained(self) -> list[Difference]:
        return [one for one in self.differences if one.reason is None]


def found(span: Span, generic: frozenset[str]) -> Told:
    """What a span says, in the form of what the bytes say."""
    inference = span.operation
    assert isinstance(inference, Inference)
    usage = inference.usage
    return Told(
        system=_text(inference.system),
        input=[(message.role, _text(message.parts)) for message in inference.input],
        input_calls=list(_calls(inference.input)),
        results=sum(isinstance(part, ToolResult) for message in inference.input for part in message.parts),
        tools=[tool.name for tool in inference.tools],
        output=[_text(message.parts) for message in inference.output],
        reasoning="".join(
            part.content for message in inference.output for part in message.parts if isinstance(part, Reasoning)
        ),
        calls=list(_calls(inference.output)),
        finish=list(inference.finish_reasons),
        input_tokens=usage and usage.input_tokens,
        output_tokens=usage and usage.output_tokens,
        cache_read=usage and usage.cache_read_input_tokens,
        cache_write=usage and usage.cache_write_input_tokens,
        reasoning_tokens=usage and usage.reasoning_output_tokens,
        id=inference.response_id,
        model=inference.response_model,
        failed=span.failure is not None,
        partial=inference.partial,
        unknown=sorted(_generic((*inference.input, *inference.output)) - generic),
    )


def _text(parts: Sequence[Any]) -> str:
    return "".join(part.content for part in parts if isinstance(part, Text))


def _generic(messages: Sequence[Message]) -> set[str]:
    return {part.type for message in messages for part in message.parts if isinstance(part, Generic)}


def _calls(messages: Sequence[Message]) -> Iterator[Call]:
    for message in messages:
        for call in message.tool_calls():
            yield Call(call.name, call.arguments, call.id)


def compare(driver: Driver, exchange: Exchange, spans: Sequence[Span]) -> list[Difference]:
    """All differences between what the bytes say and what was recorded."""
    inferences = [span for span in spans if isinstance(span.operation, Inference)]
    if len(inferences) != 1:
        return [_difference(driver, exchange, ONE_SPAN, 1, len(inferences))]
    told, said = driver.told(exchange), found(inferences[0], driver.generic)
    differences: list[Difference] = []
    for one in fields(Told):
        expected, actual = getattr(told, one.name), getattr(said, one.name)
        if expected is not None and expected != actual:
            differences.append(_difference(driver, exchange, one.name, expected, actual))
    return differences


def _difference(driver: Driver, exchange: Exchange, name: str, told: Any, actual: Any) -> Difference:
    return Difference(exchange, name, told, actual, driver.explain(exchange, name, told, actual))


def drive(driver: Driver, exchange: Exchange, server: Replaying) -> tuple[Span, ...]:
    """The spans of the call that sends the recorded request and gets the recorded answer."""
    server.exchange, server.sent = exchange, b""
    with capture(instrument=(driver.name,), redact=False, max_content_bytes=1 << 24) as captured:
        try:
            driver.drive(exchange, server.url)
        except Exception as refused:  # the SDK's verdict on the answer; the span has to tell of it too
            report.progress(f"{exchange.provider}: {type(refused).__name__}")
        collected.settle()
        return captured.spans


def run(data: Path, only: str | None = None) -> tuple[dict[tuple[str, str], Row], dict[str, list[Exchange]]]:
    """The rows by (provider, driver), and by provider all exchanges."""
    chosen = {name: driver for name, driver in drivers().items() if only in (None, name)}
    rows: dict[tuple[str, str], Row] = {}
    exchanges: dict[str, list[Exchange]] = {}
    for path in sorted(data.glob("*.jsonl")):
        exchanges[path.stem], unread = read(path)
        for why in unread:
            print(f"{path.name}, {why}; left out", file=sys.stderr)
    with replaying() as server:
        for provider, recorded in exchanges.items():
            for exchange in recorded:
                for name, driver in chosen.items():
                    if takes(driver, exchange):
                        report.progress(f"{provider} by {name}: {exchange.cassette[:60]}")
                        _count(rows.setdefault((provider, name), Row()), driver, exchange, server)
    return rows, exchanges


def takes(driver: Driver, exchange: Exchange) -> bool:
    """Whether the driver takes the exchange; one that raises over it does, so that it is a row of the table."""
    try:
        return driver.takes(exchange)
    except Exception:
        return True


def _count(row: Row, driver: Driver, exchange: Exchange, server: Replaying) -> None:
    server.sent = b""
    try:
        driver.takes(exchange)
        differences = compare(driver, exchange, drive(driver, exchange, server))
    except Exception as error:
        differences = [Difference(exchange, RAISED, None, f"{type(error).__name__}: {error}"[:200], None)]
    row.driven += 1
    row.cassettes.add(exchange.cassette)
    row.sent_alike += bool(server.sent) and _json(server.sent) == _json(exchange.request)
    row.exact += not differences
    row.explained += bool(differences) and all(one.reason for one in differences)
    row.differences += differences


def _json(data: bytes) -> Any:
    try:
        return json.loads(data or b"null")
    except ValueError:
        return None


def tables(rows: dict[tuple[str, str], Row], exchanges: dict[str, list[Exchange]]) -> list[str]:
    head = ["recorded from", "SDK", "cassettes", "exchanges driven", "sent as recorded", "exact", "explained", "unexplained"]
    body = [
        [provider, name, len(row.cassettes), row.driven, row.sent_alike, row.exact, row.explained, _wrong(row)]
        for (provider, name), row in rows.items()
    ]
    made = [report.table("Recorded exchanges, through the real SDKs", head, body)]
    explained = [
        [provider, name, ", ".join(what), why, count]
        for (provider, name), row in rows.items()
        for (what, why), count in _reasons(row).items()
    ]
    if explained:
        made.append(report.table("Differences explained", ["recorded from", "SDK", "what", "why", "exchanges"], explained))
    raised = Counter(
        (provider, name, one.found) for (provider, name), row in rows.items() for one in row.differences if one.field == RAISED
    )
    if raised:
        body = [[*key, count] for key, count in raised.items()]
        made.append(report.table("Drivers that raised", ["recorded from", "SDK", "what", "exchanges"], body))
    left = left_out(exchanges)
    made.append(report.table("Left out, no driver takes them", ["recorded from", "endpoint", "status", "exchanges"], left))
    return made


def _reasons(row: Row) -> Counter[tuple[tuple[str, ...], str]]:
    """By what differs and why: in how many exchanges."""
    by_exchange: dict[tuple[Exchange, str], list[str]] = {}
    for one in row.differences:
        if one.reason is not None:
            by_exchange.setdefault((one.exchange, one.reason), []).append(one.field)
    return Counter((tuple(what), why) for (_, why), what in by_exchange.items())


def _wrong(row: Row) -> int:
    return row.driven - row.exact - row.explained


def left_out(exchanges: dict[str, list[Exchange]]) -> list[list[Any]]:
    """What no driver takes: (provider, endpoint, status, how many)."""
    takers = list(drivers().values())
    counts: Counter[tuple[str, str, int]] = Counter()
    for provider, recorded in exchanges.items():
        for exchange in recorded:
            if not any(takes(driver, exchange) for driver in takers):
                counts[provider, f"{exchange.method} {_endpoint(exchange.path)}", exchange.status] += 1
    return [[*key, count] for key, count in counts.items()]


def _endpoint(path: str) -> str:
    """A path without the ids in it."""
    return "/".join("…" if "_" in step and any(c.isdigit() for c in step) else step for step in path.split("/"))


def main() -> int:
    options = report.parser(__doc__)
    options.add_argument("--driver", help="only this one")
    options.add_argument("--verbose", action="store_true", help="list every difference without an explanation")
    given = options.parse_args()
    is_folder = given.data is not None and any(Path(given.data).glob("*.jsonl"))
    rows, exchanges = run(Path(given.data) if is_folder else report.folder(given.data, "cassettes"), given.driver)
    results = {
        f"{provider} by {name}": {
            "cassettes": len(row.cassettes),
            "driven": row.driven,
            "sent as recorded": row.sent_alike,
            "exact": row.exact,
            "explained": row.explained,
            "unexplained": [str(one) for one in row.unexplained],
        }
        for (provider, name), row in rows.items()
    }
    report.done(results, tables(rows, exchanges), given.json)
    if given.verbose:
        print(*(one for row in rows.values() for one in row.unexplained), sep="\n", file=sys.stderr)
    return 1 if any(row.unexplained for row in rows.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
