from __future__ import annotations

import logging
from collections.abc import Iterator

import asyncpg
import orjson
import pytest

from core.errors import BadInput, DatabaseError
from core.log import configure, logger, redact, told, withheld
from core.settings import Settings


@pytest.fixture
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(
    "key",
    [
        *(
            "password",
            "new_password",
            "Authorization",
            "access_token",
            "secret",
            "email",
            "workEmail",
            "phone",
        ),
        *("api_key", "database_url", "cookie", "taxCode", "key"),
    ],
)
def test_telling_keys_are_dropped_at_any_depth(key: str) -> None:
    event = {"event": "x", key: "leak", "deep": {"list": [{key: "leak"}]}}
    assert "leak" not in str(redact(None, "info", event))


def test_other_facts_stay() -> None:
    event = {"event": "x", "token_id": 1, "workspace": "acme", "keys": ["a"], "deep": {"n": [1, None]}}
    assert redact(None, "info", event) == event


def test_passwords_in_addresses_and_rows_in_errors_are_dropped() -> None:
    event = {
        "reason": "cannot reach postgresql://crm:hunter2@db/crm",
        "exception": "duplicate key\nDETAIL:  Key (email)=(lan@example.com) already exists.\nHINT: x",
    }
    cleaned = redact(None, "info", event)
    assert cleaned["reason"] == "cannot reach postgresql://crm:***@db/crm"
    assert "lan@example.com" not in cleaned["exception"]
    assert cleaned["exception"].endswith("HINT: x")


@pytest.mark.usefixtures("restored")
def test_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings.load(log_level="info"))
    logger("crm.test").info("done", workspace="acme", email="lan@example.com")
    logger("crm.test").debug("hidden")
    logging.getLogger("library").warning("about %s", "something")
    try:
        int("boom")
    except ValueError:
        logger("crm.test").exception("failed")
    out, err = capsys.readouterr()
    assert out == ""
    lines = [orjson.loads(line) for line in err.splitlines()]
    assert [(line["event"], line["level"], line["logger"]) for line in lines] == [
        ("done", "info", "crm.test"),
        ("about something", "warning", "library"),
        ("failed", "error", "crm.test"),
    ]
    assert (lines[0]["workspace"], lines[0]["email"]) == ("acme", "[redacted]")
    assert lines[2]["exception"].endswith("ValueError"), "what it says may be somebody's data"
    assert 'int("boom")' in lines[2]["exception"], "where it happened is told"


def test_exceptions_are_told_without_data() -> None:
    found: dict[str, str] = {}
    data = "lan@example.com"
    duplicate = asyncpg.UniqueViolationError(f"Key (email)=({data}) already exists")
    duplicate.constraint_name = "customer_email"
    try:
        try:
            found[data]
        except KeyError as missing:
            raise missing from duplicate
    except KeyError as error:
        line = withheld(None, "error", {"event": "x", "exc_info": error})
    assert "lan@example.com" not in str(line)
    assert "UniqueViolationError: 23505 customer_email" in line["exception"]
    assert line["exception"].endswith("KeyError")
    repeated = "Task exception was never retrieved\nfuture: <Task exception=KeyError('lan@example.com')>"
    assert withheld(None, "error", {"logger": "asyncio", "event": repeated})["event"] == repeated.splitlines()[0]
    assert told(TypeError("not callable")) == "TypeError: not callable"
    assert told(DatabaseError("it is away")) == "DatabaseError: it is away"
    assert told(BadInput("lan@example.com is in use")) == "BadInput"
    assert told(FileNotFoundError(2, "No such file", "/home/lan")) == "FileNotFoundError: No such file"


@pytest.mark.usefixtures("restored")
def test_console_lines_are_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure(Settings.load(log_format="console"))
    logger("crm.test").info("done", workspace="acme", password="leak")
    line = capsys.readouterr().err
    assert "done" in line
    assert "workspace=acme" in line
    assert "leak" not in line
