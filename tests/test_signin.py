"""Sign-in through GraphQL: passwords, sessions, keys, throttling, and who may do what for whom."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from core import passwords
from core.context import Actor, ActorKind, Workspace
from core.database import Database
from core.errors import BadInput
from core.grants import SYSTEM
from core.messages import LANGUAGES, catalogue
from core.rows import new_id
from core.settings import Settings
from core.throttle import FREE_OF_ADDRESS, FREE_OF_LOGIN, LONGEST_WAIT, Attempt
from tests.signing import LOGIN, PASSWORD, REFRESH, Desk, code_of

VIEWER = "{ viewer { login } }"
LOGOUT = "mutation { logout { userErrors { code } } }"
CHANGE = """mutation($old: String!, $new: String!) {
  passwordChange(input: {currentPassword: $old, newPassword: $new}) { userErrors { path code message params } } }"""
SET = """mutation($id: ID!, $password: String!) {
  userPasswordSet(input: {userId: $id, password: $password}) { user { login } userErrors { path code } } }"""
KEY = """mutation($name: String!, $allowed: [String!]!, $expiresAt: DateTime, $userId: ID) {
  apiKeyCreate(input: {name: $name, allowed: $allowed, expiresAt: $expiresAt, userId: $userId}) {
    key apiKey { id userId name allowed createdAt expiresAt revokedAt lastUsedAt }
    userErrors { path code message params } } }"""
REVOKE = "mutation($id: ID!) { apiKeyRevoke(input: {id: $id}) { id userErrors { path code } } }"
KEYS = "query($userId: ID) { apiKeys(userId: $userId) { id name userId allowed revokedAt lastUsedAt } }"
NEW = "mật khẩu mới 2"
#: As they are outside of tests.
HASHER, DUMMY = passwords._HASHER, passwords._DUMMY


@pytest.fixture
async def desk(database: Database, settings: Settings, module_workspace: Workspace) -> Desk:
    return await Desk.open(
        database, settings, module_workspace, an="Admin", binh="Salesperson", chi="Salesperson", mai="Manager"
    )


def codes(payload: dict[str, Any]) -> list[str]:
    return [e["code"] for e in payload["userErrors"]]


async def helper(desk: Desk, *abilities: str) -> str:
    """A token of somebody with abilities and no more."""
    role, login = new_id(), f"helper{len(desk.users)}"
    async with desk.database.transaction(desk.workspace) as c:
        await c.execute("insert into role (id, name, abilities) values ($1, $2, $3)", role, login, list(abilities))
        desk.users[login] = await passwords.create_user(c, login, PASSWORD, login, [login])
    return await desk.token(login)


# Signing in


async def test_login_gives_tokens_and_user(desk: Desk) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    payload = await desk.login("  BINH ")
    assert payload["userErrors"] == []
    assert payload["changeSet"] is None
    assert payload["user"] == {
        "id": str(desk.users["binh"]), "login": "binh", "displayName": "Binh", "locale": "vi", "roles": ["Salesperson"],
    }  # fmt: skip
    left = datetime.fromisoformat(payload["expiresAt"]) - before
    assert timedelta(minutes=15) <= left <= timedelta(minutes=15, seconds=10)
    assert await desk.do(VIEWER, payload["accessToken"]) == {"login": "binh"}


async def test_faults_of_login_look_alike(desk: Desk) -> None:
    await desk.row("update app_user set active = false where login = 'chi'")
    await desk.row("update app_user set password_hash = null where login = 'mai'")
    answers = [
        await desk.login("binh", "wrong password"),
        await desk.login("nobody", "wrong password"),
        await desk.login("chi"),
        await desk.login("mai"),
        await desk.login("binh", "x" * 10_000),
        await desk.login("", ""),
    ]
    for answer in answers:
        assert answer == answers[0]
        assert (answer["accessToken"], answer["refreshToken"], answer["user"]) == (None, None, None)
    (error,) = answers[0]["userErrors"]
    assert error == {
        "path": ["input"], "code": "INVALID_CREDENTIALS", "message": "Login or password is wrong", "params": {},
    }  # fmt: skip
    said = (await desk.login("binh", "wrong", locale="vi"))["userErrors"][0]["message"]
    assert said == "Tên đăng nhập hoặc mật khẩu không đúng"
    assert (await desk.row("select count(*) from refresh_token"))[0] == 0


async def test_every_login_costs_one_check_of_a_password(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []

    class Watched:
        def verify(self, kept: str, password: bytes) -> bool:
            checked.append(kept)
            return HASHER.verify(kept, password)

        def check_needs_rehash(self, kept: str) -> bool:
            return HASHER.check_needs_rehash(kept)

    kept = HASHER.hash(PASSWORD)
    await desk.row("update app_user set password_hash = $1 where login = 'binh'", kept)
    monkeypatch.setattr(passwords, "_HASHER", Watched())
    monkeypatch.setattr(passwords, "_DUMMY", DUMMY)
    for login in ("binh", "nobody"):
        checked.clear()
        await desk.login(login, "wrong password")
        assert len(checked) == 1
        assert not HASHER.check_needs_rehash(checked[0])


async def test_password_may_be_typed_in_either_unicode_form(desk: Desk) -> None:
    import unicodedata

    decomposed = unicodedata.normalize("NFD", PASSWORD)
    assert decomposed != PASSWORD
    assert codes(await desk.login("binh", decomposed)) == []


async def test_hash_of_older_parameters_is_renewed(desk: Desk) -> None:
    import argon2

    old = argon2.PasswordHasher(time_cost=1, memory_cost=8_192, parallelism=1).hash(passwords._bytes(PASSWORD))
    await desk.row("update app_user set password_hash = $1 where login = 'binh'", old)
    assert codes(await desk.login("binh")) == []
    kept = (await desk.row("select password_hash from app_user where login = 'binh'"))[0]
    assert kept != old
    assert not passwords.outdated(kept)
    assert codes(await desk.login("binh")) == []


async def test_nothing_secret_is_kept_or_logged(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    payload = await desk.login("binh")
    key = (await desk.do(KEY, payload["accessToken"], name="k", allowed=["*:*"]))["key"]
    await desk.login(PASSWORD, "typed the password into the wrong field")
    pool = desk.database.pool(desk.workspace)
    kept = ""
    for (table,) in await pool.fetch("select tablename::text from pg_tables where schemaname = current_schema()"):
        kept += str(await pool.fetch(f'select t::text from "{table}" t'))
    for secret in (PASSWORD, payload["accessToken"], payload["refreshToken"], key, key[-20:]):
        assert secret not in kept
        assert secret not in caplog.text


# Throttling


async def test_failures_make_the_next_attempt_wait_longer_and_longer(desk: Desk) -> None:
    for _ in range(FREE_OF_LOGIN):
        assert codes(await desk.login("binh", "wrong")) == ["INVALID_CREDENTIALS"]
    waits = []
    later = timedelta()
    for _ in range(14):
        (error,) = (await desk.login("binh", later=later))["userErrors"]
        assert error["code"] == "TOO_MANY_ATTEMPTS"
        assert error["path"] == ["input", "login"]
        assert error["message"] == f"Too many failed attempts; try again in {error['params']['retryAfter']} seconds"
        waits.append(error["params"]["retryAfter"])
        later += timedelta(seconds=waits[-1])
        assert codes(await desk.login("binh", "wrong", later=later)) == ["INVALID_CREDENTIALS"]
    assert waits[:6] == [1, 2, 4, 8, 16, 32]
    assert waits[-1] == LONGEST_WAIT
    assert codes(await desk.login("chi")) == []
    after = later + timedelta(seconds=LONGEST_WAIT)
    assert codes(await desk.login("binh", later=after)) == []
    row = await desk.row("select failed_logins, locked_until from app_user where login = 'binh'")
    assert tuple(row) == (0, None)


async def test_unknown_login_is_throttled_like_a_known_one(desk: Desk) -> None:
    async def answers(login: str) -> list[Any]:
        found = []
        for n in range(8):
            payload = await desk.login(login, "wrong", later=timedelta(milliseconds=n))
            found += [(e["code"], e["params"]) for e in payload["userErrors"]]
        return found

    known = await answers("binh")
    assert known == await answers("nobody")
    assert [code for code, _ in known] == ["INVALID_CREDENTIALS"] * 5 + ["TOO_MANY_ATTEMPTS"] * 3


async def test_old_failures_are_forgotten(desk: Desk) -> None:
    for login in ("binh", "nobody"):
        for _ in range(FREE_OF_LOGIN - 1):
            await desk.login(login, "wrong")
        later = timedelta(hours=1, minutes=1)
        for _ in range(FREE_OF_LOGIN - 1):
            assert codes(await desk.login(login, "wrong", later=later)) == ["INVALID_CREDENTIALS"]
        assert codes(await desk.login(login, "wrong", later=later)) == ["INVALID_CREDENTIALS"]
        assert codes(await desk.login(login, "wrong", later=later)) == ["TOO_MANY_ATTEMPTS"]


@pytest.mark.parametrize(
    ("one", "same", "another"),
    [
        ("203.0.113.7", "203.0.113.7", "203.0.113.8"),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1"),
        ("203.0.113.7", "::ffff:203.0.113.7", "2001:db8::1"),
        ("a unix socket", "a unix socket", "another"),
    ],
)
async def test_address_is_throttled_whatever_the_login(desk: Desk, one: str, same: str, another: str) -> None:
    for n in range(FREE_OF_ADDRESS):
        assert codes(await desk.login(f"guess {n}", "wrong", client=one)) == ["INVALID_CREDENTIALS"]
    assert codes(await desk.login("binh", client=same)) == ["TOO_MANY_ATTEMPTS"]
    assert codes(await desk.login("binh", client=another)) == []
    assert codes(await desk.login("binh", client="")) == []
    assert codes(await desk.login("binh", client=same, later=timedelta(seconds=2))) == []
    # A success does not clear the address.
    assert codes(await desk.login("guess", "wrong", client=one, later=timedelta(seconds=2))) == ["INVALID_CREDENTIALS"]
    (error,) = (await desk.login("binh", client=one, later=timedelta(seconds=2)))["userErrors"]
    assert error["params"] == {"retryAfter": 2}


async def test_parallel_guesses_are_counted_one_by_one(desk: Desk) -> None:
    answers = await asyncio.gather(*(desk.login("binh", f"guess {n}") for n in range(12)))
    found = sorted(code for answer in answers for code in codes(answer))
    assert found == ["INVALID_CREDENTIALS"] * FREE_OF_LOGIN + ["TOO_MANY_ATTEMPTS"] * (12 - FREE_OF_LOGIN)


async def test_traces_of_failures_go_after_a_day(desk: Desk) -> None:
    await desk.login("nobody", "wrong", client="203.0.113.7")
    assert (await desk.row("select count(*) from login_failure"))[0] == 2
    await desk.login("somebody", "wrong", later=timedelta(days=1, minutes=1))
    assert (await desk.row("select count(*) from login_failure"))[0] == 1


async def test_attempt_is_alone_for_its_login(desk: Desk) -> None:
    now = datetime.now(UTC)
    async with desk.database.transaction(desk.workspace) as one, desk.database.transaction(desk.workspace) as two:
        await Attempt.begin(one, "binh", "", now)
        await asyncio.wait_for(Attempt.begin(two, "chi", "", now), 2)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(Attempt.begin(two, "BINH", "", now), 0.2)


async def test_no_connection_is_held_while_a_password_is_looked_at(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = desk.database.pool(desk.workspace)
    held: list[int] = []
    looked = passwords._aside

    async def watched(*arguments: Any) -> Any:
        held.append(pool.size - len(pool.idle))
        return await looked(*arguments)

    monkeypatch.setattr(passwords, "_aside", watched)
    token = await desk.token("binh")
    await desk.login("binh", "wrong")
    assert await desk.do(CHANGE, token, old=PASSWORD, new="một mật khẩu mới") == {"userErrors": []}
    payload = await desk.do(SET, await desk.token("an"), id=str(desk.users["binh"]), password=PASSWORD)
    assert payload["userErrors"] == []
    assert held == [0] * 6


async def test_so_many_may_wait_for_their_password_to_be_looked_at(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(kept: str | None, password: str) -> bool:
        time.sleep(0.2)
        return False

    with monkeypatch.context() as changed:
        changed.setattr(passwords, "QUEUE", 3)
        changed.setattr(passwords, "_verify", slow)
        answers = await asyncio.gather(*(desk.ask(LOGIN, login=f"user{n}", password="x" * 9) for n in range(12)))
    refused = [a["errors"][0]["extensions"]["code"] for a in answers if "errors" in a]
    assert refused
    assert set(refused) == {"RATE_LIMITED"}
    assert len(answers) - len(refused) >= 3
    assert codes(await desk.login("binh")) == []


async def test_a_password_changed_while_another_was_looked_at_does_not_let_in(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = passwords._aside

    async def changed(*arguments: Any) -> Any:
        await desk.row("update app_user set password_hash = 'another' where login = 'binh'")
        return await looked(*arguments)

    monkeypatch.setattr(passwords, "_aside", changed)
    assert codes(await desk.login("binh")) == ["INVALID_CREDENTIALS"]


# Sessions


async def test_refresh_rotates_and_reuse_ends_the_family(desk: Desk) -> None:
    first = await desk.login("binh")
    second = await desk.do(REFRESH, refresh=first["refreshToken"])
    assert second["userErrors"] == []
    assert second["user"] == {"login": "binh"}
    assert second["refreshToken"] != first["refreshToken"]
    third = await desk.do(REFRESH, refresh=second["refreshToken"])
    unrelated = await desk.login("binh")
    for payload in (first, second, third):
        assert await desk.do(VIEWER, payload["accessToken"]) == {"login": "binh"}
    stolen = await desk.do(REFRESH, refresh=first["refreshToken"])
    assert codes(stolen) == ["INVALID_TOKEN"]
    assert stolen["accessToken"] is None
    for payload in (first, second, third):
        with pytest.raises(Exception, match="revoked"):
            await desk.do(VIEWER, payload["accessToken"])
        assert codes(await desk.do(REFRESH, refresh=payload["refreshToken"])) == ["INVALID_TOKEN"]
    assert await desk.do(VIEWER, unrelated["accessToken"]) == {"login": "binh"}
    assert codes(await desk.do(REFRESH, refresh=unrelated["refreshToken"])) == []


async def test_of_concurrent_refreshes_one_gets_through(desk: Desk) -> None:
    token = (await desk.login("binh"))["refreshToken"]
    answers = await asyncio.gather(*(desk.do(REFRESH, refresh=token) for _ in range(6)))
    assert sorted(codes(a) for a in answers) == [[]] + [["INVALID_TOKEN"]] * 5


async def test_session_ended_meanwhile_is_not_refreshed_to_life(desk: Desk) -> None:
    """A logout that overlaps a refresh does not see its new row, which must be worth nothing all the same."""
    from core.sessions import end_session, refresh

    payload = await desk.login("binh")
    session = (await desk.auth.actor(desk.workspace, payload["accessToken"])).token_id
    assert session is not None
    async with desk.database.transaction(desk.workspace) as one:
        new = await refresh(one, desk.auth, desk.workspace, payload["refreshToken"], datetime.now(UTC))

        async def end() -> None:
            async with desk.database.transaction(desk.workspace) as two:
                await end_session(two, desk.auth, desk.workspace, session)

        ending = asyncio.create_task(end())
        await asyncio.sleep(0.2)
        assert not ending.done()
    await ending
    assert new is not None
    with pytest.raises(Exception, match="revoked"):
        await desk.auth.actor(desk.workspace, new.access_token)
    assert codes(await desk.do(REFRESH, refresh=new.refresh_token)) == ["INVALID_TOKEN"]


async def test_session_lasts_its_days_however_often_refreshed(desk: Desk) -> None:
    token = (await desk.login("binh"))["refreshToken"]
    for days in (10, 20, 29):
        payload = await desk.do(REFRESH, refresh=token, later=timedelta(days=days))
        assert payload["userErrors"] == []
        token = payload["refreshToken"]
    assert codes(await desk.do(REFRESH, refresh=token, later=timedelta(days=30, seconds=1))) == ["INVALID_TOKEN"]


@pytest.mark.parametrize("change", ["active = false", "deleted_at = now()"])
async def test_user_who_is_no_more_cannot_refresh(desk: Desk, change: str) -> None:
    token = (await desk.login("binh"))["refreshToken"]
    await desk.row(f"update app_user set {change} where login = 'binh'")
    assert codes(await desk.do(REFRESH, refresh=token)) == ["INVALID_TOKEN"]


@pytest.mark.parametrize("token", ["", "crmr_x_y", "crmr_" + "0" * 32 + "_x", "crm_" + "0" * 32 + "_x"])
async def test_what_is_no_refresh_token_is_refused(desk: Desk, token: str) -> None:
    assert codes(await desk.do(REFRESH, refresh=token)) == ["INVALID_TOKEN"]


async def test_right_id_with_wrong_secret_ends_nothing(desk: Desk) -> None:
    payload = await desk.login("binh")
    used = payload["refreshToken"]
    await desk.do(REFRESH, refresh=used)
    assert codes(await desk.do(REFRESH, refresh=used[:-4] + "aaaa")) == ["INVALID_TOKEN"]
    assert await desk.do(VIEWER, payload["accessToken"]) == {"login": "binh"}


async def test_logout_ends_this_session_only(desk: Desk) -> None:
    one, two = await desk.login("binh"), await desk.login("binh")
    assert await desk.do(LOGOUT, one["accessToken"]) == {"userErrors": []}
    with pytest.raises(Exception, match="revoked"):
        await desk.do(VIEWER, one["accessToken"])
    assert codes(await desk.do(REFRESH, refresh=one["refreshToken"])) == ["INVALID_TOKEN"]
    assert await desk.do(VIEWER, two["accessToken"]) == {"login": "binh"}


async def test_dry_logout_ends_nothing(desk: Desk) -> None:
    token = await desk.token("binh")
    await desk.do("mutation { logout(dryRun: true) { userErrors { code } } }", token)
    assert await desk.do(VIEWER, token) == {"login": "binh"}


async def test_expired_refresh_tokens_are_swept(desk: Desk) -> None:
    await desk.login("binh")
    await desk.login("chi")
    await desk.login("binh", later=timedelta(days=31))
    rows = await desk.row(
        "select count(*) filter (where user_id = $1), count(*) from refresh_token", desk.users["binh"]
    )
    assert tuple(rows) == (1, 2)


# Passwords


async def test_password_change_ends_other_sessions(desk: Desk) -> None:
    mine, others = await desk.login("binh"), await desk.login("binh")
    assert await desk.do(CHANGE, mine["accessToken"], old=PASSWORD, new=NEW) == {"userErrors": []}
    assert await desk.do(VIEWER, mine["accessToken"]) == {"login": "binh"}
    assert codes(await desk.do(REFRESH, refresh=mine["refreshToken"])) == []
    with pytest.raises(Exception, match="revoked"):
        await desk.do(VIEWER, others["accessToken"])
    assert codes(await desk.login("binh", PASSWORD)) == ["INVALID_CREDENTIALS"]
    assert codes(await desk.login("binh", NEW)) == []
    assert codes(await desk.login("chi", PASSWORD)) == []


async def test_wrong_current_password_is_refused_and_counted(desk: Desk) -> None:
    token = await desk.token("binh")
    for _ in range(FREE_OF_LOGIN):
        (error,) = (await desk.do(CHANGE, token, old="wrong", new=NEW))["userErrors"]
        assert (error["code"], error["path"]) == ("INVALID_CREDENTIALS", ["input", "currentPassword"])
    (error,) = (await desk.do(CHANGE, token, old=PASSWORD, new=NEW))["userErrors"]
    assert (error["code"], error["params"]) == ("TOO_MANY_ATTEMPTS", {"retryAfter": 1})
    assert codes(await desk.login("binh")) == ["TOO_MANY_ATTEMPTS"]
    assert codes(await desk.login("binh", later=timedelta(seconds=2))) == []


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("1234567", "A password has at least 8 characters"),
        ("x" * 201, "A password has at most 200 characters"),
        ("BINHBINH", "The password must differ from the login"),
    ],
)
async def test_weak_password_is_refused(desk: Desk, new: str, message: str) -> None:
    await desk.row("update app_user set login = 'binhbinh' where login = 'binh'")
    token = await desk.token("binhbinh")
    (error,) = (await desk.do(CHANGE, token, old=PASSWORD, new=new))["userErrors"]
    assert (error["path"], error["code"], error["message"]) == (["input", "newPassword"], "WEAK_PASSWORD", message)
    admin = await desk.token("an")
    payload = await desk.do(SET, admin, id=str(desk.users["binh"]), password=new)
    assert payload["userErrors"] == [{"path": ["input", "password"], "code": "WEAK_PASSWORD"}]
    assert payload["user"] is None
    assert codes(await desk.login("binhbinh")) == []


async def test_admin_sets_a_password(desk: Desk) -> None:
    session, key = (
        await desk.token("binh"),
        (await desk.do(KEY, await desk.token("binh"), name="k", allowed=["*:*"]))["key"],
    )
    for _ in range(FREE_OF_LOGIN):
        await desk.login("binh", "wrong")
    admin = await desk.token("an")
    payload = await desk.do(SET, admin, id=str(desk.users["binh"]), password=NEW)
    assert payload == {"user": {"login": "binh"}, "userErrors": []}
    with pytest.raises(Exception, match="revoked"):
        await desk.do(VIEWER, session)
    assert await desk.do(VIEWER, key) == {"login": "binh"}
    assert codes(await desk.login("binh", NEW)) == []


async def test_created_user_signs_in_once_he_has_a_password(desk: Desk) -> None:
    admin = await desk.token("an")
    made = await desk.do(
        'mutation { userCreate(input: {login: "Dũng", displayName: "Dũng"}) { user { id } userErrors { code } } }',
        admin,
    )
    assert codes(await desk.login("dũng", "")) == ["INVALID_CREDENTIALS"]
    await desk.do(SET, admin, id=made["user"]["id"], password=NEW)
    assert (await desk.login("DŨNG", NEW))["user"]["roles"] == []


async def test_unknown_user_has_no_password_to_set(desk: Desk) -> None:
    admin = await desk.token("an")
    await desk.row("update app_user set deleted_at = now() where login = 'chi'")
    for id_ in (str(uuid4()), "x", str(desk.users["chi"])):
        payload = await desk.do(SET, admin, id=id_, password=NEW)
        assert payload == {"user": None, "userErrors": [{"path": ["input", "userId"], "code": "NOT_FOUND"}]}


async def test_nobody_sets_the_password_of_one_who_may_do_more(desk: Desk) -> None:
    token = await helper(desk, "users")
    before = await desk.row("select password_hash from app_user where login = 'an'")
    assert code_of(await desk.ask(SET, token, id=str(desk.users["an"]), password=NEW)) == "FORBIDDEN"
    assert code_of(await desk.ask(KEY, token, name="k", allowed=["*:*"], userId=str(desk.users["an"]))) == "FORBIDDEN"
    assert await desk.row("select password_hash from app_user where login = 'an'") == before
    assert (await desk.row("select count(*) from api_key"))[0] == 0
    await desk.row("delete from user_role where user_id = $1", desk.users["chi"])
    assert codes(await desk.do(SET, token, id=str(desk.users["chi"]), password=NEW)) == []


@pytest.mark.parametrize("who", ["binh", "mai", "roles only"])
async def test_setting_passwords_needs_the_ability(desk: Desk, who: str) -> None:
    token = await helper(desk, "roles", "settings") if who == "roles only" else await desk.token(who)
    answer = await desk.ask(SET, token, id=str(desk.users["chi"]), password=NEW)
    assert code_of(answer) == "FORBIDDEN"
    assert codes(await desk.login("chi")) == []


async def test_system_sets_passwords(desk: Desk) -> None:
    actor = Actor(ActorKind.SYSTEM, SYSTEM)
    payload = await desk.do(SET, actor=actor, id=str(desk.users["an"]), password=NEW)
    assert payload["user"] == {"login": "an"}
    assert codes(await desk.login("an", NEW)) == []


# API keys


async def test_key_acts_for_its_maker_within_its_limits(desk: Desk) -> None:
    token = await desk.token("an")
    expires = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    made = await desk.do(KEY, token, name=" Website ", allowed=["Customer:read"], expiresAt=expires)
    assert made["userErrors"] == []
    kept = made["apiKey"]
    assert (kept["name"], kept["userId"], kept["allowed"]) == ("Website", str(desk.users["an"]), ["Customer:read"])
    assert datetime.fromisoformat(kept["expiresAt"]) == datetime.fromisoformat(expires)
    viewer = await desk.do("{ viewer { login isApiKey abilities permissions { record action scope } } }", made["key"])
    assert viewer == {
        "login": "an", "isApiKey": True, "abilities": [],
        "permissions": [{"record": "Customer", "action": "read", "scope": "ALL"}],
    }  # fmt: skip
    assert await desk.do("{ customers { nodes { id } } }", made["key"]) == {"nodes": []}
    assert code_of(
        await desk.ask(
            'mutation { customerCreate(input: {name: "A", kind: PERSON}) { userErrors { code } } }', made["key"]
        )
    ) == ("FORBIDDEN")


@pytest.mark.parametrize(
    ("given", "name", "code"),
    [
        ({"name": "  "}, "name", "REQUIRED"),
        ({"name": "x" * 101}, "name", "TOO_LONG"),
        ({"allowed": ["Customer:read", "Customer"]}, "allowed", "INVALID"),
        ({"allowed": ["Customer:fly"]}, "allowed", "INVALID"),
        ({"allowed": ["Martian:read"]}, "allowed", "INVALID"),
        ({"allowed": ["*:fly"]}, "allowed", "INVALID"),
        ({"allowed": ["Customer:read:x"]}, "allowed", "INVALID"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt", "INVALID"),
        ({"expiresAt": "2020-01-01T00:00:00"}, "expiresAt", "INVALID"),
        ({"userId": "x"}, "userId", "NOT_FOUND"),
    ],
)
async def test_faulty_key_is_refused(desk: Desk, given: dict[str, Any], name: str, code: str) -> None:
    payload = await desk.do(KEY, await desk.token("an"), **({"name": "k", "allowed": ["*:*"]} | given))
    (error,) = payload["userErrors"]
    assert (error["path"], error["code"]) == (["input", name], code)
    assert payload["key"] is None
    assert (await desk.row("select count(*) from api_key"))[0] == 0


async def test_revoked_key_is_worth_nothing_at_once(desk: Desk) -> None:
    token = await desk.token("binh")
    made = await desk.do(KEY, token, name="k", allowed=["*:*"])
    id_ = made["apiKey"]["id"]
    assert await desk.do(VIEWER, made["key"]) == {"login": "binh"}
    assert await desk.do(REVOKE, token, id=id_) == {"id": id_, "userErrors": []}
    with pytest.raises(Exception, match="revoked"):
        await desk.do(VIEWER, made["key"])
    (shown,) = await desk.do(KEYS, token)
    assert shown["id"] == id_
    assert shown["revokedAt"] is not None
    assert shown["lastUsedAt"] is not None
    assert codes(await desk.do(REVOKE, token, id=id_)) == []
    assert [k["revokedAt"] for k in await desk.do(KEYS, token)] == [shown["revokedAt"]]


async def test_keys_of_others_need_the_ability(desk: Desk) -> None:
    binh, admin = await desk.token("binh"), await desk.token("an")
    chis = str(desk.users["chi"])
    asked = {"name": "k", "allowed": ["*:*"], "userId": chis}
    assert code_of(await desk.ask(KEY, binh, **asked)) == "FORBIDDEN"
    assert code_of(await desk.ask(KEYS, binh, userId=chis)) == "FORBIDDEN"
    made = await desk.do(KEY, admin, **asked)
    assert await desk.do(VIEWER, made["key"]) == {"login": "chi"}
    id_ = made["apiKey"]["id"]
    not_found = [{"path": ["input", "id"], "code": "NOT_FOUND"}]
    for unknown in (id_, str(uuid4()), "x"):
        assert await desk.do(REVOKE, binh, id=unknown) == {"id": None, "userErrors": not_found}
    assert await desk.do(VIEWER, made["key"]) == {"login": "chi"}
    assert [k["id"] for k in await desk.do(KEYS, admin, userId=chis)] == [id_]
    assert await desk.do(KEYS, admin) == []
    assert await desk.do(KEYS, binh) == []
    assert (await desk.do(REVOKE, admin, id=id_))["id"] == id_
    with pytest.raises(Exception, match="revoked"):
        await desk.do(VIEWER, made["key"])


async def test_key_makes_no_keys_and_changes_no_password(desk: Desk) -> None:
    key = (await desk.do(KEY, await desk.token("an"), name="k", allowed=["*:*"]))["key"]
    assert code_of(await desk.ask(KEY, key, name="k", allowed=["*:*"])) == "FORBIDDEN"
    assert code_of(await desk.ask(CHANGE, key, old=PASSWORD, new=NEW)) == "FORBIDDEN"
    assert code_of(await desk.ask(LOGOUT, key)) == "FORBIDDEN"
    assert codes(await desk.login("an")) == []


async def test_nobody_may_only_sign_in(desk: Desk) -> None:
    id_ = str(desk.users["binh"])
    refused = [
        (LOGOUT, {}),
        (CHANGE, {"old": PASSWORD, "new": NEW}),
        (SET, {"id": id_, "password": NEW}),
        (KEY, {"name": "k", "allowed": ["*:*"]}),
        (REVOKE, {"id": id_}),
        (KEYS, {}),
    ]
    for query, variables in refused:
        assert code_of(await desk.ask(query, **variables)) == "UNAUTHENTICATED"
    assert await desk.do(VIEWER) is None
    assert codes(await desk.login("binh")) == []


def test_mutations_with_secrets_are_not_kept_and_not_tried(desk_schema: Any) -> None:
    fields = desk_schema.mutation_type.fields
    for name in ("login", "tokenRefresh", "passwordChange", "userPasswordSet", "apiKeyCreate"):
        assert list(fields[name].args) == ["input"]
    assert {"dryRun", "idempotencyKey"} < set(fields["apiKeyRevoke"].args)


@pytest.fixture
def desk_schema() -> Any:
    from tests.signing import composed

    return composed().schema


# The viewer


async def test_viewer_shows_what_he_may(desk: Desk) -> None:
    role = (await desk.row("select id from role where name = 'Salesperson'"))[0]
    for name, access in (("phone", "HIDE"), ("email", "READ"), ("fax", "WRITE")):
        await desk.row(
            "insert into field_rule (id, role_id, record_type, field, access) values ($1, $2, 'Customer', $3, $4)",
            new_id(), role, name, access,
        )  # fmt: skip
    viewer = await desk.do(
        """{ viewer { id login isApiKey roles abilities user { login displayName teams { nodes { name } } }
             permissions { record action scope } fieldRules { record field access } } }""",
        await desk.token("binh"),
    )
    assert viewer["id"] == str(desk.users["binh"])
    assert (viewer["login"], viewer["isApiKey"], viewer["roles"]) == ("binh", False, ["Salesperson"])
    assert viewer["abilities"] == ["files"]
    assert viewer["user"] == {"login": "binh", "displayName": "Binh", "teams": {"nodes": []}}
    scopes = {(p["record"], p["action"]): p["scope"] for p in viewer["permissions"]}
    assert scopes["Customer", "read"] == "OWN"
    assert scopes["User", "read"] == "ALL"
    assert ("User", "update") not in scopes
    assert "NONE" not in scopes.values()
    assert viewer["fieldRules"] == [
        {"record": "Customer", "field": "email", "access": "READ"},
        {"record": "Customer", "field": "phone", "access": "HIDE"},
    ]
    admin = await desk.do("{ viewer { abilities } }", await desk.token("an"))
    assert {"users", "roles"} <= set(admin["abilities"])


async def test_viewer_who_may_not_read_users_still_knows_himself(desk: Desk) -> None:
    token = await helper(desk)
    assert await desk.do("{ viewer { login user { id } roles } }", token) == {
        "login": "helper4", "user": None, "roles": ["helper4"],
    }  # fmt: skip


# The command line's functions


async def test_create_user(desk: Desk) -> None:
    async with desk.database.transaction(desk.workspace) as c:
        id_ = await passwords.create_user(
            c, " Em ", None, role_names=["Manager", "Salesperson", "Manager"], email="em@example.com", locale="en"
        )
        for arguments, message in [
            (("EM", PASSWORD), "in use"),
            ((" ", PASSWORD), "1 to 100"),
            (("g", PASSWORD, "G", ["Emperor"]), "no role Emperor"),
            (("g", "short"), "at least 8"),
        ]:
            with pytest.raises(BadInput, match=message):
                await passwords.create_user(c, *arguments)  # type: ignore[arg-type]
    row = await desk.row(
        "select login, display_name, email, locale, active, password_hash from app_user where id = $1", id_
    )
    assert tuple(row) == ("Em", "Em", "em@example.com", "en", True, None)
    assert (await desk.row("select count(*) from user_role where user_id = $1", id_))[0] == 2
    assert codes(await desk.login("em", "")) == ["INVALID_CREDENTIALS"]
    after = await desk.row("select after, version from change where record_id = $1 and action = 'CREATE'", id_)
    values = {"login": "Em", "displayName": "Em", "email": "em@example.com", "locale": "en", "active": True}
    assert tuple(after) == (values, 1)
    journal = await desk.row(
        "select s.source, s.operation, s.counts->'created', array_agg(c.record_type order by c.id) from change_set s "
        "join change c on c.change_set_id = s.id "
        "where s.id = (select change_set_id from change where record_id = $1) group by s.id",
        id_,
    )
    assert tuple(journal) == ("COMMAND", "userCreate", 3, ["User", "UserRole", "UserRole"])


async def test_set_password(desk: Desk) -> None:
    token = await desk.token("binh")
    assert await desk.do(VIEWER, token) == {"login": "binh"}
    async with desk.database.transaction(desk.workspace) as c:
        with pytest.raises(BadInput, match="no such user"):
            await passwords.set_password(c, UUID(int=1), NEW)
        with pytest.raises(BadInput, match="at least 8"):
            await passwords.set_password(c, desk.users["binh"], "short")
        await passwords.set_password(c, desk.users["binh"], NEW)
    async with asyncio.timeout(1):
        while desk.auth._actors:
            await asyncio.sleep(0.01)
    with pytest.raises(Exception, match="revoked"):
        await desk.do(VIEWER, token)
    assert codes(await desk.login("binh", NEW)) == []


def test_messages_are_in_every_language() -> None:
    keys = {
        "invalid_credentials", "wrong_password", "too_many_attempts", "invalid_token", "password_too_short",
        "password_too_long", "password_is_login", "not_in_future", "unknown_permission",
    }  # fmt: skip
    for language in LANGUAGES:
        assert keys <= set(catalogue("core", language))
