"""Dates: what a text says, in whatever form, and which dates follow from it."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lineage_story import Story

from llmtrace.lineage.dates import dates_in, numeric_dates, read_date

DAY = date(2031, 5, 17)


@pytest.mark.parametrize(
    "written",
    [
        "2031-05-17", "2031/05/17", "17.05.2031", "17/05/2031", "05/17/2031", "May 17, 2031", "17 May 2031", "17th of May 2031",
        "May 17th 2031", "20310517", "2031-05-17T08:30:00Z", "2031-05-17 08:30",
    ],
)  # fmt: skip
def test_every_form_of_a_date_is_read(written: str) -> None:
    assert DAY in read_date(written)


@pytest.mark.parametrize("text", ["May", "17", "12345678", "version 2.0.1", "10:30", "17/05", "2031-13-40", ""])
def test_what_is_no_date_is_none(text: str) -> None:
    assert read_date(text) == ()


@given(st.dates())
def test_day_and_month_may_stand_for_each_other(day: date) -> None:
    """Both readings are among the keys, the true one always."""
    assert f"@{day.isoformat()}" in set(numeric_dates(day.strftime("%d/%m/") + f"{day.year:04}"))
    assert f"@{day.isoformat()}" in set(numeric_dates(day.isoformat()))


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    dates_in(text)
    read_date(text)


GIVEN = [
    ("the parcel came on May 17", "2031-05-17"),
    ("it is 17 May", "2031-05-17"),
    ("see you on 17/5", "2031-05-17"),
    ("on the 17th, please", "2031-05-17"),
    ("Today is 2031-05-10. I want it tomorrow.", "2031-05-11"),
    ("Today is 2031-05-10. I want it next Friday.", "2031-05-16"),
    ("Today is 2031-05-10. In three weeks, please.", "2031-05-31"),
    ("It came on 2031-05-16, send it a bit later.", "2031-05-17"),
    ("all invoices in May", "2031-05-31"),
    ("it arrives on 2031-05-17", "May 17"),
    ("it arrives on 2031-05-17", "Monday, 17th of May"),
    ("it arrives on the 17th", "17 May"),
    ("see you on 17 May", "May 17th"),
    ("Today is 2031-12-30. I want it next Friday.", "Jan 3"),
    ("Valid from 2031-05-10 to 9999-12-31, for days", "May 12"),
]


@pytest.mark.parametrize(("said", "day"), GIVEN)
def test_a_date_that_follows_from_what_was_said_is_grounded(said: str, day: str) -> None:
    """A missing year, a day of the month, words that count from a visible date."""
    story = Story().user(said).calls("plan", {}, day=day)
    assert story.use("/day").provenance.status == "grounded"


MADE_UP = [
    ("Please send it.", "2031-05-17"),
    ("I want it tomorrow.", "2031-05-17"),
    ("Today is 2031-05-10. I want it tomorrow.", "2031-07-01"),
    ("the parcel came on May 17", "2031-06-20"),
    ("You may send it", "2031-05-31"),
    ("Please send it.", "May 17"),
    ("it arrives on 2031-05-17", "29 May"),
    ("it arrives on 2031-05-17", "Feb 29"),
]


@pytest.mark.parametrize(("said", "day"), MADE_UP)
def test_a_date_that_nothing_leads_to_is_not(said: str, day: str) -> None:
    """ "Tomorrow" without any date to count from leads nowhere."""
    story = Story().user(said).calls("plan", {}, day=day)
    assert story.use("/day").provenance.status == "ungrounded"
