"""Good agents raise no warning or error and are not marked, in every language and domain, with tools traced or not."""

from __future__ import annotations

from typing import Any

import pytest
from tests.agent_run import ROOT, TRACE_ID, AgentRun

from llmtrace.diagnosis import diagnose
from llmtrace.evaluation import Evaluator
from llmtrace.model import (
    AgentInvocation,
    Evaluation,
    Failure,
    Inference,
    Message,
    Operation,
    Part,
    Span,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    ToolResult,
    Trace,
    Workflow,
    replace,
)

Step = tuple[Any, ...]


def tool(name: str, changes: bool | None = None, **properties: Any) -> ToolDefinition:
    schemas = {key: kind if isinstance(kind, dict) else {"type": kind} for key, kind in properties.items()}
    schema = {"type": "object", "properties": schemas, "required": list(properties), "additionalProperties": False}
    return ToolDefinition(name, schema, changes=changes)


def user(text: str) -> Step:
    return ("user", text)


def call(name: str, result: Any, **arguments: Any) -> Step:
    return ("call", name, arguments, result, None)


def fail(name: str, error: str, **arguments: Any) -> Step:
    return ("call", name, arguments, None, error)


def say(text: str) -> Step:
    return ("say", text)


def play(tools: tuple[ToolDefinition, ...], steps: tuple[Step, ...], *, traced: bool) -> list[Span]:
    """The spans of an agent that takes these steps, its own span last."""
    run = AgentRun(*tools, system="You help customers, and you never guess.", traced=traced)
    for kind, text, *details in steps:
        if kind == "user":
            run.user(text)
        elif kind == "say":
            run.answer(text)
        else:
            arguments, result, error = details
            failure = Failure("RuntimeError", f"Error: {error}") if error is not None else None
            run.calls((text, arguments, result), failure=failure)
    return [*run.spans, run.trace().root]


def evaluations(spans: list[Span]) -> list[Evaluation]:
    evaluator = Evaluator()
    state = evaluator.start()
    judged = [evaluator.step(state, span, outermost=span.parent_id is None) for span in spans]
    return [evaluation for span in judged for evaluation in span.evaluations]


