"""How often a receipt says what really happened: ten domains, each with its own database, reader, and planted faults.

A run is an agent that makes one to three changes and answers that all is done. In a bad run the last change is *dropped* (the
tool answers and writes nothing), *partial* (one value is cut, zero or left as it was), *doubled* (written twice), or *late*
(written after the reader looked). A bad run is *found* if its first suspect is that change, and certain. Good runs write what
they were asked for, in the notation of their database; some of them only later, within ``confirm_within``. In *failing* runs
the change is right and the reader is not: it raises, hangs, or returns what proves nothing.

`--runs N`: bad runs of each domain and fault, and good runs of each domain (default 20). `--cost`: what a reader adds.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import json
import random
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import llmtrace
import report
from llmtrace.diagnosis import diagnose
from llmtrace.guards.late_receipts import late_receipts
from llmtrace.model import Trace
from llmtrace.testing import capture

FOLDER = Path(tempfile.mkdtemp())
WORDS = ("Größe", "blue", "kettle", "日本", "late", "order", "x-ray", "café", "12", "items", "naïve")
LATE = 0.15
"""Seconds after which a late change is written."""


@dataclasses.dataclass
class Domain:
    """A change of one kind of business: the tool, how it writes, and how the program reads it back."""

    name: str
    make: Callable[[random.Random], dict[str, Any]]
    """Returns the arguments of a call."""
    write: Callable[[dict[str, Any]], Any]
    """Writes a change, and returns what the tool answers."""
    confirm: Callable[..., Any]
    cut: str
    """The argument that a partial write spoils."""
    parameters: dict[str, type]
    can_double: bool = True
    """False if writing the same twice leaves one record, which is no fault."""
    is_async: bool = False


def _spoilt(value: Any, rng: random.Random) -> Any:
    """A value as a partial write leaves it."""
    if isinstance(value, str):
        return rng.choice([value[: len(value) // 2], None]) if len(value) > 3 else None
    if isinstance(value, list):
        return value[:-1]
    return rng.choice([0, None, value - 1])


# -- the ten domains


def _table(columns: str) -> Callable[[], sqlite3.Connection]:
    path = FOLDER / f"{len(list(FOLDER.iterdir()))}.sqlite"
    with closing(sqlite3.connect(path)) as made:
        made.execute(f"CREATE TABLE t ({columns})")
        made.commit()

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path)
        connection.row_factory = sqlite3.Row
        return connection

    return connect


def _words(rng: random.Random) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(5))


def refunds() -> Domain:
    connect = _table("order_id TEXT, amount TEXT, reason TEXT")

    def write(asked: dict[str, Any]) -> str:
        amount = None if asked["amount"] is None else f"{asked['amount']:.2f}"
        with closing(connect()) as db, db:
            db.execute("INSERT INTO t VALUES (?, ?, ?)", (asked["order_id"].lower(), amount, asked["reason"]))
        return "refunded"

    def find_refunds(order_id: str) -> list[sqlite3.Row]:
        with closing(connect()) as db:
            return db.execute("SELECT * FROM t WHERE order_id = ?", (order_id.lower(),)).fetchall()

    def make(rng: random.Random) -> dict[str, Any]:
        return {"order_id": f"W{rng.getrandbits(40)}", "amount": round(rng.uniform(2, 900), 2), "reason": _words(rng)}

    return Domain("refunds", make, write, find_refunds, "amount", {"order_id": str, "amount": float, "reason": str})


def bookings() -> Domain:
    rooms: dict[str, dict[str, Any]] = {}

    def write(asked: dict[str, Any]) -> dict[str, Any]:
        number = f"B-{len(rooms) + 1000}"
        day = asked["arrival"]
        stored = day and datetime.fromisoformat(day).replace(tzinfo=timezone.utc)
        rooms[number] = {"id": number, "guest": asked["guest"], "arrival": stored, "nights": str(asked["nights"])}
        return {"status": "ok", "id": number}

    def make(rng: random.Random) -> dict[str, Any]:
        return {
            "guest": _words(rng),
            "arrival": str(date(2027, 1, 1) + timedelta(rng.randrange(300))),
            "nights": rng.randint(2, 9),
        }

    return Domain(
        "hotel bookings", make, write, lambda args, result: rooms.get(result["id"]), "nights",
        {"guest": str, "arrival": str, "nights": int}, can_double=False,
    )  # fmt: skip


def tickets() -> Domain:
    path, lock = FOLDER / "tickets.jsonl", threading.Lock()
    path.touch()

    def write(asked: dict[str, Any]) -> str:
        with lock, path.open("a") as file:
            file.write(json.dumps({"title": asked["title"], "Priority": asked["priority"], "labels": asked["labels"]}) + "\n")
        return "Your ticket was filed."

    def find_tickets(title: str) -> list[Any]:
        return [ticket for line in path.read_text().splitlines() if (ticket := json.loads(line))["title"] == title]

    def make(rng: random.Random) -> dict[str, Any]:
        title = f"{_words(rng)} {rng.getrandbits(40)}"
        return {"title": title, "priority": rng.randint(2, 5), "labels": rng.sample(["bug", "ui", "billing", "vip"], 2)}

    parameters: dict[str, Any] = {"title": str, "priority": int, "labels": list[str]}
    return Domain("tickets in a file", make, write, find_tickets, "labels", parameters)


def prices() -> Domain:
    connect = _table("sku TEXT PRIMARY KEY, price REAL, currency TEXT, changed_at TEXT")

    def write(asked: dict[str, Any]) -> str:
        with closing(connect()) as db, db:
            values = (asked["sku"], asked["price"], asked["currency"], datetime.now(timezone.utc).isoformat())
            db.execute("INSERT OR REPLACE INTO t VALUES (?, ?, ?, ?)", values)
        return "done"

    def read_price(sku: str) -> sqlite3.Row | None:
        with closing(connect()) as db:
            row: sqlite3.Row | None = db.execute("SELECT * FROM t WHERE sku = ?", (sku,)).fetchone()
            return row

    def make(rng: random.Random) -> dict[str, Any]:
        return {
            "sku": f"K-{rng.getrandbits(40)}",
            "price": round(rng.uniform(5, 90), 2),
            "currency": rng.choice(["EUR", "USD"]),
        }

    return Domain(
        "shop prices", make, write, read_price, "price", {"sku": str, "price": float, "currency": str}, can_double=False
    )


@dataclasses.dataclass
class Event:
    title: str
    start: datetime | None
    attendees: tuple[str, ...] | None
    uid: int = 0


def calendar() -> Domain:
    events: list[Event] = []

    def write(asked: dict[str, Any]) -> dict[str, Any]:
        start = asked["start"] and datetime.fromisoformat(asked["start"])
        events.append(Event(asked["title"], start, tuple(sorted(asked["attendees"])), len(events)))
        return {"ok": True, "uid": len(events) - 1}

    async def find_events(title: str) -> list[Event]:
        await asyncio.sleep(0)
        return [event for event in events if event.title == title]

    def make(rng: random.Random) -> dict[str, Any]:
        start = datetime(2027, 1, 1, 8, tzinfo=timezone(timedelta(hours=1))) + timedelta(minutes=15 * rng.randrange(20_000))
        people = rng.sample(["Ann@x.org", "bo@x.org", "cy@x.org", "di@x.org"], 3)
        return {"title": f"{_words(rng)} {rng.getrandbits(40)}", "start": start.isoformat(), "attendees": people}

    parameters: dict[str, Any] = {"title": str, "start": str, "attendees": list[str]}
    return Domain("calendar, async", make, write, find_events, "attendees", parameters, is_async=True)


def contacts() -> Domain:
    people: dict[str, Any] = {}

    def write(asked: dict[str, Any]) -> str:
        email = asked["email"] and asked["email"].strip().lower()
        people[asked["customer_id"]] = SimpleNamespace(
            _state=object(), email=email, phone=asked["phone"], vip=int(asked["vip"]), address=json.dumps(asked["address"])
        )
        return "updated"

    async def load(customer_id: str) -> Any:
        await asyncio.sleep(0.001)
        return people[customer_id]

    def make(rng: random.Random) -> dict[str, Any]:
        address = {"street": _words(rng), "city": rng.choice(["Ulm", "Köln"])}
        phone = f"+49 30 {rng.randrange(10**6, 10**7)}"
        return {
            "customer_id": f"C{rng.getrandbits(40)}", "email": f"Jo.{rng.randrange(99)}@Example.org", "phone": phone,
            "vip": rng.random() < 0.5, "address": address,
        }  # fmt: skip

    parameters: dict[str, Any] = {"customer_id": str, "email": str, "phone": str, "vip": bool, "address": dict[str, str]}
    return Domain("contacts, async", make, write, load, "email", parameters, can_double=False, is_async=True)


def transfers() -> Domain:
    connect = _table("idempotency_key TEXT, account TEXT, amount TEXT")

    def write(asked: dict[str, Any]) -> str:
        amount = None if asked["amount"] is None else str(Decimal(str(asked["amount"])).quantize(Decimal("0.01")))
        with closing(connect()) as db, db:
            db.execute("INSERT INTO t VALUES (?, ?, ?)", (asked["idempotency_key"], asked["account"].replace(" ", ""), amount))
        return json.dumps({"state": "booked"})

    def entries(idempotency_key: str) -> list[dict[str, Any]]:
        with closing(connect()) as db:
            rows = db.execute("SELECT * FROM t WHERE idempotency_key = ?", (idempotency_key,)).fetchall()
        return [{**row, "amount": row["amount"] and Decimal(row["amount"])} for row in map(dict, rows)]

    def make(rng: random.Random) -> dict[str, Any]:
        account = f"DE{rng.randrange(10, 99)} {rng.randrange(1000, 9999)} {rng.randrange(1000, 9999)}"
        return {"idempotency_key": f"{rng.getrandbits(64):x}", "account": account, "amount": rng.randint(100, 10**6) / 100}

    return Domain("transfers", make, write, entries, "amount", {"idempotency_key": str, "account": str, "amount": float})


def mails() -> Domain:
    outbox: list[dict[str, Any]] = []

    def write(asked: dict[str, Any]) -> str:
        outbox.append({"to": ", ".join(asked["to"] or ()), "subject": asked["subject"], "body": asked["body"], "sent": True})
        return "Sent."

    def find_mails(to: list[str], subject: str) -> list[dict[str, Any]]:
        return [mail for mail in outbox if mail["subject"] == subject]

    def make(rng: random.Random) -> dict[str, Any]:
        to = [f"{rng.choice('abcd')}{rng.randrange(99)}@x.org"]
        return {"to": to, "subject": f"{_words(rng)} {rng.getrandbits(40)}", "body": "\n".join(_words(rng) for _ in range(9))}

    parameters: dict[str, Any] = {"to": list[str], "subject": str, "body": str}
    return Domain("mails", make, write, find_mails, "body", parameters)


def subscriptions() -> Domain:
    active: set[str] = set()

    def make(rng: random.Random) -> dict[str, Any]:
        active.add(number := f"S{rng.getrandbits(40)}")
        return {"subscription_id": number}

    def write(asked: dict[str, Any]) -> str:
        active.discard(asked["subscription_id"])
        return "cancelled"

    def is_cancelled(subscription_id: str) -> bool:
        return subscription_id not in active

    parameters: dict[str, Any] = {"subscription_id": str}
    return Domain("cancelled subscriptions", make, write, is_cancelled, "", parameters, can_double=False)


def documents() -> Domain:
    folder = FOLDER / "documents"
    folder.mkdir()

    def write(asked: dict[str, Any]) -> str:
        (folder / asked["name"]).write_text(f"{asked['text'] or ''}\n", encoding="utf-8")
        return f"{asked['name']} was saved"

    def read_document(name: str) -> dict[str, Any]:
        try:
            return {"text": (folder / name).read_text(encoding="utf-8"), "bytes": (folder / name).stat().st_size}
        except FileNotFoundError:
            raise LookupError(name) from None

    def make(rng: random.Random) -> dict[str, Any]:
        return {"name": f"n{rng.getrandbits(40)}.md", "text": "# Notes\n\n" + "\n".join(_words(rng) for _ in range(20))}

    return Domain("documents", make, write, read_document, "text", {"name": str, "text": str}, can_double=False)


DOMAINS = (refunds, bookings, tickets, prices, calendar, contacts, transfers, mails, subscriptions, documents)
FAULTS = ("dropped", "partial", "doubled", "late")


# -- runs


def _signature(parameters: dict[str, Any]) -> inspect.Signature:
    kinds = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind) for name, kind in parameters.items()]
    return inspect.Signature(kinds)


def _change(domain: Domain, asked: dict[str, Any], fault: str, rng: random.Random) -> Any:
    """Do, or fail to do, what the tool of a domain is asked for. Whatever happens, it answers as if all was well."""
    if fault == "dropped":
        return {"status": "ok", "id": "B-0"}
    if fault == "partial":
        return domain.write({**asked, domain.cut: _spoilt(asked[domain.cut], rng)})
    if fault in ("late", "eventual"):
        threading.Timer(LATE, domain.write, (asked,)).start()
        return {"status": "queued", "id": "B-0"}
    if fault == "doubled":
        domain.write(asked)
    return domain.write(asked)


def run(domain: Domain, rng: random.Random, fault: str = "", *, reader: Any = None, within: float | None = None) -> Trace:
    """The trace of an agent's run.

    ``fault``: of its last change; ``eventual`` is none, as it is looked at again. ``reader``: in place of the domain's own.
    """
    calls = [domain.make(rng) for _ in range(rng.randint(1, 3))]

    def change(**asked: Any) -> Any:
        return _change(domain, asked, fault if asked == calls[-1] else "", rng)

    async def change_async(**asked: Any) -> Any:
        return change(**asked)

    function: Any = change_async if domain.is_async else change
    function.__name__ = domain.name.split(",")[0].replace(" ", "_")
    function.__signature__ = _signature(domain.parameters)
    function.__annotations__ = dict(domain.parameters)
    tool: Any = llmtrace.tool(confirm=reader or domain.confirm, confirm_within=within, confirm_timeout=0.05 if reader else 5)(
        function
    )

    @llmtrace.agent
    def support(task: str) -> str:
        for number, call in enumerate(calls):
            block = {"role": "assistant", "content": None, "tool_calls": [_call(function.__name__, number, call)]}
            with llmtrace.inference("acme", model="m", messages=task) as inference:
                inference.output = block
            answers = asyncio.run(tools.arun(block)) if domain.is_async else tools.run(block)
            assert answers
        with llmtrace.inference("acme", model="m", messages=task) as inference:
            inference.output = "It is all done."
        return "It is all done."

    tools = llmtrace.Tools(tool)
    with capture(instrument=()) as captured:
        support(json.dumps(calls, ensure_ascii=False))
        while within is not None and late_receipts.count:
            time.sleep(0.01)
        if within is not None:
            time.sleep(0.02)
        trace = captured.trace
    return trace


def _call(name: str, number: int, arguments: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(arguments, ensure_ascii=False)
    return {"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": text}}


def _raises(error: BaseException) -> Callable[..., Any]:
    def reader(args: Any, result: Any) -> Any:
        raise error

    return reader


def _failing(rng: random.Random) -> Callable[..., Any]:
    """A reader that is at fault itself."""
    failures: Sequence[Callable[..., Any]] = (
        *map(
            _raises, (ConnectionError("down"), KeyError("DATABASE_URL"), IndexError("x"), PermissionError("no"), SystemExit(1))
        ),
        lambda args, result: time.sleep(0.2),
        lambda args, result: "no such thing, or so it seems",
        lambda args, result: {"unrelated": 1, "state": "paid"},
        lambda args, result: {"error": "the database is read-only"},
        lambda args, result: (1, 2),
    )
    return rng.choice(failures)


def is_found(trace: Trace) -> bool:
    """True if the last change is the first suspect, and certain."""
    prime = diagnose(trace).prime
    changes = [span for span in trace.spans if span.name.startswith("execute_tool")]
    return (
        prime is not None
        and (prime.check, prime.confidence) == ("unconfirmed_change", "certain")
        and prime.span_id == changes[-1].span_id
    )


def measure(runs: int) -> Iterator[dict[str, Any]]:
    for number, make in enumerate(DOMAINS):
        domain, rng = make(), random.Random(number)
        row: dict[str, Any] = {"domain": domain.name}
        for fault in FAULTS:
            if (fault == "doubled" and not domain.can_double) or (fault == "partial" and not domain.cut):
                continue
            traces = [run(domain, rng, fault) for _ in range(runs)]
            row[fault] = [sum(map(is_found, traces)), runs]
        good = [run(domain, rng) for _ in range(runs)]
        if domain.name != "hotel bookings":  # its reader knows a booking by the id in the answer
            good += [run(domain, rng, "eventual", within=3) for _ in range(max(1, runs // 4))]
        row["good"] = [sum(bool(diagnose(trace).marked) for trace in good), len(good)]
        failing = [run(domain, rng, reader=_failing(rng)) for _ in range(runs)]
        row["failing"] = [sum(bool(diagnose(trace).marked) for trace in failing), len(failing)]
        time.sleep(2 * LATE)  # late changes are written
        yield row


# -- cost


def cost(calls: int = 2000) -> dict[str, float]:
    """Microseconds of a call: without a reader, and what a reader that does nothing adds."""

    def change(key: str, value: int) -> str:
        return "ok"

    async def change_async(key: str, value: int) -> str:
        return "ok"

    def find(key: str) -> dict[str, Any]:
        return {"key": key, "value": 3}

    async def find_async(key: str) -> dict[str, Any]:
        return {"key": key, "value": 3}

    def timed(tool: Any) -> float:
        times = []

        async def all_calls() -> None:
            for number in range(calls):
                began = time.perf_counter()
                answer = tool(f"k{number}", 3)
                if inspect.isawaitable(answer):
                    await answer
                times.append(time.perf_counter() - began)

        with capture(instrument=(), receipt_reads=10**9), llmtrace.workflow("many"):
            asyncio.run(all_calls())
        return statistics.median(times) * 1e6

    plain, plain_async = timed(llmtrace.tool(changes=True)(change)), timed(llmtrace.tool(changes=True)(change_async))
    return {
        "a tool without a reader": plain,
        "added by a plain reader of a plain tool": timed(llmtrace.tool(confirm=find)(change)) - plain,
        "added by a plain reader of an async tool": timed(llmtrace.tool(confirm=find)(change_async)) - plain_async,
        "added by an async reader of an async tool": timed(llmtrace.tool(confirm=find_async)(change_async)) - plain_async,
    }


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--cost", action="store_true")
    options = parser.parse_args()
    if options.cost:
        figures = cost()
        lines = [(name, f"{value:.0f}") for name, value in figures.items()]
        print(json.dumps(figures) if options.json else report.table("Cost", ("median of 2000 calls", "µs"), lines))
        return
    rows = []
    for row in measure(options.runs):
        rows.append(row)
        print(f"{row['domain']} done", file=sys.stderr)
    if options.json:
        print(json.dumps(rows))
        return
    columns = (*FAULTS, "good", "failing")
    total = {name: [sum(row[name][at] for row in rows if name in row) for at in (0, 1)] for name in columns}
    body = [
        [row["domain"], *(f"{row[name][0]} of {row[name][1]}" if name in row else "–" for name in columns)]
        for row in (*rows, {"domain": "all", **total})
    ]
    head = ("domain", *(f"{fault}: found" for fault in FAULTS), "good: marked", "reader fails: marked")
    print(report.table("Receipts", head, body))
    found, planted = (sum(total[fault][at] for fault in FAULTS) for at in (0, 1))
    print(f"\nOf {planted} planted faults {found} are the first suspect and certain ({found / planted:.1%}).")


if __name__ == "__main__":
    main()
