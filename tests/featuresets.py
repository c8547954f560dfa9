"""Feature sets at random: plugins, settings, custom fields, roles and whatever is configured, as a workspace's file."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

PLUGINS = ("dedupe", "groups", "import_excel", "shared_pool", "sharing", "tiering")
LOGINS = ("lan", "minh", "o'hara")
TEAMS = ("Sales", "Miền Bắc", 'The "A" team')
WORDS = ("Đông", "Bắc", "north \\ west", "VIP", "a=b", "#1", "tab\there", "🙂", "Ưu tiên", "line\nbreak", "[x]", "null")

SETTINGS: dict[str, dict[str, list[Any]]] = {
    "dedupe": {
        "disclose": ["owner", "existence"],
        "junk_values": [["n/a", "không"], []],
        "candidate_threshold": [0.75],
    },
    "groups": {"max_groups_per_customer": [1, 50, 200]},
    "import_excel": {"max_rows": [1000], "keep_days": [7, 30]},
    "shared_pool": {"at_once": [1, 5000], "pass_schedule": ["*/5 * * * *"]},
    "sharing": {"max_receivers": [5]},
    "tiering": {"allow_downgrade": [True, False], "at_once": [0, 10]},
}
SCOPES = ("NONE", "OWN", "TEAM", "ALL")
FIELDS: dict[str, dict[str, Any]] = {
    "TEXT": {"unique": True},
    "LONG_TEXT": {"default": "mặc định"},
    "INTEGER": {"default": 42, "required": True},
    "DECIMAL": {"default": "1.25"},
    "BOOLEAN": {"default": False, "required": True},
    "DATE": {"default": "2024-02-29"},
    "CHOICE": {"choices": ["VIP=Khách VIP", "Đồng Nai"]},
    "CHOICES": {"choices": ["A", "B=Bê"], "default": ["A"]},
    "USER": {},
    "EMAIL": {"unique": True},
}


class Dice(random.Random):
    """Random choices of many kinds."""

    def chance(self, of: float = 0.5) -> bool:
        return self.random() < of

    def some(self, choices: Any, most: int = 99) -> list[Any]:
        return self.sample(list(choices), self.randint(0, min(len(choices), most)))

    def words(self, number: int) -> list[str]:
        """Different texts."""
        return [f"{self.choice(WORDS)} {i}" for i in range(number)]


def feature_set(seed: int, plugins: int = len(PLUGINS)) -> dict[str, Any]:
    """The content of a file with at most so many plugins; equal for equal seeds."""
    dice = Dice(seed)
    on = sorted(dice.some(PLUGINS, plugins))
    found: dict[str, Any] = {
        "workspace": {
            "time_zone": dice.choice(["Asia/Ho_Chi_Minh", "Europe/Berlin", "UTC"]),
            "locale": dice.choice(["vi", "en"]),
            "currency": dice.choice(["VND", "EUR"]),
            "country": dice.choice(["VN", "DE"]),
            "host_name": "",
        },
        "plugins": {name: {k: dice.choice(v) for k, v in SETTINGS[name].items() if dice.chance()} for name in on},
        "customFields": _fields(dice),
        "roles": _roles(dice),
    }
    if "groups" in on:
        found["groups"] = [
            {"name": name, "points": dice.randint(-5, 5)} | ({"family": dice.choice(WORDS)} if dice.chance() else {})
            for name in dice.words(dice.randint(0, 4))
        ]
    if "tiering" in on:
        names = dice.words(dice.randint(0, 4))
        ranks = dice.sample(range(20), len(names))
        found["tiers"] = [_tier(dice, name, rank, found) for name, rank in zip(names, ranks, strict=True)]
    if "shared_pool" in on:
        found["pools"] = [_pool(dice, name, found) for name in dice.words(dice.randint(0, 3))]
    if "dedupe" in on:
        names = dice.some(["email", "phone", "taxCode", "name"])
        found["duplicateCriteria"] = [_criterion(dice, name) for name in names]
    return found


def _fields(dice: Dice) -> list[dict[str, Any]]:
    kinds = dice.some(FIELDS, 5)
    return [
        {"recordType": dice.choice(["Customer", "Customer", "Contact", "Opportunity"]), "name": f"own{i}", "kind": kind}
        | {k: v for k, v in FIELDS[kind].items() if k == "choices" or dice.chance()}
        | ({"label": dice.choice(WORDS)} if dice.chance() else {})
        for i, kind in enumerate(kinds)
    ]


def _roles(dice: Dice) -> list[dict[str, Any]]:
    found = []
    for name in dice.words(dice.randint(0, 4)):
        role: dict[str, Any] = {"name": name, "abilities": dice.some(["undo", "jobs", "files"])}
        role["grants"] = {
            record: {action: dice.choice(SCOPES) for action in dice.some(["read", "create", "update"])}
            for record in dice.some(["Customer", "Contact", "Opportunity", "Group"])
        }
        role["fieldRules"] = {"Customer": {f: dice.choice(["HIDE", "READ"]) for f in dice.some(["phone", "email"])}}
        found.append(role)
    return found


def _condition(dice: Dice, found: dict[str, Any], *, tiers: bool) -> dict[str, Any]:
    """A condition on customers that names whatever there is."""
    parts: list[dict[str, Any]] = [
        {"kind": {"eq": "PERSON"}},
        {"ownerId": {"in": dice.some(LOGINS)}},
        {"updatedAt": {"within": {"last": {"count": 3, "unit": "MONTH"}}}},
        {"opportunities": {"some": {"amount": {"gte": 1000}, "owner": {"id": {"ne": dice.choice(LOGINS)}}}}},
        {"not": {"name": {"contains": dice.choice(WORDS)}}},
    ]
    if groups := found.get("groups"):
        some = [{k: g[k] for k in ("family", "name") if k in g} for g in dice.some(groups, 3)]
        parts.append({"groups": {dice.choice(["or", "and", "not", "none"]): some}})
    if tiers and (there := found.get("tiers")):
        parts.append({"tierId": {"in": [t["name"] for t in dice.some(there)]}})
        parts.append({"tier": {"id": {"eq": dice.choice(there)["name"]}}})
    for own in found["customFields"]:
        if own["recordType"] == "Customer" and own["kind"] == "USER":
            parts.append({own["name"]: {"eq": dice.choice(LOGINS)}})
        if own["recordType"] == "Customer" and own["kind"] == "INTEGER":
            parts.append({own["name"]: {"between": {"from": 1, "to": 9}}})
    some = dice.sample(parts, dice.randint(1, len(parts)))
    return {dice.choice(["and", "or"]): some} if len(some) > 1 else some[0]


def _tier(dice: Dice, name: str, rank: int, found: dict[str, Any]) -> dict[str, Any]:
    tier: dict[str, Any] = {"name": name, "rank": rank}
    if dice.chance():
        tier |= {"auto": True, "rule": _condition(dice, found, tiers=False)}
    if dice.chance():
        tier["discountPercent"] = Decimal(dice.choice(["5", "7.5", "0.25"]))
    if dice.chance():
        tier["benefits"] = dice.choice(
            [{"a": [1, 2.5, "x", True]}, {"$json": '{"gone": null}'}, "free shipping", [1, 2]]
        )
    return tier


def _pool(dice: Dice, name: str, found: dict[str, Any]) -> dict[str, Any]:
    pool: dict[str, Any] = {"name": name, "openToAll": dice.chance(), "teams": dice.some(TEAMS)}
    if dice.chance(0.7):
        pool["rule"] = _condition(dice, found, tiers=True)
    if dice.chance():
        pool |= {"waitingDays": dice.randint(1, 90), "releaseOnExit": dice.chance(), "ownerOnEntry": "CLEAR"}
    return pool


def _criterion(dice: Dice, name: str) -> dict[str, Any]:
    fields = [name, "birthday"] if dice.chance(0.3) else [name]
    return {"fields": fields, "effect": dice.choice(["BLOCK", "WARN"])} | (
        {"exact": [name]} if dice.chance(0.3) else {}
    )