AGENTS: dict[str, tuple[tuple[ToolDefinition, ...], tuple[Step, ...]]] = {
    # -- English
    "a parcel is polled until it has arrived": (
        (tool("get_parcel_status", parcel="string"),),
        (
            user("Tell me when parcel PX-88120 is there."),
            *[call("get_parcel_status", {"state": "on the way"}, parcel="PX-88120")] * 4,
            call("get_parcel_status", {"state": "delivered", "at": "14:05"}, parcel="PX-88120"),
            say("Parcel PX-88120 was delivered at 14:05."),
        ),
    ),
    "a table is booked at another time": (
        (tool("book_table", True, time="string", guests="integer"),),
        (
            user("A table for 4 at 19:00, or half an hour later."),
            fail("book_table", "no table is free at this time", time="19:00", guests=4),
            call("book_table", {"booking": "B-7731"}, time="19:30", guests=4),
            say("Your table for 4 is booked at 19:30, number B-7731."),
        ),
    ),
    "another coffee is ordered": (
        (tool("order_coffee", True, kind="string"),),
        (
            user("A flat white, please."),
            call("order_coffee", {"order": "C-1"}, kind="flat white"),
            say("Your flat white is on its way."),
            user("Another one for my colleague!"),
            call("order_coffee", {"order": "C-2"}, kind="flat white"),
            say("A second flat white is on its way."),
        ),
    ),
    "no flight is found, and the user is told": (
        (tool("search_flights", start="string", to="string", day="string"),),
        (
            user("Is there a direct flight from Bristol to Reykjavik on 3 March 2031?"),
            call("search_flights", [], start="BRS", to="KEF", day="2031-03-03"),
            call("search_flights", [], start="BRS", to="RKV", day="2031-03-03"),
            say("I found no direct flight on that day. Shall I look at the days around it?"),
        ),
    ),
    "a program is repaired": (
        (tool("run_tests"), tool("edit_file", path="string", text="string"), tool("read_file", path="string")),
        (
            user("Make the tests pass."),
            call("run_tests", {"passed": 11, "failed": 1}),
            call("read_file", "def add(a, b):\n    return a - b", path="sums.py"),
            call("edit_file", {"saved": True}, path="sums.py", text="def add(a, b):\n    return a + b"),
            call("run_tests", {"passed": 12, "failed": 0}),
            say("All 12 tests pass. `add` subtracted; it adds now."),
        ),
    ),
    # -- German
    "eine Lieferung wird verfolgt": (
        (tool("sendung_status_wait", nummer="string"),),
        (
            user("Sag Bescheid, wenn die Sendung DE-40177-X da ist."),
            *[call("sendung_status_wait", "unterwegs", nummer="DE-40177-X")] * 3,
            call("sendung_status_wait", "zugestellt", nummer="DE-40177-X"),
            say("Die Sendung DE-40177-X ist zugestellt."),
        ),
    ),
    "ein Buch wird nicht gefunden": (
        (tool("katalog_suchen", titel="string"),),
        (
            user("Habt ihr „Die Vermessung der Vögel“?"),
            call("katalog_suchen", {"treffer": []}, titel="Die Vermessung der Vögel"),
            say("Leider finde ich das Buch nicht in unserem Katalog."),
        ),
    ),
    # -- French
    "un médicament manque, et on le dit": (
        (tool("vérifier_stock", produit="string"),),
        (
            user("Avez-vous du sirop de thym ?"),
            fail("vérifier_stock", "produit inconnu", produit="sirop de thym"),
            say("Malheureusement, ce produit est introuvable chez nous."),
        ),
    ),
    "une commande est annulée": (
        (tool("lire_commande", numéro="string"), tool("annuler_commande", True, numéro="string")),
        (
            user("Annulez ma commande FR-20931."),
            call("lire_commande", {"numéro": "FR-20931", "état": "en préparation"}, numéro="FR-20931"),
            say("Elle est encore en préparation. Je l'annule ?"),
            user("Oui."),
            call("annuler_commande", {"annulée": "FR-20931"}, numéro="FR-20931"),
            say("La commande FR-20931 est annulée."),
        ),
    ),
    # -- Spanish
    "una receta sin resultado": (
        (tool("buscar_receta", ingrediente="string"),),
        (
            user("¿Qué puedo hacer con salicornia?"),
            call("buscar_receta", {"total": 0, "recetas": []}, ingrediente="salicornia"),
            say("Lo siento, no encontré ninguna receta con salicornia."),
        ),
    ),
    "se suman dos facturas": (
        (tool("leer_factura", factura="string"),),
        (
            user("¿Cuánto suman las facturas FA-1201 y FA-1202?"),
            call("leer_factura", {"importe": 120.5}, factura="FA-1201"),
            call("leer_factura", {"importe": 79.5}, factura="FA-1202"),
            say("Suman 200 euros: 120,50 más 79,50."),
        ),
    ),
    # -- Japanese
    "ホテルを探し直す": (
        (tool("search_hotels", 都市="string", 上限="integer"),),
        (
            user("札幌で1万円以下のホテルはありますか。"),
            call("search_hotels", [], 都市="札幌", 上限=10000),
            call("search_hotels", [{"名前": "北のやど", "料金": 11800}], 都市="札幌", 上限=12000),
            say("1万円以下は見つかりませんでしたが、「北のやど」が11800円です。"),
        ),
    ),
    "天気を二つの方法で調べる": (
        (tool("get_weather", 都市="string"), tool("get_forecast", 都市="string")),
        (
            user("那覇の天気は。"),
            fail("get_weather", "service unavailable", 都市="那覇"),
            call("get_forecast", {"天気": "晴れ", "気温": 28}, 都市="那覇"),
            say("那覇は晴れ、28度です。"),
        ),
    ),
    "会員の住所を変える": (
        (tool("find_member", 電話="string"), tool("update_address", True, 会員="string", 住所="string")),
        (
            user("電話 090-5550-1234 です。住所を横浜市中区1-2に変えてください。"),
            call("find_member", {"会員": "MB-7719"}, 電話="090-5550-1234"),
            call("update_address", {"結果": "完了"}, 会員="MB-7719", 住所="横浜市中区1-2"),
            say("会員 MB-7719 の住所を変更しました。"),
        ),
    ),
    # -- Chinese
    "再买一张票": (
        (tool("buy_ticket", True, 场次="string"),),
        (
            user("买一张场次 MV-118 的票。"),
            call("buy_ticket", {"座位": "5排6座"}, 场次="MV-118"),
            say("已购票：5排6座。"),
            user("再买一张。"),
            call("buy_ticket", {"座位": "5排7座"}, 场次="MV-118"),
            say("已再购一张：5排7座。"),
        ),
    ),
    "查不到车次": (
        (tool("query_trains", 出发="string", 到达="string"),),
        (
            user("今晚从拉萨到林芝还有车吗？"),
            call("query_trains", {"车次": []}, 出发="拉萨", 到达="林芝"),
            say("抱歉，今晚没有车次了，未找到可买的票。"),
        ),
    ),
}


