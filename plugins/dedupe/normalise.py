"""What values mean: two that are typed differently and mean the same become equal text.

Everything here is pure. A value that stands for "none" (`-`, `khong co`, `0000000000`) becomes nothing.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache

import phonenumbers

from plugins.dedupe.settings import Settings

#: Of the ways values are normalised: raise it when they change, and all keys are made anew.
VERSION = 1

JUNK = frozenset(
    """-|.|?|x|n/a|na|none|null|nil|no|unknown|test|khong|khong co|khong ro|khong biet|khong xac dinh|chua co|chua ro
    chua biet|chua cap nhat|dang cap nhat|cap nhat sau|bo sung sau|ko|ko co|k co|kc|khach le|khach vang lai
    khach hang|khong ten|no name|noname|khong email|khongco@gmail.com|test@test.com|test@gmail.com|abc@gmail.com
    a@a.com|no@email.com|noemail@gmail.com|example@example.com|1900-01-01""".replace("\n    ", "|").split("|")
)
_RUNS = "01234567890123456789 98765432109876543210"

#: What companies' names begin with, each followed by any of the second.
_HEADS = (
    r"cong ty|cty|c ty|ctcp|tong cong ty|doanh nghiep tu nhan|dntn|ho kinh doanh|hkd|hop tac xa|htx|"
    r"cong ti|lien hiep hop tac xa|van phong dai dien"
)
_FORMS = (
    r"tnhh|t n h h|trach nhiem huu han|co phan|cp|mtv|mot thanh vien|1 thanh vien|hai thanh vien tro len|"
    r"2 thanh vien tro len|hop danh|tu nhan"
)
_TAILS = (
    r"joint stock company|joint stock|private limited|company limited|co ltd|pte ltd|pty ltd|ltd|limited|jsc|company|"
    r"corporation|corp|incorporated|inc|llc|llp|plc|gmbh|ag|bv|sarl|sdn bhd|tnhh|co phan|mtv"
)
_APART = re.compile(r"[/;,|\n]+|\s+-\s+")
_MARKS = re.compile("[\u0300-\u036f]")
_NO_DIGITS = re.compile(r"[^0-9]")
_SPACES = re.compile(r"[ .()-]")
_VIETNAMESE = re.compile(r"(?:\+?84|0)?([35789][0-9]{8})")
_SIGNS = re.compile(r"[^\w&]+|_")
_ASCII_SIGNS = {c: " " for c in range(128) if not chr(c).isalnum() and chr(c) != "&"}
_MAYBE_SEVERAL = re.compile(r"[/;,|\s]")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


def plain(text: str) -> str:
    """Without accents, case and spaces too many: `  Công  TY ` -> `cong ty`."""
    if text.isascii():
        if text.isalnum():
            return text.lower()
    else:
        text = _MARKS.sub("", unicodedata.normalize("NFKD", text)).replace("đ", "d").replace("Đ", "d").casefold()
    return " ".join(text.lower().split())


def words(text: str) -> str:
    """Plain text without punctuation: `12, Lê-Lợi (P.8)` -> `12 le loi p 8`."""
    return _without_signs(plain(text))


def _without_signs(folded: str) -> str:
    if folded.isalnum():
        return folded
    return " ".join((folded.translate(_ASCII_SIGNS) if folded.isascii() else _SIGNS.sub(" ", folded)).split())


@lru_cache(10_000)
def e164(text: str, country: str) -> str:
    """A phone number as E.164, read as one of a country; its digits where it is no number of any.

    A leading zero that a spreadsheet has eaten is no part of it: `970639964` and `0970 639 964` are one number.
    """
    if country == "VN" and (local := _VIETNAMESE.fullmatch(_SPACES.sub("", text))):
        # What nearly all numbers are; the library says the same and takes a hundred times as long.
        return f"+84{local[1]}"
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return digits(text)
    if phonenumbers.is_possible_number(number):
        return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return digits(text)


def digits(text: str) -> str:
    """The decimal digits in a text."""
    if text.isascii():
        return text if text.isdecimal() else _NO_DIGITS.sub("", text)
    return "".join(str(unicodedata.decimal(c)) for c in text if c.isdecimal())


def _parts(text: str) -> list[str]:
    """The values of a field that may hold several."""
    return [part.strip() for part in _APART.split(text)] if _MAYBE_SEVERAL.search(text) else [text]


@dataclass(frozen=True)
class Normaliser:
    """Normalises values as one workspace has set it; `country` is the one whose phone numbers need no prefix."""

    country: str = "VN"
    min_length: int = 2
    min_digits: int = 7
    junk: frozenset[str] = JUNK
    legal_forms: tuple[str, ...] = ()
    _head: re.Pattern[str] = field(init=False, compare=False)
    _tail: re.Pattern[str] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        own = "".join(f"|{re.escape(words(f))}" for f in self.legal_forms)
        head = rf"(?:{_HEADS}{own})(?: (?:{_FORMS}))*\b ?"
        object.__setattr__(self, "_head", re.compile(rf"(?:{head})+(?:&|va)? ?"))
        object.__setattr__(self, "_tail", re.compile(rf"(?: (?:& )?(?:{_TAILS}{own}))+$"))

    @classmethod
    def of(cls, settings: Settings, country: str) -> Normaliser:
        """The normaliser of a workspace's settings."""
        return _made(settings.min_length, settings.min_digits, settings.junk_values, settings.legal_forms, country)

    @property
    def fingerprint(self) -> str:
        """Names the way values are normalised: keys made in another way must be made anew."""
        own = sorted(self.junk - JUNK)
        return repr((VERSION, self.country, self.min_length, self.min_digits, own, self.legal_forms))

    def values(self, style: str, value: object, *, exact: bool = False) -> list[str]:
        """What a value means, each meaning once: a phone field may hold two numbers. Nothing for junk.

        `style` is `phone`, `email`, `name`, `digits`, `date` or `text`; `exact` compares as it was typed.
        """
        if type(value) is str and (exact or not _MAYBE_SEVERAL.search(value)):
            # What nearly all values are.
            text = value.strip()
            found = "" if self._is_junk(style, text) else self._one(style, text, exact=exact)
            return [found] if found else []
        parts = value if isinstance(value, list) else [value]
        texts = [str(p).lower() if isinstance(p, bool) else str(p).strip() for p in parts if p is not None]
        if style in ("phone", "email") and not exact:
            texts = [part for text in texts for part in _parts(text)]
        meanings = [self._one(style, text, exact=exact) for text in texts if not self._is_junk(style, text)]
        return list(dict.fromkeys(m for m in meanings if m))

    def _is_junk(self, style: str, text: str) -> bool:
        """Whether a value stands for "none": a word for it, too short, or one character again and again."""
        folded = plain(text)
        if not folded or folded in self.junk or _without_signs(folded) in self.junk:
            return True
        if style in ("phone", "digits"):
            number = digits(text)
            rest = number.lstrip("0")
            return len(number) < self.min_digits or not rest.strip(rest[:1]) or number in _RUNS
        if style in ("date", "email"):
            return style == "email" and not _EMAIL.fullmatch(folded)
        signs = [c for c in folded if c.isalnum()]
        return len(signs) < self.min_length or (len(signs) > 1 and len(set(signs)) == 1)

    def _one(self, style: str, text: str, *, exact: bool) -> str:
        if exact:
            return unicodedata.normalize("NFC", text)
        match style:
            case "phone":
                return e164(text, self.country)
            case "email":
                return unicodedata.normalize("NFKC", text).casefold()
            case "digits":
                return digits(text)
            case "name":
                return self.name(text)
            case "date":
                return text
        return words(text)

    def name(self, text: str) -> str:
        """A name without accents, case, punctuation and legal form: `CÔNG TY TNHH Sao Mai` -> `sao mai`."""
        whole = words(text)
        head = self._head.match(whole)
        rest = whole[head.end() :] if head else whole
        rest = self._tail.sub("", f" {rest}").strip()
        return rest or whole


@lru_cache(1000)
def _made(
    min_length: int, min_digits: int, junk: tuple[str, ...], legal_forms: tuple[str, ...], country: str
) -> Normaliser:
    return Normaliser(country, min_length, min_digits, JUNK | {plain(j) for j in junk}, legal_forms)
