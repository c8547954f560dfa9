"""Folding here is folding in the database."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.database import Database
from core.folding import _KNOWN, fold, pattern

SENTENCES = (
    "Công ty TNHH Một Thành Viên ĐỨC THỊNH",
    "Nguyễn Thị Ngọc Hằng",
    "Ngô Xuân Quỳnh & Phở 24 (Huế) – 50%",
    "straße",
    "ﬁn",
    "Ⅷ",
    "ＡＢ％",
    "İstanbul",
    "Ωmega",
    "a\u0323\u0302",
    "",
    " ",
)


async def test_every_letter_that_is_folded_here_is_folded_alike(database: Database) -> None:
    letters = sorted(_KNOWN)
    for form in ("NFC", "NFD"):
        given_ = [unicodedata.normalize(form, letter) for letter in letters]
        async with database.admin() as c:
            theirs = [r[0] for r in await c.fetch("select public.crm_fold(x) from unnest($1::text[]) x", given_)]
        assert [fold(letter) for letter in given_] == theirs


@pytest.mark.parametrize("text", SENTENCES)
async def test_a_sentence_is_folded_alike_or_left_to_the_database(database: Database, text: str) -> None:
    async with database.admin() as c:
        theirs = await c.fetchval("select public.crm_fold($1)", text)
    assert fold(text) in (theirs, None)


def test_what_people_type_is_folded_here() -> None:
    assert fold("Nguyễn Thị Ngọc Hằng") == "nguyen thi ngoc hang"
    assert fold("ĐẶNG ƯỚC") == "dang uoc"
    assert fold("straße") is None


def test_wildcards_are_only_themselves() -> None:
    assert pattern("50%_\\", "%", "") == "%50\\%\\_\\\\"
    assert pattern("ß", "%", "%") is None


@given(st.text(st.sampled_from(sorted(_KNOWN)), max_size=20))
@settings(max_examples=200)
def test_folding_twice_is_folding_once(text: str) -> None:
    once = fold(text)
    assert once is not None
    assert fold(once) == once
