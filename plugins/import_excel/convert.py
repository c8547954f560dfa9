"""From cells to values of fields: numbers, days, truth and choices as people write them in Vietnamese and English."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from core import Field, Kind
from plugins.import_excel.faults import BadCell

_EPOCH = date(1899, 12, 30)
_FIRST, _LAST = 1900, 2100
#: Serial numbers that are taken for days where a day is wanted: 1954 to 2100.
_SERIALS = range(20_000, 73_416)
_EXACT = 10**15

_DAY = re.compile(
    r"(?:ngày\s*)?(\d{1,4})\s*(?:[/.\-]|\s*tháng\s*|\s+)\s*(\d{1,2})\s*(?:[/.\-]|\s*năm\s*|\s+)\s*(\d{1,4})"
    r"(?:[ T,]+(\d{1,2})[:h](\d{2})(?::(\d{2}))?(?:\.\d+)?\s*([AaPp][Mm]|SA|CH)?)?(?:Z|[+-]\d{2}:?\d{2})?",
    re.IGNORECASE,
)
_MONTHS = {
    m: i
    for i, names in enumerate(
        ("jan january", "feb february", "mar march", "apr april", "may", "jun june", "jul july", "aug august",
         "sep september sept", "oct october", "nov november", "dec december"), 1)
    for m in names.split()
}  # fmt: skip
_NAMED = re.compile(r"(\d{1,2})[\s\-]+([A-Za-z]{3,9})\.?[\s\-,]+(\d{2,4})|([A-Za-z]{3,9})\.?\s+(\d{1,2}),?\s+(\d{4})")
_YES = frozenset({"true", "yes", "y", "x", "1", "co", "dung", "v", "✓", "✔", "☑", "on"})
_NO = frozenset({"false", "no", "n", "0", "khong", "sai", "off", "☐", "-"})
_MONEY = re.compile(r"[\s\u00a0\u202f_']|vnđ|vnd|đồng|dong|đ|₫|usd|\$|€|eur", re.IGNORECASE)
_PHONE = re.compile(r"phone|fax|dien thoai|sdt|so dt")
_SPLIT = re.compile(r"[,;\n|]")


def fold(text: str) -> str:
    """Text without case, accents and double blanks.

    >>> fold("  Số  Điện Thoại ")
    'so dien thoai'
    """
    if not text.isascii():
        plain = unicodedata.normalize("NFD", text.replace("đ", "d").replace("Đ", "D"))
        text = "".join(c for c in plain if not unicodedata.combining(c))
    return " ".join(text.casefold().split())


@dataclass(frozen=True, slots=True)
class Options:
    """How the cells of one column are to be read.

    `month_first` is how its days are written; `choices` are values by folded name; `people` ids by folded login,
    email or name (None where several share it); `padded` is to how many digits numbers regain lost zeros.
    """

    month_first: bool = False
    choices: Mapping[str, str] = field(default_factory=dict)
    people: Mapping[str, str | None] | None = None
    phone: bool = False
    padded: int = 0
    zone: str = "Asia/Ho_Chi_Minh"


def is_phone(declared: Field) -> bool:
    """Whether a field keeps phone numbers, by its name and labels."""
    return bool(_PHONE.search(fold(" ".join((declared.name, *declared.labels.values())))))


def convert(declared: Field, cell: Any, options: Options) -> Any:  # noqa: PLR0912 - one branch per kind
    """The JSON value of a field that a cell stands for. Raises BadCell where it stands for none."""
    if cell is None:
        return None
    if isinstance(cell, dict) and "d" not in cell:
        if "e" in cell:
            raise BadCell("ERROR_CELL", value=cell["e"])
        raise BadCell("NO_VALUE")
    match declared.kind:
        case Kind.TEXT:
            return _plain(cell, options)
        case Kind.TEXTS:
            return _several(cell, options)
        case Kind.ENUM:
            return _choice(cell, options)
        case Kind.INT:
            number = decimal(cell)
            if number != number.to_integral_value():
                raise BadCell("NOT_WHOLE")
            return int(number)
        case Kind.DECIMAL:
            return str(decimal(cell))
        case Kind.BOOL:
            return truth(cell)
        case Kind.DATE:
            return day(cell, month_first=options.month_first).date().isoformat()
        case Kind.DATETIME:
            at = day(cell, month_first=options.month_first)
            return at.replace(tzinfo=ZoneInfo(options.zone)).isoformat()
        case Kind.ID:
            return person(cell, options)
    raise BadCell("NOT_IMPORTABLE")


def _plain(cell: Any, options: Options) -> str:
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, dict):
        return str(cell["d"]).replace("T", " ")
    if abs(cell) >= _EXACT:
        raise BadCell("DIGITS_LOST")
    digits = str(cell) if isinstance(cell, int) else f"{cell:.15g}"
    if isinstance(cell, int) and cell > 0:
        if options.phone:
            return _dialled(digits)
        return digits.zfill(options.padded)
    return digits


def _dialled(digits: str) -> str:
    """A phone number that was typed as a number, with the zero it lost."""
    if digits.startswith("84") and len(digits) in (11, 12):
        return f"+{digits}"
    return f"0{digits}" if len(digits) in (9, 10) and digits[0] != "0" else digits


def _several(cell: Any, options: Options) -> list[str]:
    parts = _parts(cell) if isinstance(cell, str) else [_plain(cell, options)]
    parts = list(dict.fromkeys(p for p in parts if p))
    if not options.choices:
        return parts
    return list(dict.fromkeys(_choice(part, options) for part in parts))


def _parts(cell: str) -> list[str]:
    """The values of a cell that holds several; one in quotation marks is taken as it is."""
    if '"' not in cell:
        return [p.strip() for p in _SPLIT.split(cell)]
    return [p.strip() for row in csv.reader([cell], skipinitialspace=True) for p in row]


def _choice(cell: Any, options: Options) -> str:
    found = options.choices.get(fold(_plain(cell, options)))
    if found is None:
        raise BadCell("NO_SUCH_CHOICE", choices=", ".join(dict.fromkeys(options.choices.values()))[:300])
    return found


def person(cell: Any, options: Options) -> str:
    """The id of the user that a cell names. Raises BadCell where nobody or more than one is called so."""
    name = fold(_plain(cell, options))
    people = options.people or {}
    if name not in people:
        raise BadCell("NO_SUCH_USER")
    found = people[name]
    if found is None:
        raise BadCell("SEVERAL_USERS")
    return found


def decimal(cell: Any) -> Decimal:
    """The number a cell stands for, such as `1.000.000,50`. Raises BadCell."""
    if isinstance(cell, bool | dict):
        raise BadCell("NOT_A_NUMBER")
    if isinstance(cell, int):
        return Decimal(cell)
    if isinstance(cell, float):
        return Decimal(f"{cell:.15g}")
    text = _MONEY.sub("", cell)
    percent = text.endswith("%")
    text = text.rstrip("%")
    if text.startswith("(") and text.endswith(")"):
        text = "-" + text[1:-1]
    try:
        number = Decimal(_pointed(text))
    except InvalidOperation:
        raise BadCell("NOT_A_NUMBER") from None
    if not number.is_finite():
        raise BadCell("NOT_A_NUMBER")
    return number / 100 if percent else number


def _pointed(text: str) -> str:
    """A number with a point before its decimals and nothing between its thousands."""
    dots, commas = text.count("."), text.count(",")
    if dots and commas:
        last = "." if text.rfind(".") > text.rfind(",") else ","
        return text.replace("," if last == "." else ".", "").replace(last, ".")
    mark = "." if dots else ","
    if dots + commas == 0:
        return text
    whole, _, rest = text.rpartition(mark)
    grouped = len(rest) == 3 and rest.isdecimal() and 0 < len(whole.lstrip("+-").split(mark)[0]) <= 3
    if dots + commas > 1:
        if not grouped or any(len(p) != 3 for p in whole.split(mark)[1:]):
            raise BadCell("NOT_A_NUMBER")
        return text.replace(mark, "")
    # One mark with three digits behind: thousands, as they are grouped here and there, unless the number begins with 0.
    if grouped and whole.lstrip("+-") != "0":
        return text.replace(mark, "")
    return text.replace(mark, ".")


def truth(cell: Any) -> bool:
    """Whether a cell says yes. Raises BadCell where it says neither yes nor no."""
    if isinstance(cell, bool):
        return cell
    word = fold(str(cell)) if not isinstance(cell, dict) else ""
    if word in _YES:
        return True
    if word in _NO:
        return False
    raise BadCell("NOT_YES_OR_NO")


def day(cell: Any, *, month_first: bool = False) -> datetime:
    """The day, with its time where it has one, that a cell stands for. Raises BadCell."""
    found: datetime | None = None
    if isinstance(cell, dict):
        found = datetime.fromisoformat(cell["d"]).replace(tzinfo=None)
    elif isinstance(cell, int | float) and not isinstance(cell, bool):
        if int(cell) not in _SERIALS:
            raise BadCell("NOT_A_DATE")
        found = datetime.combine(_EPOCH, datetime.min.time()) + timedelta(days=float(cell))
        found = found.replace(microsecond=0)
    elif isinstance(cell, str):
        found = _written(cell.strip(), month_first)
    if found is None:
        raise BadCell("NOT_A_DATE")
    if not _FIRST <= found.year <= _LAST:
        raise BadCell("DATE_OUT_OF_RANGE", first=_FIRST, last=_LAST)
    return found


def _written(text: str, month_first: bool) -> datetime | None:
    if matched := _DAY.fullmatch(text):
        one, two, three = int(matched[1]), int(matched[2]), int(matched[3])
        if len(matched[1]) == 4:
            year, month, number = one, two, three
        else:
            year = three if len(matched[3]) > 2 else 2000 + three if three < 50 else 1900 + three
            number, month = (two, one) if month_first else (one, two)
        hour, minute, second = (int(matched[i] or 0) for i in (4, 5, 6))
        half = (matched[7] or "").upper()
        if half in ("PM", "CH") and hour < 12:
            hour += 12
        elif half in ("AM", "SA") and hour == 12:
            hour = 0
    elif matched := _NAMED.fullmatch(text):
        name = (matched[2] or matched[4]).casefold()
        if name not in _MONTHS:
            return None
        month, number = _MONTHS[name], int(matched[1] or matched[5])
        year = int(matched[3] or matched[6])
        year = year if year > 99 else 2000 + year if year < 50 else 1900 + year
        hour = minute = second = 0
    else:
        return None
    try:
        return datetime(year, month, number, hour, minute, second)  # noqa: DTZ001 - a day on the wall
    except ValueError:
        raise BadCell("NO_SUCH_DATE") from None
