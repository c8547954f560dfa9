"""How well duplicates are found in labelled data, through GraphQL with the shipped threshold."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench.duplicates import REAL, Quality, Shop, codes, febrl, vietnamese
from core.context import Workspace
from core.database import Database
from core.features import Features
from core.plugins import PluginRegistry


def there(name: str) -> Path:
    path = REAL / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return path


@pytest.fixture
async def shop(database: Database, workspace: Workspace) -> AsyncIterator[Shop]:
    features = Features(database, registry=PluginRegistry.discover(["plugins.dedupe"]))
    await features.enable(workspace, "dedupe")
    yield Shop(database, features, workspace)
    await features.close()


async def test_people_with_slips_in_all_their_fields(shop: Shop) -> None:
    customers, truth = febrl(there("febrl1.csv"))
    await shop.load(customers)
    found = await shop.candidates()
    quality = Quality.of(codes(found), truth)
    assert quality.f1 >= 0.99, str(quality)
    assert all(c["evidence"] for c in found)


@pytest.mark.nightly
async def test_vietnamese_customers(shop: Shop) -> None:
    customers, truth = vietnamese(there("vn_customers_2000.xlsx"), there("vn_customers_2000.truth.csv"))
    await shop.load(customers)
    phone, email, tax = [Quality.of(await shop.same(f), truth) for f in ("phone", "email", "taxCode")]
    fuzzy = Quality.of(codes(await shop.candidates()), truth)
    assert phone.recall == 1.0
    assert phone.precision > 0.98, str(phone)
    assert email.precision == tax.precision == 1.0
    assert fuzzy.recall == 1.0, str(fuzzy)
    assert fuzzy.precision > 0.95, str(fuzzy)
