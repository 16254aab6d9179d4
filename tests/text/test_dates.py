"""Dates are the same where day, year and a month that is a number are the same."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmtrace.text.dates import dates_in, read_date
from llmtrace.text.matching import normalize


def stands(value: str, text: str) -> bool:
    return not set(read_date(value)).isdisjoint(key for _, _, keys in dates_in(normalize(text)) for key in keys)


TEXTS = [
    *("2031-05-17", "17.05.2031", "17. 5. 2031", "05/17/2031", "17/05/2031", "20310517", "2031/5/17", "2031-05-17T10:15:00Z"),
    *("May 17, 2031", "17 May 2031", "17th of May, 2031", "17 de mayo de 2031", "17. Mai 2031", "2031. május 17."),
    *("2031年5月17日", "2031년 5월 17일", "١٧ مايو ٢٠٣١", "17 мая 2031 г.", "１７．０５．２０３１"),
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_date_is_the_same_in_any_order_and_language(text: str) -> None:
    assert stands("2031-05-17", f"It was paid on {text}, he said.")


@pytest.mark.parametrize(
    "text", ["2031-06-17", "2031-05-18", "2032-05-17", "18 May 2031", "17", "2031", "17 people. In the year of 2031"]
)
def test_another_day_month_or_year_is_another_date(text: str) -> None:
    assert not stands("2031-05-17", text)


def test_day_and_month_may_be_read_either_way() -> None:
    assert stands("2031-05-06", "06/05/2031")
    assert stands("2031-06-05", "06/05/2031")


@pytest.mark.parametrize("text", ["2031-13-40", "KS-20418", "2031", "10:15", "12.50", "", "2031-05-17 and more"])
def test_what_is_not_a_date_as_a_whole_is_not_read_as_one(text: str) -> None:
    assert read_date(text) == ()


@given(
    st.dates(date(1900, 1, 1), date(2199, 12, 31)), st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%Y%m%d", "%d %B %Y"])
)
def test_every_day_is_found_in_every_form(day: date, form: str) -> None:
    assert stands(day.isoformat(), f"on {day.strftime(form)}.")
    assert read_date(day.strftime(form))
