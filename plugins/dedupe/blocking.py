"""Which customers are worth comparing: those that share something that few share."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations

from plugins.dedupe.likeness import Profile, _parts
from plugins.dedupe.normalise import digits

#: What more customers than this share tells nobody apart.
LARGEST = 60


def pairs(profiles: Sequence[Profile]) -> set[tuple[int, int]]:
    """The places of customers that share at least one trait."""
    blocks: dict[str, list[int]] = defaultdict(list)
    trigrams = [_trigrams(str(p.meant.get("name", ""))) for p in profiles]
    common = Counter(trigram for some in trigrams for trigram in some)
    for i, (profile, some) in enumerate(zip(profiles, trigrams, strict=True)):
        # Two names that have half of their trigrams in common share one of the rarer half.
        rare = sorted(some, key=lambda t: (common[t], t))[: len(some) // 2 + 1]
        for trait in {*traits(profile), *rare}:
            blocks[trait].append(i)
    return {pair for some in blocks.values() if 1 < len(some) <= LARGEST for pair in combinations(some, 2)}


def _trigrams(name: str) -> set[str]:
    """The trigrams of the words of a name, as pg_trgm takes them."""
    return {padded[i : i + 3] for word in name.split() for padded in (f"  {word} ",) for i in range(len(padded) - 2)}


def traits(profile: Profile) -> Iterator[str]:
    """What a customer is found by: the tail of its phone, its birthday, pieces of its name and address together."""
    meant = profile.meant
    if phone := meant.get("phone"):
        yield f"phone {digits(phone)[-7:]}"
    if email := meant.get("email"):
        yield f"email {email.partition('@')[0]}"
    if tax := meant.get("taxCode"):
        yield f"tax {tax[:10]}"
    name = str(meant.get("name", ""))
    parts = name.split()
    yield f"name {name.replace(' ', '')}"
    if birthday := meant.get("birthday"):
        yield f"birthday {''.join(sorted(birthday))}"
        year, month, day = birthday.split("-")
        for part in parts:
            yield from (f"born {x} {part[:3]}" for x in (f"{year}-{month}", f"{year}--{day}", f"{month}-{day}"))
    for one, other in combinations(sorted(p[:4] for p in parts), 2):
        yield f"names {one} {other}"
    for field in ("officeAddress", "registeredAddress"):
        address = _parts(str(meant.get(field, "")))
        numbers = [p for p in address if p.isdigit()]
        longer = [p for p in address if not p.isdigit() and len(p) > 2]
        yield from (f"house {n} {w[:4]}" for n in numbers for w in longer)
        yield from (f"street {a} {b}" for a, b in combinations(sorted({w[:5] for w in longer}), 2))
        yield from (f"at {w[:4]} {p[:3]}" for w in longer for p in parts)
        yield from (f"post {n} {p[:3]}" for n in numbers if len(n) > 3 for p in parts)