AGENTS |= {
    "a key is pressed five times": (
        (tool("press_key", key="string"), tool("read_screen")),
        (
            user("Log me in: five tabs, then Enter."),
            *(call("press_key", None, key="Tab") for _ in range(5)),
            call("press_key", None, key="Enter"),
            call("read_screen", "Welcome back."),
            say("You are logged in."),
        ),
    ),
    "the first lines of a file": (
        (tool("bash", command="string"),),
        (
            user("Which version is this?"),
            call("bash", '{\n  "name": "shop-2044",\n  "version": "4.17.2",\n', command="head -n 3 package.json"),
            say("shop-2044 is at 4.17.2."),
        ),
    ),
    "a file is changed by another tool": (
        (tool("edit_file", path="string", old="string", new="string"), tool("bash", command="string")),
        (
            user("End the lines of run.sh as on Linux."),
            fail("edit_file", "String to replace not found", path="/app/run.sh", old="\r\n", new="\n"),
            call("bash", "", command="sed -i 's/\\r$//' /app/run.sh"),
            say("Done."),
        ),
    ),
    "新しい鍵": (
        (tool("メモ作成", メモID="string", 内容="string"),),
        (
            user("メモ: 牛乳を買う"),
            call("メモ作成", {"ok": True}, メモID="0b54e2a7-61c3-4f5e-8d0a-91f27c3b6e48", 内容="牛乳を買う"),
            say("作成しました。"),
        ),
    ),
    "eine Lizenz ist abgelaufen": (
        (tool("lizenz_prüfen", lizenz="string"),),
        (
            user("Ist die Lizenz LIC-5521 gültig?"),
            call("lizenz_prüfen", {"ok": False, "grund": "abgelaufen"}, lizenz="LIC-5521"),
            say("Nein, sie ist abgelaufen."),
        ),
    ),
}

FAILED_LOOKUPS = ("un médicament manque, et on le dit",)


@pytest.mark.parametrize("traced", [True, False], ids=["traced", "messages only"])
@pytest.mark.parametrize("name", AGENTS)
def test_a_good_agent_raises_no_alarm(name: str, traced: bool) -> None:
    """Neither on a step nor on the run, but for the lookup that failed for good."""
    tools, steps = AGENTS[name]
    spans = play(tools, steps, traced=traced)
    alarms = [evaluation for evaluation in evaluations(spans) if evaluation.severity != "info"]
    assert [alarm.label for alarm in alarms] == (["never_succeeded"] if name in FAILED_LOOKUPS else [])


@pytest.mark.parametrize("traced", [True, False], ids=["traced", "messages only"])
@pytest.mark.parametrize("name", AGENTS)
def test_a_good_agent_is_not_marked(name: str, traced: bool) -> None:
    """But for a lookup that failed for good: that is what the record proves, whatever the answer makes of it."""
    tools, steps = AGENTS[name]
    marks = diagnose(Trace(play(tools, steps, traced=traced))).marked
    assert [suspect.check for suspect in marks] == (["failed_tool"] if name in FAILED_LOOKUPS else [])


