"""How likely two customers are one, and what speaks for and against it.

Each field adds a weight in bits, as Fellegi and Sunter do it: the logarithm of how much more often the fields of one
customer agree like this than those of two by chance. A field that one of them lacks says nothing. The sum, less the
bits it takes to tell one customer among thousands, is a score from 0 to 1; at 0.5 either is as likely.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

from rapidfuzz.distance import OSA, JaroWinkler

from plugins.dedupe.normalise import Normaliser, digits, words

#: Bits that it takes to believe that two customers are one.
PRIOR = 8.0
_STEEPNESS = 0.5

#: Similarities and the bits they are worth, in between by the straight line.
Curve = Sequence[tuple[float, float]]
_NAME: Curve = ((0.0, -4), (0.45, -3), (0.6, -0.5), (0.72, 1), (0.85, 4), (0.93, 7), (1.0, 9))
_ADDRESS: Curve = ((0.0, -3), (0.3, -2), (0.5, 0.5), (0.7, 6), (0.85, 9), (1.0, 11))
_PLACE: Curve = ((0.0, -1.5), (0.7, -0.5), (0.85, 2), (1.0, 3.5))
_PROVINCE: Curve = ((0.0, -1.5), (0.6, -0.5), (0.85, 1), (1.0, 1.5))
_EMAIL: Curve = ((0.0, -3), (0.85, -1.5), (0.92, 4), (0.97, 8), (1.0, 13))
_PHONE: Curve = ((0.0, -3.5), (0.5, -3), (0.75, -1), (0.85, 5), (0.95, 9), (1.0, 12))
_TAX: Curve = ((0.0, -5), (0.8, -2), (0.9, 6), (1.0, 14))
_BIRTHDAY: Curve = ((0.0, -4), (0.5, -2), (0.7, 3), (0.85, 6), (1.0, 9))

_HOUSE = re.compile(r"(?:so )?\d+\w*")
#: Words that many addresses have; they tell next to nothing.
_COMMON: frozenset[str] = frozenset(
    "street st road rd avenue ave place pl crescent cres circuit court ct drive dr close way lane terrace parade "  # noqa: SIM905
    "highway village estate flat unit duong pho phuong p quan q huyen h thi xa tran tp thanh ngo ngach hem so to khu "
    "khom ap thon tinh".split()
)


#: Parts of names that a great many people, or companies, have.
_EVERYBODYS: frozenset[str] = frozenset(
    "nguyen tran le pham hoang huynh phan vu vo dang bui do ho ngo duong ly van thi tm dv & thuong mai dich vu san "  # noqa: SIM905
    "xuat nhap khau xay dung dau tu phat trien group".split()
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one field says: how similar its values are, from 0 to 1, and the bits that this is worth."""

    field: str
    left: str
    right: str
    similarity: float
    weight: float


@dataclass(frozen=True, slots=True)
class Profile:
    """A customer as it is compared: by field, the value as it was typed and as it is meant."""

    id: str
    shown: Mapping[str, str]
    meant: Mapping[str, Any]


def profile(id_: str, values: Mapping[str, Any], normaliser: Normaliser) -> Profile:
    """What is compared of a customer, whose values are given by field name."""
    shown = {f: str(values[f]) for f in COMPARED if values.get(f) not in (None, "")}
    meant = {f: m for f, v in shown.items() if (m := COMPARED[f].read(normaliser, v))}
    return Profile(id_, shown, meant)


def compare(one: Profile, other: Profile, threshold: float = 0) -> tuple[float, list[Evidence]] | None:
    """The score of two customers and the evidence for it, the strongest first; None below a threshold."""
    fields = [f for f in COMPARED if f in one.meant and f in other.meant]
    least = _least(threshold)
    possible = sum(COMPARED[f].curve[-1][1] for f in fields)
    evidence = []
    for field in fields:
        how = COMPARED[field]
        similarity = how.similarity(one.meant[field], other.meant[field])
        weight = round(_bits(how.curve, similarity), 2)
        possible -= how.curve[-1][1] - weight
        if possible < least:
            # Whatever the others say: nearly all pairs end here, before their addresses are looked at.
            return None
        evidence.append(Evidence(field, one.shown[field], other.shown[field], round(similarity, 3), weight))
    evidence.sort(key=lambda e: -abs(e.weight))
    found = score(sum(e.weight for e in evidence))
    return (found, evidence) if found >= threshold else None


@lru_cache(100)
def _least(threshold: float) -> float:
    """The bits below which no score reaches a threshold, but for rounding."""
    if threshold <= 0.001:
        return -math.inf
    return PRIOR + math.log2(threshold / max(1 - threshold, 1e-4)) / _STEEPNESS - 1


def score(bits: float) -> float:
    """Bits of evidence as a score from 0 to 1."""
    return round(1 / (1 + 2 ** (-_STEEPNESS * (bits - PRIOR))), 4)


def _bits(curve: Curve, similarity: float) -> float:
    (low, value), *rest = curve
    for high, worth in rest:
        if similarity <= high:
            return value + (worth - value) * (similarity - low) / (high - low)
        low, value = high, worth
    return value


