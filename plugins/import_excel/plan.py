"""What is to be done with a file: which column goes where, and how rows meet customers that exist."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from core import Policy, Refused, UserError, text
from plugins.import_excel.faults import PACKAGE
from plugins.import_excel.targets import GROUP, OWNER, Goal, goals

PATH = ("input", "columns")


@dataclass(frozen=True, slots=True)
class Column:
    """One mapped column: its place in the file, counted from 0, and what is asked of it.

    `check` is “check duplicates by this”, `required` that the cell must not be blank, `clear` that a blank one clears
    the field.
    """

    index: int
    goal: Goal
    header: str = ""
    check: bool = False
    required: bool = False
    clear: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """A mapping that was checked. `key` is the field by which customers are found in mode OVERWRITE."""

    mode: str
    columns: tuple[Column, ...]
    key: str = "code"
    tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    mine: bool = False

    @property
    def overwrites(self) -> bool:
        """Whether customers that exist are changed."""
        return self.mode == "OVERWRITE"

    def column(self, goal: str) -> Column | None:
        """The column that is mapped to a goal."""
        return next((c for c in self.columns if c.goal.name == goal), None)

    @property
    def checked(self) -> tuple[Column, ...]:
        """The columns by which duplicates are looked for: those chosen, the key, and the code in any case."""
        keys = {"code"} | ({self.key} if self.overwrites else set())
        return tuple(c for c in self.columns if c.check or c.goal.name in keys)


def fingerprint(file_hash: str, sheet: str, plan: Mapping[str, Any]) -> str:
    """Equal for imports that would do the same: one file, one mapping, one mode."""
    return hashlib.sha256(
        f"{file_hash}\n{sheet}\n".encode() + orjson.dumps(plan, option=orjson.OPT_SORT_KEYS)
    ).hexdigest()


def read(stored: Mapping[str, Any], found: Mapping[str, Any], policy: Policy, locale: str) -> Plan:
    """A plan from its JSON, checked against the file's columns and what the actor may write. Raises Refused."""
    known = goals(policy)
    errors: list[UserError] = []
    columns: list[Column] = []
    taken: dict[str, int] = {}
    headers = {c["index"]: c for c in found["columns"]}
    for i, given in enumerate(stored["columns"]):
        index, name = given["column"], given.get("target")
        if not name:
            continue
        goal = known.get(name)
        if index not in headers:
            errors.append(_error(locale, (*PATH, i, "column"), "NO_SUCH_COLUMN", column=index))
        elif goal is None:
            errors.append(_error(locale, (*PATH, i, "target"), "NO_SUCH_TARGET", target=name))
        elif name in taken:
            errors.append(_error(locale, (*PATH, i, "target"), "TARGET_TWICE", target=_label(goal, locale)))
        elif index in taken.values():
            errors.append(_error(locale, (*PATH, i, "column"), "COLUMN_TWICE", column=headers[index]["letter"]))
        elif given.get("checkDuplicates") and not goal.checkable:
            errors.append(_error(locale, (*PATH, i, "checkDuplicates"), "NOT_CHECKABLE", target=_label(goal, locale)))
        else:
            taken[name] = index
            flags = (bool(given.get(f)) for f in ("checkDuplicates", "required", "emptyClears"))
            columns.append(Column(index, goal, headers[index]["name"], *flags))
    plan = Plan(
        stored["mode"],
        tuple(columns),
        stored.get("key") or "code",
        tuple(stored.get("tags") or ()),
        tuple(stored.get("groupIds") or ()),
        tuple(stored.get("ownerIds") or ()),
        bool(stored.get("mine")),
    )
    errors += _whole(plan, known, policy, locale)
    if errors:
        raise Refused(errors)
    return plan


def _whole(plan: Plan, known: Mapping[str, Goal], policy: Policy, locale: str) -> Sequence[UserError]:
    """What is wrong with a plan as a whole."""
    errors = []
    if plan.overwrites:
        key = plan.column(plan.key)
        if key is None or not key.goal.checkable:
            goal = known.get(plan.key)
            label = _label(goal, locale) if goal else plan.key
            errors.append(_error(locale, ("input", "key"), "KEY_NOT_MAPPED", target=label))
    elif plan.column("name") is None:
        errors.append(_error(locale, PATH, "NAME_NOT_MAPPED"))
    if (plan.owners or plan.mine) and OWNER not in known:
        errors.append(_error(locale, ("input", "ownerIds"), "NO_SUCH_TARGET", target=OWNER))
    if plan.groups and GROUP not in policy.catalog:
        errors.append(_error(locale, ("input", "groupIds"), "NO_GROUPS"))
    return errors


def _label(goal: Goal, locale: str) -> str:
    return goal.labels.get(locale) or goal.labels.get("en") or goal.name


def _error(locale: str, path: tuple[str | int, ...], code: str, **params: Any) -> UserError:
    return UserError(path, code, text(code.lower(), locale, PACKAGE, **params), params)
