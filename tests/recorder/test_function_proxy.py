"""A decorated function is copied and printed as the function itself."""

from __future__ import annotations

import copy

import llmtrace


class Desk:
    def __init__(self) -> None:
        self.answers = ["first"]

    @llmtrace.agent
    def support(self) -> str:
        return self.answers[-1]


def test_a_copied_method_belongs_to_the_copied_object() -> None:
    """As with a plain method: the copy does not see what changes in the first object."""
    desk = Desk()
    copied = copy.deepcopy(desk.support)
    desk.answers.append("second")
    assert (desk.support(), copied()) == ("second", "first")


def test_the_repr_is_the_functions() -> None:
    assert repr(Desk.support) == repr(Desk.__dict__["support"].__wrapped__)
    assert repr(Desk().support).startswith("<bound method Desk.support of ")
