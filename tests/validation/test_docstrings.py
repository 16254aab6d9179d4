"""Docstrings in the three usual styles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmtrace.validation.docstrings import parse_docstring

GOOGLE = """Look up an order.

    Works for old orders: too.

    Args:
        order_id (str): The id,
            such as #W1: with a hash.
        limit: How many.
        **options: More.
            indented: no parameter

    Returns:
        dict: the order
    """
NUMPY = """
    Look up an order.

    Works for old orders: too.

    Parameters
    ----------
    order_id : str
        The id,
        such as #W1: with a hash.
    limit, other : int, optional
        How many.
    **options
        More.
        indented: no parameter

    Returns
    -------
    dict
        the order
    """
REST = """Look up an order.

    Works for old orders: too.

    :param str order_id: The id,
        such as #W1: with a hash.
    :param limit: How many.
    :type limit: int
    :param options: More.
        indented: no parameter
    :returns: the order
    """


@pytest.mark.parametrize("text", [GOOGLE, NUMPY, REST], ids=["Google", "NumPy", "reST"])
def test_styles(text: str) -> None:
    """The description is what comes before the first section; each parameter's text is one line."""
    found = parse_docstring(text)
    assert found.description == "Look up an order.\n\nWorks for old orders: too."
    assert found.parameters["order_id"] == "The id, such as #W1: with a hash."
    assert found.parameters["limit"] == "How many."
    assert found.parameters["options"] == "More. indented: no parameter"
    assert set(found.parameters) <= {"order_id", "limit", "other", "options"}


@pytest.mark.parametrize(
    ("text", "description"),
    [
        (None, ""),
        ("", ""),
        ("One line.", "One line."),
        ("A list:\n\n- one\n- two", "A list:\n\n- one\n- two"),
        ("Note: this is prose.\nArgs is a word.", "Note: this is prose.\nArgs is a word."),
        ("Sum.\n\nExamples:\n    >>> f()\n    1\n", "Sum."),
        ("Sum.\n\nRaises:\n    ValueError: if\n\nMore prose after it.", "Sum."),
    ],
)
def test_the_rest_is_description(text: str | None, description: str) -> None:
    """What is in none of the styles is description; sections that are not of parameters are left out."""
    assert parse_docstring(text) == type(parse_docstring(None))(description, {})


@given(st.text(" \n:-*aArgsParameters()`", max_size=60) | st.text(max_size=40))
def test_reading_never_raises(text: str) -> None:
    """Any text is read."""
    parse_docstring(text)
