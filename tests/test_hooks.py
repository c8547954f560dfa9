"""One test per hook, named after it, on a workspace with a plugin that implements them all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

import pytest

from core.context import Workspace
from core.database import Database
from core.features import Features
from core.grants import Reach
from core.jobs import job_types
from core.plugins import PluginRegistry
from core.rows import new_id
from tests.broken_plugins.good.hooks import SEEN
from tests.switching import Desk, actor

CREATE = """mutation($input: CustomerCreateInput!) {
  customerCreate(input: $input) { customer { id name } userErrors { code path } changeSet { id } } }"""


@pytest.fixture(scope="module")
async def desk(database: Database, module_workspace: Workspace) -> AsyncIterator[Desk]:
    registry = PluginRegistry.discover(["tests.broken_plugins.good", "plugins.groups"])
    features = Features(database, registry=registry)
    await features.enable(module_workspace, "groups")
    await features.enable(module_workspace, "good", {"hidden": "Hidden", "refused": "Refused"})
    yield Desk(database, features, module_workspace)
    await features.close()


async def test_hook_record_types(desk: Desk) -> None:
    assert (await desk.do("{ groups { totalCount } }"))["totalCount"] == 0


async def test_hook_extensions(desk: Desk) -> None:
    id_ = await desk.customer("An")
    assert await desk.do("query($id: ID!) { customer(id: $id) { shout } }", id=id_) == {"shout": "AN"}


async def test_hook_object_types(desk: Desk) -> None:
    found = await desk.do('{ __type(name: "GoodGreeting") { fields { name } } }')
    assert found == {"fields": [{"name": "text"}]}


async def test_hook_queries(desk: Desk) -> None:
    assert await desk.do("{ goodGreeting { text } }") == {"text": "hello"}


async def test_hook_mutations(desk: Desk) -> None:
    done = await desk.do('mutation { goodEcho(input: {text: "hi"}) { text userErrors { code } changeSet { id } } }')
    assert done == {"text": "hi", "userErrors": [], "changeSet": None}


async def test_hook_abilities(desk: Desk) -> None:
    composed = await desk.features.composed(desk.workspace)
    assert composed.abilities["good_shouting"] == "Shout."


async def test_hook_error_codes(desk: Desk) -> None:
    found = await desk.do('{ __type(name: "UserErrorCode") { enumValues { name } } }')
    assert {"name": "GOOD_REFUSED"} in found["enumValues"]


async def test_hook_jobs(desk: Desk) -> None:
    composition = await desk.features.composition(desk.workspace)
    assert "good.shouting" in job_types(composition.hooks)


async def test_hook_narrow(desk: Desk) -> None:
    hidden, shown = await desk.customer("Shown"), await desk.customer("Shown too")
    await desk.fetch("update customer set name = 'Hidden' where id = $1", hidden)
    who = actor({("Customer", "read"): Reach.ALL, ("Customer", "update"): Reach.ALL})
    ask = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }"
    assert await desk.do(ask, who, ids=[hidden, shown]) == [None, {"id": shown}]
    rename = 'mutation($id: ID!) { customerUpdate(input: {id: $id, name: "x"}) { userErrors { code } } }'
    assert await desk.code(rename, who, id=hidden) == "NOT_FOUND"
    assert await desk.fetch("select name from customer where id = $1", hidden) == "Hidden"


async def test_hook_check(desk: Desk) -> None:
    done = await desk.do(CREATE, input={"name": "Refused", "kind": "PERSON"})
    assert done["userErrors"] == [{"code": "GOOD_REFUSED", "path": ["input", "name"]}]
    assert await desk.fetch("select count(*) from customer where name = 'Refused'") == 0


async def test_what_takes_a_hook_too_long_is_no_failure_of_its_plugin(desk: Desk) -> None:
    composition = await desk.features.composition(desk.workspace)
    before = composition.hooks.health["good"].failures
    assert await desk.code(CREATE, input={"name": "Slow", "kind": "PERSON"}) == "STATEMENT_TIMEOUT"
    assert composition.hooks.health["good"].failures == before


async def test_hook_changed(desk: Desk) -> None:
    SEEN.clear()
    await desk.customer("Changed")
    assert ("changed", 1) in SEEN


async def test_hook_switched_on(desk: Desk) -> None:
    settings = {"hidden": "Hidden", "refused": "Refused"}
    SEEN.clear()
    await desk.features.enable(desk.workspace, "good", settings)
    assert SEEN[-1] == ("switched_on", None)
    await desk.features.disable(desk.workspace, "good")
    off = await desk.fetch("select at from feature where plugin = 'good'")
    await desk.features.enable(desk.workspace, "good", settings)
    assert SEEN[-1] == ("switched_on", off)


async def test_hook_person_erased(desk: Desk) -> None:
    id_ = await desk.customer("Erased", email="erased.by@hook.vn")
    SEEN.clear()
    done = await desk.do(
        'mutation($id: ID!) { personErase(input: {records: [{type: "Customer", id: $id}]}) '
        "{ erased { table rows fields } userErrors { message } } }",
        id=id_,
    )
    assert done["userErrors"] == []
    assert {"table": "good_things", "rows": 3, "fields": ["name"]} in done["erased"]
    assert ("person_erased", (UUID(id_),), r"(?<!\w)erased\.by\@hook\.vn(?!\w)") in SEEN


async def test_hook_explain_viewer(desk: Desk) -> None:
    id_ = await desk.customer("Seen by a plugin's viewer")
    binh = replace(actor({("Customer", "read"): Reach.OWN}, user_id=new_id()), login="binh")
    await desk.fetch("insert into app_user (id, login, display_name) values ($1, 'binh', 'Binh')", binh.user_id)
    insert = "insert into customer_viewer (id, customer_id, everyone, source) values ($1, $2, true, $3)"
    await desk.fetch(insert, new_id(), id_, "good")
    seen = "query($id: ID!) { customer(id: $id) { id viewers { totalCount } } }"
    explain = """query($id: ID!) { accessExplain(record: "Customer", id: $id) { rules { name holds because } } }"""

    async def because() -> list[str]:
        rules = (await desk.do(explain, binh, id=id_))["rules"]
        return next(rule["because"] for rule in rules if rule["name"] == "viewer")

    assert await desk.do(seen, binh, id=id_) == {"id": id_, "viewers": {"totalCount": 1}}
    assert await because() == ["good lets binh in to this Customer"]
    await desk.features.disable(desk.workspace, "good")
    assert await desk.do(seen, binh, id=id_) is None
    assert await because() == []
    await desk.features.enable(desk.workspace, "good")
    assert await desk.do(seen, binh, id=id_) is not None
    await desk.fetch(insert, new_id(), id_, "share")
    await desk.features.purge(desk.workspace, "good")
    assert (
        await desk.fetch("select string_agg(source, ' ') from customer_viewer where customer_id = $1", id_) == "share"
    )
    await desk.features.enable(desk.workspace, "good", {"hidden": "Hidden", "refused": "Refused"})


async def test_a_warning_lets_the_row_through(desk: Desk) -> None:
    create = CREATE.replace("changeSet", "warnings { code path message } changeSet")
    done = await desk.do(create, input={"name": "Warned", "kind": "PERSON"})
    assert done["customer"]["name"] == "Warned"
    assert done["userErrors"] == []
    assert done["warnings"] == [{"code": "GOOD_REFUSED", "path": ["input", "name"], "message": "warned"}]
    done = await desk.do(create, input={"name": "Refused", "kind": "PERSON"})
    assert done["warnings"] == []
    assert done["customer"] is None


async def test_records_of_a_list_are_read_in_one_statement(desk: Desk) -> None:
    for name in ("One", "Two"):
        await desk.customer(name)
    found = await desk.do('{ goodGreetings(where: {name: {in: ["One", "Two"]}}) { text customers { name shout } } }')
    names = [c["name"] for c in found[0]["customers"]]
    assert sorted(names) == ["One", "Two"]
    assert found[1]["customers"] == [{"name": names[0], "shout": names[0].upper()}]
    assert found[2]["customers"] == []
    assert desk.statements == 1


async def test_hook_committed(desk: Desk) -> None:
    SEEN.clear()
    await desk.do(CREATE, input={"name": "Committed", "kind": "PERSON"})
    assert SEEN[-1] == ("committed", "customerCreate")
    SEEN.clear()
    await desk.do(
        "mutation($input: CustomerCreateInput!) { customerCreate(input: $input, dryRun: true) { customer { id } } }",
        input={"name": "Dry", "kind": "PERSON"},
    )
    assert not any(kind == "committed" for kind, _ in SEEN)
