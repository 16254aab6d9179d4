"""Good agents raise no warning or error and are not marked, in every language and domain, with tools traced or not."""

from __future__ import annotations

from typing import Any

import pytest
from signal_cases import evaluate
from tests.agent_run import AgentRun

from llmtrace.diagnosis import diagnose
from llmtrace.model import Failure, Span, ToolDefinition, Trace

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


def play(name: str, *, traced: bool) -> list[Span]:
    """The spans of the agent of this name, its own span last."""
    tools, *steps = AGENTS[name]
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


AGENTS: dict[str, tuple[Any, ...]] = {
    # -- English
    "a parcel is polled until it has arrived": (
        (tool("get_parcel_status", parcel="string"),),
        user("Tell me when parcel PX-88120 is there."),
        *[call("get_parcel_status", {"state": "on the way"}, parcel="PX-88120")] * 4,
        call("get_parcel_status", {"state": "delivered", "at": "14:05"}, parcel="PX-88120"),
        say("Parcel PX-88120 was delivered at 14:05."),
    ),
    "a table is booked at another time": (
        (tool("book_table", True, time="string", guests="integer"),),
        user("A table for 4 at 19:00, or half an hour later."),
        fail("book_table", "no table is free at this time", time="19:00", guests=4),
        call("book_table", {"booking": "B-7731"}, time="19:30", guests=4),
        say("Your table for 4 is booked at 19:30, number B-7731."),
    ),
    "another coffee is ordered": (
        (tool("order_coffee", True, kind="string"),),
        user("A flat white, please."),
        call("order_coffee", {"order": "C-1"}, kind="flat white"),
        say("Your flat white is on its way."),
        user("Another one for my colleague!"),
        call("order_coffee", {"order": "C-2"}, kind="flat white"),
        say("A second flat white is on its way."),
    ),
    "no flight is found, and the user is told": (
        (tool("search_flights", start="string", to="string", day="string"),),
        user("Is there a direct flight from Bristol to Reykjavik on 3 March 2031?"),
        call("search_flights", [], start="BRS", to="KEF", day="2031-03-03"),
        call("search_flights", [], start="BRS", to="RKV", day="2031-03-03"),
        say("I found no direct flight on that day. Shall I look at the days around it?"),
    ),
    "a program is repaired": (
        (tool("run_tests"), tool("edit_file", path="string", text="string"), tool("read_file", path="string")),
        user("Make the tests pass."),
        call("run_tests", {"passed": 11, "failed": 1}),
        call("read_file", "def add(a, b):\n    return a - b", path="sums.py"),
        call("edit_file", {"saved": True}, path="sums.py", text="def add(a, b):\n    return a + b"),
        call("run_tests", {"passed": 12, "failed": 0}),
        say("All 12 tests pass. `add` subtracted; it adds now."),
    ),
    # -- German
    "eine Lieferung wird verfolgt": (
        (tool("sendung_status_wait", nummer="string"),),
        user("Sag Bescheid, wenn die Sendung DE-40177-X da ist."),
        *[call("sendung_status_wait", "unterwegs", nummer="DE-40177-X")] * 3,
        call("sendung_status_wait", "zugestellt", nummer="DE-40177-X"),
        say("Die Sendung DE-40177-X ist zugestellt."),
    ),
    "ein Buch wird nicht gefunden": (
        (tool("katalog_suchen", titel="string"),),
        user("Habt ihr „Die Vermessung der Vögel“?"),
        call("katalog_suchen", {"treffer": []}, titel="Die Vermessung der Vögel"),
        say("Leider finde ich das Buch nicht in unserem Katalog."),
    ),
    "die Heizung wird in zwei Räumen gestellt": (
        (tool("set_temperature", raum="string", grad="number"),),
        user("Bitte 21 Grad im Bad und in der Küche."),
        call("set_temperature", {"ok": True}, raum="Bad", grad=21),
        call("set_temperature", {"ok": True}, raum="Küche", grad=21),
        say("In Bad und Küche sind jetzt 21 Grad eingestellt."),
    ),
    "ein Termin wird nach einer Störung gebucht": (
        (tool("termine_lesen", arzt="string"), tool("termin_buchen", True, termin="string")),
        user("Einen Termin bei Dr. Seidel, so früh wie möglich."),
        fail("termine_lesen", "der Dienst antwortet nicht", arzt="Seidel"),
        call("termine_lesen", [{"termin": "T-2201", "um": "8:40"}], arzt="Seidel"),
        call("termin_buchen", {"gebucht": "T-2201"}, termin="T-2201"),
        say("Gebucht: 8:40 Uhr bei Dr. Seidel."),
    ),
    "noch eine Fahrkarte": (
        (tool("kaufe_karte", True, zone="string"),),
        user("Eine Karte für Zone B."),
        call("kaufe_karte", {"karte": "K-901"}, zone="B"),
        say("Hier ist die Karte K-901."),
        user("Und noch eine für meine Tochter."),
        call("kaufe_karte", {"karte": "K-902"}, zone="B"),
        say("Die zweite Karte ist K-902."),
    ),
    # -- French
    "une impression est suivie": (
        (tool("poll_print_job", travail="string"),),
        user("Préviens-moi quand le travail IMP-5512 est fini."),
        *[call("poll_print_job", {"état": "en cours"}, travail="IMP-5512")] * 5,
        call("poll_print_job", {"état": "fini", "pages": 40}, travail="IMP-5512"),
        say("Le travail IMP-5512 est fini : 40 pages."),
    ),
    "un médicament manque, et on le dit": (
        (tool("vérifier_stock", produit="string"),),
        user("Avez-vous du sirop de thym ?"),
        fail("vérifier_stock", "produit inconnu", produit="sirop de thym"),
        say("Malheureusement, ce produit est introuvable chez nous."),
    ),
    "deux musées sont comparés": (
        (tool("chercher_musée", nom="string"),),
        user("Quel musée ferme plus tard, Orsay ou Rodin ?"),
        call("chercher_musée", {"fermeture": "18:00"}, nom="Orsay"),
        call("chercher_musée", {"fermeture": "18:30"}, nom="Rodin"),
        say("Le musée Rodin ferme une demi-heure plus tard, à 18:30."),
    ),
    "une commande est annulée": (
        (tool("lire_commande", numéro="string"), tool("annuler_commande", True, numéro="string")),
        user("Annulez ma commande FR-20931."),
        call("lire_commande", {"numéro": "FR-20931", "état": "en préparation"}, numéro="FR-20931"),
        say("Elle est encore en préparation. Je l'annule ?"),
        user("Oui."),
        call("annuler_commande", {"annulée": "FR-20931"}, numéro="FR-20931"),
        say("La commande FR-20931 est annulée."),
    ),
    "un message est envoyé à deux personnes": (
        (tool("trouver_contact", nom="string"), tool("envoyer_message", True, à="string", texte="string")),
        user("Dis à Léa et à Marc que je serai en retard."),
        call("trouver_contact", {"courriel": "lea@exemple.fr"}, nom="Léa"),
        call("trouver_contact", {"courriel": "marc@exemple.fr"}, nom="Marc"),
        call("envoyer_message", {"ok": True}, à="lea@exemple.fr", texte="Je serai en retard."),
        call("envoyer_message", {"ok": True}, à="marc@exemple.fr", texte="Je serai en retard."),
        say("C'est fait : Léa et Marc sont prévenus."),
    ),
    # -- Spanish
    "un taxi, y otro": (
        (tool("pedir_taxi", True, lugar="string"),),
        user("Un taxi a la Plaza Mayor."),
        call("pedir_taxi", {"taxi": "TX-31"}, lugar="Plaza Mayor"),
        say("El taxi TX-31 llega en cinco minutos."),
        user("Somos siete, pide otro."),
        call("pedir_taxi", {"taxi": "TX-32"}, lugar="Plaza Mayor"),
        say("También viene el TX-32."),
    ),
    "una receta sin resultado": (
        (tool("buscar_receta", ingrediente="string"),),
        user("¿Qué puedo hacer con salicornia?"),
        call("buscar_receta", {"total": 0, "recetas": []}, ingrediente="salicornia"),
        say("Lo siento, no encontré ninguna receta con salicornia."),
    ),
    "se espera a que acabe la copia": (
        (tool("backup_progress", disco="string"),),
        user("Avísame cuando acabe la copia del disco DSK-7A10."),
        *[call("backup_progress", {"porcentaje": 40}, disco="DSK-7A10")] * 3,
        call("backup_progress", {"porcentaje": 100}, disco="DSK-7A10"),
        say("La copia del disco DSK-7A10 ha terminado."),
    ),
    "se suman dos facturas": (
        (tool("leer_factura", factura="string"),),
        user("¿Cuánto suman las facturas FA-1201 y FA-1202?"),
        call("leer_factura", {"importe": 120.5}, factura="FA-1201"),
        call("leer_factura", {"importe": 79.5}, factura="FA-1202"),
        say("Suman 200 euros: 120,50 más 79,50."),
    ),
    "se cambia una reserva": (
        (tool("leer_reserva", código="string"), tool("cambiar_reserva", True, código="string", noches="integer")),
        user("Quiero quedarme 3 noches, mi reserva es RSV-4410."),
        call("leer_reserva", {"código": "RSV-4410", "noches": 2}, código="RSV-4410"),
        fail("cambiar_reserva", "la reserva está bloqueada un momento", código="RSV-4410", noches=3),
        call("cambiar_reserva", {"ok": True}, código="RSV-4410", noches=3),
        say("Su reserva RSV-4410 es ahora de 3 noches."),
    ),
    # -- Japanese
    "ホテルを探し直す": (
        (tool("search_hotels", 都市="string", 上限="integer"),),
        user("札幌で1万円以下のホテルはありますか。"),
        call("search_hotels", [], 都市="札幌", 上限=10000),
        call("search_hotels", [{"名前": "北のやど", "料金": 11800}], 都市="札幌", 上限=12000),
        say("1万円以下は見つかりませんでしたが、「北のやど」が11800円です。"),
    ),
    "荷物の到着を待つ": (
        (tool("track_package", 番号="string"),),
        user("荷物 JP-66012 が届いたら教えて。"),
        *[call("track_package", "配送中", 番号="JP-66012")] * 3,
        call("track_package", "配達完了", 番号="JP-66012"),
        say("荷物 JP-66012 は配達が完了しました。"),
    ),
    "席をもう一つ予約する": (
        (tool("reserve_seat", True, 公演="string"),),
        user("公演 EV-3020 の席を一つお願いします。"),
        call("reserve_seat", {"席": "A-11"}, 公演="EV-3020"),
        say("席 A-11 を予約しました。"),
        user("もう一つお願いします。"),
        call("reserve_seat", {"席": "A-12"}, 公演="EV-3020"),
        say("席 A-12 も予約しました。"),
    ),
    "天気を二つの方法で調べる": (
        (tool("get_weather", 都市="string"), tool("get_forecast", 都市="string")),
        user("那覇の天気は。"),
        fail("get_weather", "service unavailable", 都市="那覇"),
        call("get_forecast", {"天気": "晴れ", "気温": 28}, 都市="那覇"),
        say("那覇は晴れ、28度です。"),
    ),
    "会員の住所を変える": (
        (tool("find_member", 電話="string"), tool("update_address", True, 会員="string", 住所="string")),
        user("電話 090-5550-1234 です。住所を横浜市中区1-2に変えてください。"),
        call("find_member", {"会員": "MB-7719"}, 電話="090-5550-1234"),
        call("update_address", {"結果": "完了"}, 会員="MB-7719", 住所="横浜市中区1-2"),
        say("会員 MB-7719 の住所を変更しました。"),
    ),
    # -- Chinese
    "等待退款完成": (
        (tool("refund_status", 单号="string"),),
        user("退款 RF-90233 到账了吗？等到账再告诉我。"),
        *[call("refund_status", {"状态": "处理中"}, 单号="RF-90233")] * 4,
        call("refund_status", {"状态": "已到账", "金额": 58.0}, 单号="RF-90233"),
        say("退款 RF-90233 已到账，金额 58 元。"),
    ),
    "再买一张票": (
        (tool("buy_ticket", True, 场次="string"),),
        user("买一张场次 MV-118 的票。"),
        call("buy_ticket", {"座位": "5排6座"}, 场次="MV-118"),
        say("已购票：5排6座。"),
        user("再买一张。"),
        call("buy_ticket", {"座位": "5排7座"}, 场次="MV-118"),
        say("已再购一张：5排7座。"),
    ),
    "查不到车次": (
        (tool("query_trains", 出发="string", 到达="string"),),
        user("今晚从拉萨到林芝还有车吗？"),
        call("query_trains", {"车次": []}, 出发="拉萨", 到达="林芝"),
        say("抱歉，今晚没有车次了，未找到可买的票。"),
    ),
    "先查再下单": (
        (tool("search_goods", 关键词="string"), tool("create_order", True, 商品="string", 数量="integer")),
        user("买两袋茉莉花茶。"),
        call("search_goods", [{"商品": "TEA-5501", "名称": "茉莉花茶", "单价": 36}], 关键词="茉莉花茶"),
        call("create_order", {"订单": "CN-77120", "合计": 72}, 商品="TEA-5501", 数量=2),
        say("已下单 CN-77120，两袋共 72 元。"),
    ),
    "重试一次成功": (
        (tool("translate_text", 文本="string"),),
        user("把“早上好”翻译成英文。"),
        fail("translate_text", "timeout", 文本="早上好"),
        call("translate_text", "Good morning", 文本="早上好"),
        say("英文是 Good morning。"),
    ),
    # -- of every kind
    "a key is pressed five times": (
        (tool("press_key", key="string"), tool("read_screen")),
        user("Log me in: five tabs, then Enter."),
        *(call("press_key", None, key="Tab") for _ in range(5)),
        call("press_key", None, key="Enter"),
        call("read_screen", "Welcome back."),
        say("You are logged in."),
    ),
    "the first lines of a file": (
        (tool("bash", command="string"),),
        user("Which version is this?"),
        call("bash", '{\n  "name": "shop-2044",\n  "version": "4.17.2",\n', command="head -n 3 package.json"),
        say("shop-2044 is at 4.17.2."),
    ),
    "a file is changed by another tool": (
        (tool("edit_file", path="string", old="string", new="string"), tool("bash", command="string")),
        user("End the lines of run.sh as on Linux."),
        fail("edit_file", "String to replace not found", path="/app/run.sh", old="\r\n", new="\n"),
        call("bash", "", command="sed -i 's/\\r$//' /app/run.sh"),
        say("Done."),
    ),
    "新しい鍵": (
        (tool("メモ作成", メモID="string", 内容="string"),),
        user("メモ: 牛乳を買う"),
        call("メモ作成", {"ok": True}, メモID="0b54e2a7-61c3-4f5e-8d0a-91f27c3b6e48", 内容="牛乳を買う"),
        say("作成しました。"),
    ),
    "eine Lizenz ist abgelaufen": (
        (tool("lizenz_prüfen", lizenz="string"),),
        user("Ist die Lizenz LIC-5521 gültig?"),
        call("lizenz_prüfen", {"ok": False, "grund": "abgelaufen"}, lizenz="LIC-5521"),
        say("Nein, sie ist abgelaufen."),
    ),
}

FAILED_LOOKUPS = ("un médicament manque, et on le dit",)


@pytest.mark.parametrize("traced", [True, False], ids=["traced", "messages only"])
@pytest.mark.parametrize("name", AGENTS)
def test_a_good_agent_raises_no_alarm(name: str, traced: bool) -> None:
    found = [evaluation for span in evaluate(play(name, traced=traced)) for evaluation in span.evaluations]
    assert [evaluation for evaluation in found if evaluation.severity != "info"] == []


@pytest.mark.parametrize("traced", [True, False], ids=["traced", "messages only"])
@pytest.mark.parametrize("name", AGENTS)
def test_a_good_agent_is_not_marked(name: str, traced: bool) -> None:
    """But for a lookup that failed for good: that is what the record proves, whatever the answer makes of it."""
    marks = diagnose(Trace(play(name, traced=traced))).marked
    assert [suspect.check for suspect in marks] == (["never_succeeded"] if name in FAILED_LOOKUPS else [])