def side_by_side(count: int, *, ids: bool) -> list[Span]:
    """The spans of agents that run the same three calls at the same time, each for its own task, below one workflow."""
    look_up, policy = tool("look_up", customer="string"), tool("read_policy", topic="string")
    runs = []
    for number in range(count):
        run = AgentRun(look_up, policy)
        run.user(f"Task {number}: which order of Ada can be refunded?")
        run.call("look_up", {"order": "O-10042"}, customer="Ada").call("read_policy", "Up to 50 EUR.", topic="refunds")
        run.answer("Order O-10042.")
        runs.append(run.spans)
    spans: list[Span] = []
    for step, together in enumerate(zip(*runs, strict=True)):
        for number, span in enumerate(together):
            begin = step * 100 + number
            operation = renamed_calls(span.operation, number if ids else None)
            place = {"span_id": f"{len(spans) + 1:016x}", "parent_id": agent_id(number), "sequence": len(spans)}
            spans.append(replace(span, **place, start=begin, end=begin + 50, operation=operation))
    agents = [(agent_id(number), ROOT, AgentInvocation("worker")) for number in range(count)]
    for span_id, parent_id, operation in (*agents, (ROOT, None, Workflow("fan out"))):
        place = {"parent_id": parent_id, "run_id": TRACE_ID, "sequence": len(spans)}
        spans.append(Span(TRACE_ID, span_id, operation.name or "", 0, 1000, operation=operation, **place))
    return spans


def agent_id(number: int) -> str:
    return f"{number + 1:08x}{'0' * 8}"


def renamed_calls(operation: Operation, number: int | None) -> Operation:
    """The operation with call ids that no other agent has, or without ids."""

    def part(old: Part) -> Part:
        if not isinstance(old, (ToolCall, ToolResult)):
            return old
        return replace(old, id=None if number is None else f"{old.id}_{number}")

    def messages(old: tuple[Message, ...]) -> tuple[Message, ...]:
        return tuple(replace(message, parts=tuple(map(part, message.parts)), cache={}) for message in old)

    if isinstance(operation, ToolExecution):
        return replace(operation, call_id=None if number is None else f"{operation.call_id}_{number}")
    assert isinstance(operation, Inference)
    return replace(operation, input=messages(operation.input), output=messages(operation.output))


@pytest.mark.parametrize("ids", [True, False], ids=["with ids", "without ids"])
def test_agents_side_by_side_do_not_repeat_each_other(ids: bool) -> None:
    """Equal calls of several agents are no loop: none of them has seen the result of another."""
    spans = side_by_side(4, ids=ids)
    assert [evaluation for evaluation in evaluations(spans) if evaluation.severity != "info"] == []
    assert [suspect.title for suspect in diagnose(Trace(spans)).marked] == []


def test_another_try_at_the_same_task_repeats_nothing() -> None:
    """A program that asks the same question anew each time, and compares the answers, loses no message and makes no loop."""
    spans: list[Span] = []
    for number in range(4):
        run = AgentRun(tool("look_up", customer="string"))
        run.user("Which order of Ada can be refunded?").call("look_up", {"order": "O-10042"}, customer="Ada")
        for span in run.answer("Order O-10042.").spans:
            step, operation = len(spans), renamed_calls(span.operation, number)
            place = {"span_id": f"{step + 1:016x}", "sequence": step, "start": step * 10 + 1, "end": step * 10 + 9}
            spans.append(replace(span, **place, operation=operation))
    end = len(spans) * 10 + 10
    root = Span(TRACE_ID, ROOT, "vote", 0, end, operation=Workflow("vote"), run_id=TRACE_ID, sequence=len(spans))
    spans.append(root)
    assert [evaluation for evaluation in evaluations(spans) if evaluation.severity != "info"] == []
    assert [suspect.title for suspect in diagnose(Trace(spans)).marked] == []