@lru_cache(200_000)
def _like(one: str, other: str) -> float:
    """The likeness of two words: a letter too many, too few, or in the wrong place costs little."""
    if one == other:
        return 1.0
    edits = OSA.normalized_similarity(one, other)
    return max(edits, JaroWinkler.similarity(one, other) - 0.05) if min(len(one), len(other)) > 2 else edits


def _aligned(one: Sequence[str], other: Sequence[str], weigh: Callable[[str], float]) -> float:
    """How well words answer to each other, in any order; each is used once, those left over count half."""
    pairs = sorted(((_like(a, b), i, j) for i, a in enumerate(one) for j, b in enumerate(other)), reverse=True)
    used: tuple[set[int], set[int]] = (set(), set())
    got = total = 0.0
    for likeness, i, j in pairs:
        if i in used[0] or j in used[1]:
            continue
        used[0].add(i)
        used[1].add(j)
        weight = (weigh(one[i]) + weigh(other[j])) / 2
        got += weight * (likeness if likeness >= 0.7 else likeness / 2)
        total += weight
    for part, taken in ((one, used[0]), (other, used[1])):
        total += sum(weigh(word) for i, word in enumerate(part) if i not in taken) / 2
    return got / total if total else 0.0


def _names(one: str, other: str) -> float:
    """Names in any order of their parts; one part may be missing, or a space be in the wrong place."""
    left, right = one.split(), other.split()
    whole = _like("".join(left), "".join(right))
    found = max(whole if whole > 0.85 else 0.0, _aligned(left, right, _name_word))
    # A single word is half a name: many have it.
    return found if len(left) > 1 or len(right) > 1 else min(found, 0.88)


def _name_word(word: str) -> float:
    return 0.4 if word in _EVERYBODYS or len(word) == 1 else 1.0


def _address_word(word: str) -> float:
    if word.isdigit():
        return 1.5
    return 0.25 if word in _COMMON else 1.0


def _addresses(one: str, other: str) -> float:
    if one == other:
        return 1.0
    aligned = _aligned(_parts(one), _parts(other), _address_word)
    whole = OSA.normalized_similarity(one.replace(" ", ""), other.replace(" ", ""))
    houses = [_HOUSE.match(text) for text in (one, other)]
    if houses[0] and houses[1] and houses[0][0] != houses[1][0]:
        # The same street is not the same house.
        aligned, whole = aligned * 0.78, whole * 0.78
    return max(aligned, whole if whole > 0.7 else 0.0)


@lru_cache(50_000)
def _parts(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\d+|[^\W\d]+", text))


def _phones(one: str, other: str) -> float:
    if one == other:
        return 1.0
    left, right = digits(one), digits(other)
    if min(len(left), len(right)) >= 7 and left[-8:] == right[-8:]:
        return 0.95
    return min(OSA.normalized_similarity(left, right), 0.92)


def _emails(one: str, other: str) -> float:
    if one == other:
        return 1.0
    if one.partition("@")[0] == other.partition("@")[0]:
        return 0.95
    return min(_like(one, other), 0.96)


def _taxes(one: str, other: str) -> float:
    if one == other:
        return 1.0
    # A branch has the number of its company and three digits more.
    same = min(len(one), len(other)) >= 10 and one[:10] == other[:10]
    return 0.92 if same else min(OSA.normalized_similarity(one, other), 0.9)


def _birthdays(one: str, other: str) -> float:
    """Two dates: day and month swapped and single wrong digits are slips."""
    if one == other:
        return 1.0
    left, right = (date.fromisoformat(d) for d in (one, other))
    if left.year == right.year and (left.month, left.day) == (right.day, right.month):
        return 0.9
    wrong = OSA.distance(one.replace("-", ""), other.replace("-", ""))
    if wrong == 1:
        return 0.85
    same = (left.year == right.year) + (left.month == right.month) + (left.day == right.day)
    return 0.7 if same == 2 else 0.55 if wrong == 2 else 0.2 * same


@dataclass(frozen=True)
class Comparison:
    """How a field is compared: what its text means, how similar two meanings are, and what that is worth."""

    read: Callable[[Normaliser, str], str]
    similarity: Callable[[Any, Any], float]
    curve: Curve


def _meaning(style: str) -> Callable[[Normaliser, str], str]:
    return lambda normaliser, text: next(iter(normaliser.values(style, text)), "")


def _words(_normaliser: Normaliser, text: str) -> str:
    return words(text)


#: By field; what takes long comes last, when most pairs are out already.
COMPARED: Mapping[str, Comparison] = {
    "name": Comparison(_meaning("name"), _names, _NAME),
    "email": Comparison(_meaning("email"), _emails, _EMAIL),
    "phone": Comparison(_meaning("phone"), _phones, _PHONE),
    "taxCode": Comparison(_meaning("digits"), _taxes, _TAX),
    "birthday": Comparison(_meaning("date"), _birthdays, _BIRTHDAY),
    "ward": Comparison(_words, _like, _PLACE),
    "district": Comparison(_words, _like, _PLACE),
    "province": Comparison(_words, _like, _PROVINCE),
    "officeAddress": Comparison(_words, _addresses, _ADDRESS),
    "registeredAddress": Comparison(_words, _addresses, _ADDRESS),
}
