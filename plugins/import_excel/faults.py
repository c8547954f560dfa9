"""What is wrong with a cell or a row of an import, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as default
from typing import Any

from core import text

PACKAGE = "plugins.import_excel"
LONGEST = 200


class BadCell(ValueError):
    """A cell whose value does not fit its field. `code` names the message, `params` its facts."""

    def __init__(self, code: str, **params: Any) -> None:
        super().__init__(code)
        self.code = code
        self.params = params


@dataclass(frozen=True, slots=True)
class RowFault:
    """One fault of one row. `column` counts from 0; None is the whole row. Skipped rows are not wrong, only there."""

    row: int
    code: str
    reason: str
    fix: str
    column: int | None = None
    field: str = ""
    value: str = ""
    skipped: bool = False
    params: Mapping[str, Any] = default(default_factory=dict)


def fault(
    locale: str,
    row: int,
    code: str,
    column: int | None = None,
    field: str = "",
    value: Any = None,
    /,
    *,
    skipped: bool = False,
    **params: Any,
) -> RowFault:
    """A fault of the plugin's own: its reason and cure are the messages `<code>` and `<code>_fix`."""
    key = code.lower()
    return RowFault(
        row,
        code,
        text(key, locale, PACKAGE, **params),
        text(f"{key}_fix", locale, PACKAGE, **params),
        column,
        field,
        shown(value),
        skipped,
        params,
    )


def told(locale: str, row: int, code: str, message: str, column: int | None, field: str, value: Any) -> RowFault:
    """A fault that core or another plugin found, in its own words."""
    key = f"other_{code.lower()}_fix"
    fix = text(key, locale, PACKAGE)
    return RowFault(
        row, code, message, text("other_fix", locale, PACKAGE) if fix == key else fix, column, field, shown(value)
    )


def shown(value: Any) -> str:
    """A cell as a person sees it, cut to a bearable length."""
    if value is None:
        return ""
    if isinstance(value, dict):
        value = next(iter(value.values()), "")
    words = str(value)
    return words if len(words) <= LONGEST else words[: LONGEST - 1] + "…"
