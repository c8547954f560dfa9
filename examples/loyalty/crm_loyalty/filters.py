"""`loyalty` in `CustomerWhere`: by the points a customer has, and by how long none came or went."""

from __future__ import annotations

from core import (
    FALSE,
    Argument,
    Catalog,
    Filter,
    GivenArgument,
    InputType,
    Predicate,
    Related,
    Within,
    all_of,
    field_condition,
)

INPUT = InputType(
    "LoyaltyFilter",
    "A condition on the points of a customer; several members mean all of them, none matches nothing.",
    (
        Argument("points", "IntFilter", "Condition on how many he has."),
        Argument("idleDays", "Int", "None came or went in the last so many days."),
    ),
)


def predicate(argument: GivenArgument, catalog: Catalog) -> Predicate:
    """The customers that a `loyalty` condition means."""
    parts = [_part(name, given, catalog) for name, given in argument]
    return all_of(*parts) if parts else FALSE


def _part(name: str, given: GivenArgument, catalog: Catalog) -> Predicate:
    if given.is_null:
        return FALSE
    if name == "points":
        return field_condition(given, catalog["Customer"].fields["loyaltyPoints"])
    entries = catalog["Customer"].to_many["loyaltyEntries"]
    recent = Within(catalog["LoyaltyEntry"].fields["createdAt"], "last", "DAY", given.operand)
    return Related(entries, "none", recent)


LOYALTY = Filter("loyalty", "Condition on the customer's points.", INPUT, predicate, requires=("loyaltyPoints",))
