"""Predicates taken apart."""

from __future__ import annotations

from core.predicate import And, Compare, Or, Predicate, all_of, alternatives, constant
from core.records import Field, Kind


def named(name: str) -> Predicate:
    return Compare(Field(name, Kind.TEXT, "A text."), "eq", constant(name))


A, B, C, D = map(named, "abcd")


def test_the_reasons_of_a_predicate_are_told_one_by_one() -> None:
    assert alternatives(A, 4) == [A]
    assert alternatives(Or((A, Or((B, C)))), 4) == [A, B, C]
    both = And((Or((A, B)), Or((C, D))))
    assert alternatives(both, 4) == [all_of(x, y) for x in (A, B) for y in (C, D)]


def test_many_reasons_are_left_together() -> None:
    both = And((Or((A, B)), Or((C, D))))
    assert alternatives(both, 3) == [both]
    assert alternatives(Or((A, both)), 3) == [A, both]
    assert alternatives(Or((A, B, C, D)), 3) == [Or((A, B, C, D))]
    # Two to the fiftieth: nobody waits for them to be counted out.
    assert alternatives(And((Or((A, B)),) * 50), 4) == [And((Or((A, B)),) * 50)]
