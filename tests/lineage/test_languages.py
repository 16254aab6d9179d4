"""Values in languages other than English: dates by their own names, words set against a value, endings of what is no word."""

from __future__ import annotations

import pytest
from tests.lineage_story import Story

from llmtrace.lineage import Lineage
from llmtrace.lineage.claims import claims
from llmtrace.model import AgentInvocation, Message, Text

DATES = (
    *(
        "am 17. Mai 2031",
        "le 17 mai 2031",
        "el 17 de mayo de 2031",
        "il 17 maggio 2031",
        "em 17 de maio de 2031",
        "17 mei 2031",
    ),
    *("den 17. maj 2031", "17 maja 2031", "17 мая 2031 года", "17 Mayıs 2031", "2031年5月17日出发", "2031년 5월 17일에"),
    *("２０３１年５月１７日", "17. Mai", "5月17日", "5 月 17 日"),
)


@pytest.mark.parametrize("said", DATES)
@pytest.mark.parametrize("thorough", [True, False])
def test_a_date_by_the_name_of_its_month_is_grounded(said: str, thorough: bool) -> None:
    story = Story().user(f"x {said} x").calls("book", {}, day="2031-05-17").calls("book", {}, day="2031-09-28")
    made_up = [use.value for use in story.uses(thorough=thorough) if use.made_up]
    assert made_up == ["2031-09-28"]


RESULT = {"id": "ORD-52521", "amount": 812.40, "tel": "13800138000", "on": "2031-05-17", "mail": "a.b@shop.io", "sum": 1250000}
ANSWERS = {
    "您的订单ORD-52521已发货，金额812.40元，2031年5月17日到达。": ["2031年5月17日", "ORD-52521", "812.40"],
    "联系a.b@shop.io或13800138000": ["a.b@shop.io", "13800138000"],
    "ご注文ORD-52521は発送済みです。": ["ORD-52521"],
    "รหัสORD-52521ราคา812.40บาท": ["ORD-52521", "812.40"],
    "주문 ORD-52521은 812.40달러입니다": ["ORD-52521", "812.40"],
    "الطلبORD-52521 قيمته 812.40": ["ORD-52521", "812.40"],
    "共计125万元，共 125 万元，见/srv/数据/f1.csv和文件/f1.csv": [],
    "Заказ ORD-52521-го нет": ["ORD-52521-го"],
    "Tilauksen ORD-52521:n summa": ["ORD-52521:n"],
}


@pytest.mark.parametrize(("answer", "stated"), ANSWERS.items())
def test_an_answer_states_its_values_and_not_the_words_around_them(answer: str, stated: list[str]) -> None:
    assert [claim.value.text for claim in claims(answer)] == stated
    assert all(answer[claim.start : claim.end] == claim.value.text for claim in claims(answer))
    story = Story().user("?").calls("look_up", RESULT, q="x").says(answer)
    assert not [use.value for use in story.uses() if use.made_up]
    lineage = Lineage(thorough=False)
    for span in story.spans:
        lineage.add(span)
    assert lineage.unsupported(story.spans[-1], answer) == []
    assert [value.text for value in lineage.unsupported(story.spans[-1], answer.replace("52521", "88776"))] == [
        value.replace("52521", "88776") for value in stated if "52521" in value
    ]


def test_a_sentence_without_spaces_is_no_mere_word() -> None:
    """The answer that an agent composed is judged where it is a sentence."""
    story = Story().user("?").says("Hm.")
    story.span(AgentInvocation("helper", output=(Message("assistant", (Text("您的订单ORD-52521已发货。"),)),)))
    assert [use.value for use in story.uses() if use.made_up] == ["ORD-52521"]


@pytest.mark.parametrize("text", ["/", "a/", "中/", "a://", "1中", "1.", "x/y;"])
def test_an_answer_that_got_stuck_is_read_in_time_linear_in_its_length(text: str) -> None:
    """A search that begins anew at each character would take minutes."""
    assert len(list(claims(text * 50_000))) <= 1
