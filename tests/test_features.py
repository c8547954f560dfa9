"""Feature sets: composed, switched, followed by every process."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from graphql import (
    get_named_type,
    is_enum_type,
    is_input_object_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
)

from core import contributions
from core.context import Actor, ActorKind, Workspace
from core.contributions import Chosen, FeatureSet, compose
from core.database import Database
from core.errors import CompositionError, CrmError, MigrationError, Refused
from core.features import Features, canonical
from core.grants import NOBODY, Reach
from core.jobs import enqueue
from core.plugins import PluginRegistry
from core.schema.mutations import UNDO
from core.settings import Settings
from core.workspaces import Workspaces
from tests.broken_plugins.good.hooks import SEEN
from tests.conftest import NewWorkspace
from tests.switching import Desk, actor

BROKEN = "tests.broken_plugins"
ENABLE = """mutation($name: String!, $settings: JSON, $dryRun: Boolean! = false, $key: String) {
  pluginEnable(input: {name: $name, settings: $settings}, dryRun: $dryRun, idempotencyKey: $key) {
    plugin { name state enabled reason settings } userErrors { code path message } } }"""
DISABLE = """mutation($name: String!) { pluginDisable(input: {name: $name}) {
  plugin { state } userErrors { code message } } }"""
PURGE = """mutation($name: String!, $confirm: String!) { pluginPurge(input: {name: $name, confirm: $confirm}) {
  plugin { state } userErrors { code message path } } }"""
PLUGINS = "{ plugins { name version summary enabled state reason settings settingsSchema } }"
SHOUT = "{ customers { nodes { name shout } } }"


def registry_of(*names: str) -> PluginRegistry:
    return PluginRegistry.discover([n if "." in n else f"{BROKEN}.{n}" for n in names])


@pytest.fixture(scope="module")
async def make(database: Database) -> AsyncIterator[Any]:
    """Features with plugins, as one process has them: for tests that ask for the same plugins the same ones.

    What one of them has composed serves the others; `fresh` ones have composed nothing yet.
    """
    made: list[Features] = []
    shared: dict[tuple[str, ...], Features] = {}

    def features(*names: str, fresh: bool = False, on: Database = database) -> Features:
        if fresh or on is not database or names not in shared:
            made.append(Features(on, registry=registry_of(*names)))
            if fresh or on is not database:
                return made[-1]
            shared[names] = made[-1]
        return shared[names]

    yield features
    for each in made:
        await each.close()


@pytest.fixture(autouse=True)
def nothing_seen() -> Iterator[None]:
    SEEN.clear()
    yield
    SEEN.clear()


async def eventually(condition: Any) -> None:
    """Wait until a condition holds: within a second on an idle machine, but these tests may not have one."""
    started = time.monotonic()
    while not await condition():
        assert time.monotonic() - started < 30, "too late"
        await asyncio.sleep(0.01)


def composed_of(features: Features, *names: str, **settings: Any) -> contributions.Composed:
    chosen = tuple(Chosen(n, "1.0", canonical(settings)) for n in names)
    return compose(FeatureSet(chosen), features.registry, features._operations)


# Composing


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("raises_in_hook", "plugin raises_in_hook failed in hook extensions: ValueError: not today"),
        ("takes_a_name", "Customer.email of takes_a_name is already declared by core"),
        ("takes_a_type", "GraphQL type 'Customer' of takes_a_type is already declared by core"),
        ("returns_nonsense", "plugin returns_nonsense: queries returned str"),
        ("narrows_wrongly", "plugin narrows_wrongly: narrow returned str, not a predicate"),
        ("takes_an_ability", "plugin takes_an_ability: the ability roles must begin with takes_an_ability"),
    ],
)
async def test_a_plugin_that_cannot_be_composed_is_left_out(make: Any, name: str, reason: str) -> None:
    composed = composed_of(make(name, "good"), name, "good")
    assert composed.left_out == {name: reason}
    assert [p.name for p in composed.composition.hooks.plugins] == ["good"]
    assert "shout: String" in composed.composition.sdl
    assert "Mine." not in composed.composition.sdl


async def test_what_needs_a_plugin_that_is_left_out_is_left_out(make: Any) -> None:
    features = make("good", "follows")
    chosen = (Chosen("good", "1.0", b'{"greeting":7}'), Chosen("follows", "1.0"))
    composed = compose(FeatureSet(chosen), features.registry, features._operations)
    assert composed.left_out == {
        "good": "greeting: Input should be a valid string",
        "follows": "it needs good, which is not enabled or left out",
    }


async def test_core_that_cannot_be_composed_is_an_error(make: Any) -> None:
    features = make("good")
    twice = features._operations + contributions.Operations(mutations=(UNDO,))
    with pytest.raises(CompositionError, match="mutation changeSetUndo of core is already declared by core"):
        compose(FeatureSet(), features.registry, twice)


async def test_equal_feature_sets_share_one_composition(make: Any, new_workspace: NewWorkspace) -> None:
    features = make("good")
    one, two, three = [await new_workspace() for _ in range(3)]
    await features.enable(one, "good", {"greeting": "a"})
    await features.enable(two, "good", {"greeting": "a"})
    await features.enable(three, "good", {"greeting": "b"})
    first = await features.composition(one)
    assert await features.composition(two) is first
    assert await features.composition(three) is not first
    assert (await features.composition(three)).fingerprint != first.fingerprint


async def test_composing_is_off_the_loop(make: Any, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    original = contributions.compose
    monkeypatch.setattr("core.features.compose", lambda *a: threads.append(threading.get_ident()) or original(*a))
    await make(fresh=True).composition(workspace)
    assert threads
    assert threading.get_ident() not in threads


async def test_first_requests_compose_once(make: Any, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    original = contributions.compose
    monkeypatch.setattr("core.features.compose", lambda *a: calls.append(1) or original(*a))
    features = make(fresh=True)
    found = await asyncio.gather(*(features.composition(workspace) for _ in range(20)))
    assert len(calls) == 1
    assert len({id(c) for c in found}) == 1


async def test_a_workspace_never_migrated_is_an_error(make: Any, new_workspace: NewWorkspace) -> None:
    empty = await new_workspace(migrated=False)
    features = make()
    for _ in range(2):
        with pytest.raises(CrmError, match="has not been migrated"):
            await features.composition(empty)


# Switching


async def test_two_workspaces_have_different_schemas(make: Any, new_workspace: NewWorkspace) -> None:
    features = make("plugins.groups")
    one, two = await new_workspace(), await new_workspace()
    await features.enable(one, "groups")
    assert "customersGroupsMove" in (await features.composition(one)).sdl
    assert "customersGroupsMove" not in (await features.composition(two)).sdl


async def test_enabling_and_disabling_through_graphql(make: Any, database: Database, workspace: Workspace) -> None:
    desk = Desk(database, make("own_table"), workspace)
    (before,) = await desk.do(PLUGINS)
    assert (before["state"], before["enabled"], before["settings"]) == ("AVAILABLE", False, None)
    done = await desk.do(ENABLE, name="own_table")
    assert done == {
        "plugin": {"name": "own_table", "state": "ENABLED", "enabled": True, "reason": None, "settings": {}},
        "userErrors": [],
    }

    async def shown() -> bool:
        return "errors" not in await desk.ask("{ things { nodes { name } } }")

    await eventually(shown)
    await desk.do('mutation { thingCreate(input: {name: "kept"}) { thing { name } } }')
    assert (await desk.do(DISABLE, name="own_table"))["plugin"] == {"state": "DISABLED"}

    async def hidden() -> bool:
        return not await shown()

    await eventually(hidden)
    assert await desk.fetch("select name from own_thing") == "kept"
    await desk.do(ENABLE, name="own_table")
    await eventually(shown)
    assert (await desk.do("{ things { nodes { name } } }"))["nodes"] == [{"name": "kept"}]


async def test_a_dry_run_of_enabling_leaves_nothing(make: Any, database: Database, workspace: Workspace) -> None:
    desk = Desk(database, make("own_table"), workspace)
    done = await desk.do(ENABLE, name="own_table", dryRun=True)
    assert done["plugin"]["state"] == "ENABLED"
    assert await desk.fetch("select to_regclass('own_thing')") is None
    assert await desk.fetch("select count(*) from feature") == 0
    assert await desk.fetch("select count(*) from migration where app_name = 'own_table'") == 0


async def test_enabling_twice_with_one_key_at_once(make: Any, database: Database, workspace: Workspace) -> None:
    desk = Desk(database, make("own_table"), workspace)
    answers = await asyncio.gather(*(desk.do(ENABLE, name="own_table", key="once") for _ in range(4)))
    assert all(a == answers[0] and a["userErrors"] == [] for a in answers)
    assert await desk.fetch("select count(*) from migration where app_name = 'own_table'") == 1


async def test_a_failing_migration_leaves_nothing(make: Any, database: Database, workspace: Workspace) -> None:
    features = make("fails_to_migrate")
    desk = Desk(database, features, workspace)
    with pytest.raises(CrmError, match="the migration fails_to_migrate_0001 of fails_to_migrate failed"):
        await features.enable(workspace, "fails_to_migrate")
    answer = await desk.ask(ENABLE, name="fails_to_migrate")
    assert answer["errors"][0]["extensions"]["code"] == "PLUGIN_FAILED"
    assert await desk.fetch("select count(*) from feature") == 0
    (status,) = await features.status(workspace)
    assert status.state == "AVAILABLE"


@pytest.mark.parametrize(
    ("name", "given", "code", "path"),
    [
        ("nowhere", None, "NOT_FOUND", "name"),
        ("raises_on_import", None, "CONFLICT", "name"),
        ("takes_a_name", None, "CONFLICT", "name"),
        ("follows", None, "CONFLICT", "name"),
        ("good", {"greeting": 7}, "INVALID", "settings"),
        ("good", {"colour": "red"}, "INVALID", "settings"),
        ("good", ["list"], "INVALID", "settings"),
    ],
)
async def test_what_cannot_be_enabled_is_refused_by_name(
    make: Any, database: Database, module_workspace: Workspace, name: str, given: Any, code: str, path: str
) -> None:
    features = make("good", "follows", "takes_a_name", "raises_on_import")
    desk = Desk(database, features, module_workspace)
    done = await desk.do(ENABLE, name=name, settings=given)
    (error,) = done["userErrors"]
    assert (error["code"], error["path"]) == (code, ["input", path])
    assert done["plugin"] is None
    assert await desk.fetch("select count(*) from feature") == 0


async def test_requirements_hold_both_ways(make: Any, database: Database, workspace: Workspace) -> None:
    features = make("good", "follows")
    with pytest.raises(Refused, match="The plugin follows needs good: enable it first"):
        await features.enable(workspace, "follows")
    await features.enable(workspace, "good")
    await features.enable(workspace, "follows")
    with pytest.raises(Refused, match="The plugin good is needed by follows"):
        await features.disable(workspace, "good")
    await features.disable(workspace, "follows")
    await features.disable(workspace, "good")
    with pytest.raises(Refused, match="The plugin good is needed by follows"):
        await features.purge(workspace, "good")
    await features.purge(workspace, "follows")
    await features.purge(workspace, "good")
    assert {s.name: s.state for s in await features.status(workspace)} == {"good": "AVAILABLE", "follows": "AVAILABLE"}


async def test_purging_drops_the_tables_once_every_process_had_time_to_let_go(
    make: Any, database: Database, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.switch.GRACE", 1.0)
    desk = Desk(database, make("own_table"), workspace)
    await desk.features.enable(workspace, "own_table")
    (error,) = (await desk.do(PURGE, name="own_table", confirm="own_table"))["userErrors"]
    assert error["message"] == "The plugin own_table is enabled: disable it first"
    await desk.features.disable(workspace, "own_table")
    off = await desk.fetch("select at from feature where plugin = 'own_table'")
    (error,) = (await desk.do(PURGE, name="own_table", confirm="yes"))["userErrors"]
    assert (error["code"], error["path"]) == ("INVALID", ["input", "confirm"])
    assert await desk.fetch("select to_regclass('own_thing') is not null")
    done = await desk.do(PURGE, name="own_table", confirm="own_table")
    assert done == {"plugin": {"state": "AVAILABLE"}, "userErrors": []}
    assert await desk.fetch("select clock_timestamp() - $1::timestamptz", off) > timedelta(seconds=0.9)
    assert await desk.fetch("select to_regclass('own_thing')") is None
    assert await desk.fetch("select count(*) from migration where app_name = 'own_table'") == 0
    assert (await desk.code(PURGE, name="own_table", confirm="own_table")) == "NOT_FOUND"


async def test_those_who_switch_plugins_get_their_records(make: Any, database: Database, workspace: Workspace) -> None:
    features = make("own_table", "good")
    desk = Desk(database, features, workspace)
    create = """mutation($name: String!, $abilities: [String!]!) {
      roleCreate(input: {name: $name, abilities: $abilities}) { role { id } userErrors { code } } }"""
    admin = (await desk.do(create, name="Boss", abilities=["plugins"]))["role"]["id"]
    await desk.do(create, name="Clerk", abilities=["undo"])
    await features.enable(workspace, "own_table")
    await features.enable(workspace, "good")
    found = await database.pool(workspace).fetch("select role_id, record_type, action, scope from permission_grant")
    assert {tuple(r) for r in found} == {(UUID(admin), "Thing", a, "ALL") for a in ("read", "create")}
    assert await desk.fetch("select abilities from role where name = 'Boss'") == ["good_shouting", "plugins"]
    assert await desk.fetch("select abilities from role where name = 'Clerk'") == ["undo"]
    assert await desk.fetch("select count(*) from change where record_type = 'PermissionGrant'") == 2
    await features.disable(workspace, "own_table")
    await features.purge(workspace, "own_table")
    assert await desk.fetch("select count(*) from permission_grant") == 0


async def test_purging_takes_abilities_and_jobs(make: Any, database: Database, workspace: Workspace) -> None:
    features = make("good")
    desk = Desk(database, features, workspace)
    create = """mutation($abilities: [String!]!) {
      roleCreate(input: {name: "Boss", abilities: $abilities}) { role { id } userErrors { code } } }"""
    await desk.do(create, abilities=["plugins", "undo"])
    await features.enable(workspace, "good")
    assert await desk.fetch("select abilities from role") == ["good_shouting", "plugins", "undo"]
    async with database.transaction(workspace) as connection:
        for kind in ("good.shouting", "goodbye.waving"):
            await enqueue(connection, workspace, kind, {}, None)
    await features.purge(workspace, "good")
    assert await desk.fetch("select abilities from role") == ["plugins", "undo"]
    assert await desk.fetch("select array_agg(kind) from job") == ["goodbye.waving"]
    assert await desk.fetch("select count(*) from feature") == 0


async def test_switching_needs_the_ability(make: Any, database: Database, module_workspace: Workspace) -> None:
    desk = Desk(database, make("good"), module_workspace)
    nobody = actor({("Customer", "read"): Reach.ALL}, ("custom_fields",))
    for query, more in ((ENABLE, {}), (DISABLE, {}), (PURGE, {"confirm": "good"})):
        assert await desk.code(query, nobody, name="good", **more) == "FORBIDDEN"
    assert await desk.code(PLUGINS, nobody) == "FORBIDDEN"
    assert await desk.fetch("select count(*) from feature") == 0


async def test_settings_are_shown_with_their_schema_and_without_secrets(
    make: Any, database: Database, workspace: Workspace
) -> None:
    desk = Desk(database, make("good"), workspace)
    await desk.features.enable(workspace, "good", {"greeting": "xin chào", "token": "s3cret"})
    (shown,) = await desk.do(PLUGINS)
    assert shown["settings"] == {"greeting": "xin chào", "hidden": "", "refused": "", "token": "**********"}
    assert shown["settingsSchema"]["properties"]["greeting"] == {
        "default": "hello",
        "title": "Greeting",
        "type": "string",
    }
    await desk.features.enable(workspace, "good")
    assert await desk.fetch("select settings->>'token' from feature") == "s3cret"
    await desk.features.enable(workspace, "good", {"greeting": "lại"})
    assert (await desk.do("{ goodGreeting { text } }"))["text"] == "lại"


async def test_a_workspace_with_a_broken_plugin_goes_on_without_it(
    make: Any, database: Database, workspace: Workspace
) -> None:
    broken = ("raises_on_import", "raises_in_hook", "takes_a_name", "wants_newer_core", "misspells_hook")
    insert = "insert into feature (plugin, enabled, settings) values ($1, true, '{}')"
    async with database.connection(workspace) as connection:
        await connection.executemany(insert, [(name,) for name in (*broken, "good", "gone")])
    desk = Desk(database, make("good", *broken), workspace)
    await desk.customer("an")
    assert (await desk.do(SHOUT))["nodes"] == [{"name": "an", "shout": "AN"}]
    status = {p["name"]: (p["state"], p["reason"]) for p in await desk.do(PLUGINS)}
    assert status == {
        "gone": ("BROKEN", "it is not installed"),
        "good": ("ENABLED", None),
        "misspells_hook": ("BROKEN", desk.features.registry.broken["misspells_hook"].reason),
        "raises_in_hook": ("LEFT_OUT", "plugin raises_in_hook failed in hook extensions: ValueError: not today"),
        "raises_on_import": ("BROKEN", "it cannot be loaded: RuntimeError: no such luck"),
        "takes_a_name": ("LEFT_OUT", "Customer.email of takes_a_name is already declared by core"),
        "wants_newer_core": ("BROKEN", desk.features.registry.broken["wants_newer_core"].reason),
    }


async def test_a_plugin_whose_tables_are_old_waits_for_its_migrations(
    make: Any, database: Database, workspace: Workspace
) -> None:
    features = make("own_table")
    await features.enable(workspace, "own_table")
    async with database.connection(workspace) as connection:
        await connection.execute("delete from migration where app_name = 'own_table'")
    composed = await features.refresh(workspace)
    assert "things" not in composed.composition.sdl
    (status,) = await features.status(workspace)
    assert (status.state, status.reason) == ("LEFT_OUT", "its tables are of an older version: run crm migrate")


async def test_the_apps_of_a_workspace(make: Any, new_workspace: NewWorkspace) -> None:
    features = make("own_table")
    empty, one = await new_workspace(migrated=False), await new_workspace()
    assert [a.app_name for a in await features.apps(empty)] == ["core"]
    await features.enable(one, "own_table")
    await features.disable(one, "own_table")
    assert [a.app_name for a in await features.apps(one)] == ["core", "own_table"]


async def test_switching_gives_up_where_somebody_holds_the_tables(
    make: Any, database: Database, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.switch.LOCK_TIMEOUT", "200ms")
    features = make("own_table")
    desk = Desk(database, features, workspace)
    await features.composition(workspace)
    async with database.transaction(workspace) as connection:
        await connection.execute("lock table customer in row exclusive mode")
        done = await desk.do(ENABLE, name="own_table")
        assert [(e["code"], e["message"][:8]) for e in done["userErrors"]] == [("CONFLICT", "Somebody")]
    assert (await desk.do(ENABLE, name="own_table"))["userErrors"] == []


# Following


async def test_a_second_process_follows(
    make: Any, database: Database, settings: Settings, workspace: Workspace
) -> None:
    other = await Database.open(settings)
    try:
        here, there = make("plugins.groups"), make("plugins.groups", on=other)
        old = await there.composition(workspace)
        assert "customersGroupsMove" not in old.sdl
        await here.enable(workspace, "groups")

        async def follows() -> bool:
            return await there.composition(workspace) is not old

        await eventually(follows)
        assert "customersGroupsMove" in (await there.composition(workspace)).sdl
        await here.disable(workspace, "groups")

        async def back() -> bool:
            return "customersGroupsMove" not in (await there.composition(workspace)).sdl

        await eventually(back)
        await there.close()
    finally:
        await other.close()


async def test_a_lost_listener_makes_everyone_look_again(make: Any, database: Database, workspace: Workspace) -> None:
    features = make("good")
    old = await features.composition(workspace)
    async with database.connection(workspace) as connection:
        await connection.execute("insert into feature (plugin, enabled, settings) values ('good', true, '{}')")
    listening = database._listeners[database.dsn]._connection.get_server_pid()
    async with database.admin() as connection:
        assert await connection.fetchval("select pg_terminate_backend($1)", listening)

    async def follows() -> bool:
        return await features.composition(workspace) is not old

    await eventually(follows)


async def test_enabling_drops_no_request(make: Any, database: Database, workspace: Workspace) -> None:
    features = make("plugins.groups")
    desk = Desk(database, features, workspace)
    for n in range(5):
        await desk.customer(f"customer {n}")
    done = asyncio.Event()
    answers = 0

    async def client() -> None:
        nonlocal answers
        while not done.is_set():
            assert len((await desk.do("{ customers { nodes { name } } }"))["nodes"]) == 5
            answers += 1

    clients = [asyncio.create_task(client()) for _ in range(20)]
    await asyncio.sleep(0.1)
    assert (await desk.do(ENABLE, name="groups"))["userErrors"] == []

    async def shown() -> bool:
        return "errors" not in await desk.ask("{ groups { nodes { name } } }")

    await eventually(shown)
    during = answers
    assert (await desk.do(DISABLE, name="groups"))["userErrors"] == []
    await asyncio.sleep(0.3)
    done.set()
    await asyncio.gather(*clients)
    assert answers > during > 20


async def test_an_erased_and_recreated_workspace_is_another_one(
    make: Any, session_workspace: NewWorkspace, workspaces: Workspaces
) -> None:
    features = make("good")
    first = await session_workspace(slug="phoenix")
    await features.enable(first, "good")
    await workspaces.erase("phoenix")
    second = await session_workspace(slug="phoenix")
    assert "shout" not in (await features.composition(second)).sdl


# Hooks that fail (what each hook does is in test_hooks.py)


@pytest.fixture
def fresh(make: Any, database: Database, workspace: Workspace) -> Desk:
    return Desk(database, make("good", "follows"), workspace)


async def test_a_plugin_s_record_type_has_its_own_table(make: Any, database: Database, workspace: Workspace) -> None:
    desk = Desk(database, make("own_table"), workspace)
    await desk.features.enable(workspace, "own_table")
    await desk.do('mutation { thingCreate(input: {name: "one"}) { userErrors { code } } }')
    assert (await desk.do("{ things { nodes { name } } }"))["nodes"] == [{"name": "one"}]
    assert (await desk.features.composition(workspace)).catalog["Thing"].type.plugin == "own_table"


async def test_what_is_narrowed_away_is_not_counted(fresh: Desk) -> None:
    await fresh.customer("secret")
    await fresh.customer("open")
    await fresh.features.enable(fresh.workspace, "good", {"hidden": "secret"})
    reader = actor({("Customer", "read"): Reach.ALL})
    assert [c["name"] for c in (await fresh.do(SHOUT, reader))["nodes"]] == ["open"]
    assert (await fresh.do("{ customersAggregate { count } }", reader)) == {"count": 1}


async def test_a_check_that_cannot_decide_refuses_everything(fresh: Desk) -> None:
    await fresh.features.enable(fresh.workspace, "good", {"refused": "bad"})
    create = """mutation($r: [CustomerCreateInput!]!) {
      customersBulkCreate(input: {records: $r}) { userErrors { code path } } }"""
    rows = [{"name": n, "kind": "PERSON"} for n in ("fine", "bad")]
    (error,) = (await fresh.do(create, r=rows))["userErrors"]
    assert error == {"code": "GOOD_REFUSED", "path": ["input", "records", "1", "name"]}
    assert await fresh.fetch("select count(*) from customer") == 0
    await fresh.features.enable(fresh.workspace, "good", {"refused": "*"})
    answer = await fresh.ask(create, r=rows)
    assert answer["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert await fresh.fetch("select count(*) from customer") == 0
    health = fresh.features.registry.health["good"]
    assert (health.hook, health.error) == ("check", "RuntimeError")


async def test_plugins_react_in_their_order(fresh: Desk) -> None:
    await fresh.features.enable(fresh.workspace, "good")
    await fresh.features.enable(fresh.workspace, "follows")
    SEEN.clear()
    await fresh.customer("An")
    assert SEEN == [("changed", 1), ("follows", "create"), ("committed", "customerCreate")]


@pytest.mark.parametrize(("how", "error"), [("late", "RuntimeError"), ("late refusal", "BadInput")])
async def test_an_error_after_the_commit_undoes_nothing(fresh: Desk, how: str, error: str) -> None:
    await fresh.features.enable(fresh.workspace, "good", {"refused": how})
    SEEN.clear()
    await fresh.customer("An")
    assert ("committed", "customerCreate") in SEEN
    assert await fresh.fetch("select count(*) from customer") == 1
    assert fresh.features.registry.health["good"].error == error


async def test_a_migration_that_fails_is_told_to_those_who_may_switch(
    make: Any, database: Database, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core import switch

    desk = Desk(database, make("own_table"), workspace)

    async def fail(*_: Any) -> None:
        raise MigrationError("the migration m1 of own_table failed: a column is in the way", app="own_table")

    monkeypatch.setattr(switch.migrate, "migrate_workspace", fail)
    answer = await desk.ask(ENABLE, name="own_table")
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "PLUGIN_FAILED"
    assert error["extensions"]["plugin"] == "own_table"
    assert "a column is in the way" in error["extensions"]["reason"]
    assert await desk.code(ENABLE, actor(), name="own_table") == "FORBIDDEN"


async def test_what_was_asked_is_let_go_without_looking_for_garbage(
    make: Any, database: Database, workspace: Workspace
) -> None:
    desk = Desk(database, make("plugins.dedupe"), workspace)
    await desk.features.enable(workspace, "dedupe")
    create = """mutation($records: [CustomerCreateInput!]!, $dry: Boolean!) {
        customersBulkCreate(input: {records: $records}, dryRun: $dry) { counts userErrors { code } } }"""
    gc.collect()
    gc.disable()
    try:
        for dry in (True, False):
            records = [{"name": f"An {i}", "kind": "PERSON", "source": "let go"} for i in range(20)]
            await desk.do(create, records=records, dry=dry)
            del records
            kept = [o for o in gc.get_objects() if type(o) is dict and o.get("source") == "let go"]
            assert len(kept) < 10
            del kept
    finally:
        gc.enable()


async def test_nothing_is_told_to_those_who_have_not_signed_in(
    make: Any, database: Database, workspace: Workspace
) -> None:
    features = make(
        "plugins.groups", "plugins.tiering", "plugins.shared_pool", "plugins.dedupe", "plugins.import_excel"
    )
    for name in features.registry.plugins:
        await features.enable(workspace, name)
    desk = Desk(database, features, workspace)
    nobody = Actor(ActorKind.USER, NOBODY)
    schema = (await features.composition(workspace)).schema
    assert schema.query_type is not None
    asked = 0
    for name, field in schema.query_type.fields.items():
        if name == "viewer":
            continue
        given = {a: value for a, argument in field.args.items() if (value := _value_of(argument.type)) is not None}
        arguments = f"({', '.join(f'{k}: {v}' for k, v in given.items())})" if given else ""
        selected = "" if is_leaf_type(get_named_type(field.type)) else " { __typename }"
        answer = await desk.ask(f"{{ asked: {name}{arguments}{selected} }}", nobody)
        assert {e["extensions"]["code"] for e in answer["errors"]} == {"UNAUTHENTICATED"}, (name, answer)
        assert not answer.get("data") or answer["data"]["asked"] is None
        asked += 1
    assert asked > 50


def _value_of(type_: Any) -> str | None:
    """A value for an argument that must be given."""
    if not is_non_null_type(type_):
        return None
    inner = type_.of_type
    if is_list_type(inner):
        return f"[{_value_of(inner.of_type) or ''}]"
    if is_enum_type(inner):
        return next(iter(inner.values))
    if is_input_object_type(inner):
        members = ((k, _value_of(f.type)) for k, f in inner.fields.items())
        return "{" + ", ".join(f"{k}: {v}" for k, v in members if v is not None) + "}"
    return {"ID": f'"{UUID(int=7)}"', "String": '"x"', "Int": "1", "Boolean": "true", "JSON": "{}"}[inner.name]
