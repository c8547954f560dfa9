"""What the fixtures of the test kit give: workspaces with plugins, clients, jobs, migrations, hooks and the clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from core.testing import Role, Sandbox
from core.testing.deployment import Deployment, Factory
from core.testing.recording import HookCall, HookRecord

GOOD = "tests.broken_plugins.good"
OWN_TABLE = "tests.broken_plugins.own_table"
NAMES = "{ customers { nodes { name } } }"
RECENT = "{ customers(where: {createdAt: {within: {last: {count: 10, unit: DAY}}}}) { nodes { name } } }"
ONE = "query($id: ID!) { customer(id: $id) { name } }"
RENAME = """mutation($id: ID!, $name: String!) { customerUpdate(input: {id: $id, name: $name}) {
  customer { name } userErrors { code path message } } }"""


@pytest.fixture(scope="module")
async def shop(workspace_for_module: Factory) -> Sandbox:
    settings = {"good": {"greeting": "xin chào", "refused": "Refused"}}
    return await workspace_for_module(["groups", GOOD, OWN_TABLE], settings)


# Workspaces


async def test_plugins_are_switched_on_with_their_settings(shop: Sandbox) -> None:
    assert await (await shop.client()).do("{ goodGreeting { text } }") == {"text": "xin chào"}
    assert "own_thing" in await shop.tables()


async def test_what_a_plugin_requires_is_switched_on_first(crm_deployment: Deployment) -> None:
    services = await crm_deployment.services(["tests.broken_plugins.follows", GOOD])
    order = Deployment._in_order(services.features.registry, ["tests.broken_plugins.follows"])
    assert order.index("good") < order.index("follows")


@pytest.mark.parametrize(
    ("plugins", "given", "reason"),
    [
        (["nothing_like_it"], {}, r"the plugin nothing_like_it is not installed \(installed are dedupe, groups,"),
        (
            ["tests.broken_plugins.forgets_async"],
            {},
            r"the plugin forgets_async is broken: its hook \w+ must be",
        ),
        ([GOOD], {"good": {"nonsense": 1}}, r"the plugin good cannot be switched on: .*nonsense: Extra"),
        ([GOOD], {"groups": {}}, r"there are settings for groups, which is not among the features"),
        (["tests.broken_plugins.raises_in_hook"], {}, r"the plugin raises_in_hook cannot be switched on: .*"),
    ],
)
async def test_what_cannot_be_switched_on_fails_saying_why(
    workspace: Factory,
    crm_deployment: Deployment,
    plugins: list[str],
    given: dict[str, dict[str, int]],
    reason: str,
) -> None:
    before = {w.slug for w in await crm_deployment.workspaces.list()}
    with pytest.raises(AssertionError, match=reason):
        await workspace(plugins, given)
    assert {w.slug for w in await crm_deployment.workspaces.list()} == before


async def test_workspaces_are_erased_in_the_end(crm_deployment: Deployment) -> None:
    made = Factory(crm_deployment)
    one, two = await made(), await made(slug="kit_two", time_zone="Europe/Berlin")
    assert two.workspace.time_zone == "Europe/Berlin"
    with pytest.raises(AssertionError, match="the test has several workspaces: say which by"):
        await made.client()
    await made.erase()
    assert not {one.slug, two.slug} & {w.slug for w in await crm_deployment.workspaces.list()}
    with pytest.raises(AssertionError, match="the test has no workspace yet: make one"):
        await made.client()


# Who asks


async def test_a_client_is_a_user_with_a_role_and_teams(shop: Sandbox) -> None:
    seller = await shop.client("Salesperson", login="lan", teams=["north"])
    mate = await shop.client(Role({"Customer:read": "TEAM"}, fields={"Customer.phone": "HIDE"}), teams=["north"])
    stranger = await shop.client({"Customer:read": "OWN"})
    an = await shop.customer("An", ownerId=seller.user_id, phone="0901234567")
    assert (seller.login, await seller.do(ONE, id=an)) == ("lan", {"name": "An"})
    assert await mate.do("query($id: ID!) { customer(id: $id) { name phone } }", id=an) == {"name": "An", "phone": None}
    assert await stranger.do(ONE, id=an) is None
    assert await stranger.codes(RENAME, id=an, name="x") == ["FORBIDDEN"]
    assert await mate.codes(RENAME, id=an, name="x") == ["FORBIDDEN"]
    assert (await seller.do(RENAME, id=an, name="Ân"))["customer"] == {"name": "Ân"}


async def test_a_role_taken_away_counts_for_the_next_operation(shop: Sandbox) -> None:
    reader = await shop.client({"Customer:read": "ALL"})
    await shop.customer("An")
    assert (await reader.do(NAMES))["nodes"]
    await shop.sql("delete from user_role where user_id = $1", reader.actor.user_id)
    assert (await reader.do(NAMES))["nodes"] == []
    await shop.sql("update app_user set active = false where id = $1", reader.actor.user_id)
    with pytest.raises(AssertionError, match=f"the user {reader.login} is not there any more, or is not active"):
        await reader.ask(NAMES)


@pytest.mark.parametrize(
    ("role", "reason"),
    [
        ("Nobody", "there is no role Nobody"),
        ({"Custmer:read": "ALL"}, r"'Custmer:read': there is no record type 'Custmer'; there are .*Customer"),
        ({"Customer:raed": "ALL"}, r"there is no action on Customer 'raed'; there are .*read"),
        ({"Customer:read": "SOME"}, r"there is no scope 'SOME'; there are ALL, NONE, OWN, TEAM"),
        (Role(abilities=["good_whispering"]), r"there is no ability 'good_whispering'; there are .*good_shouting"),
        (Role(fields={"Customer.fone": "HIDE"}), r"there is no field of Customer 'fone'; there are .*phone"),
        (Role(fields={"Customer.phone": "SEE"}), r"there is no access 'SEE'; there are HIDE, READ, WRITE"),
    ],
)
async def test_a_role_with_an_unknown_name_fails_naming_those_there_are(
    shop: Sandbox, role: str | Role | dict[str, str], reason: str
) -> None:
    with pytest.raises(AssertionError, match=reason):
        await shop.client(role)


# Answers


async def test_answers_fail_with_what_the_server_says(shop: Sandbox) -> None:
    system = await shop.client()
    answer = await system.ask("{ custmers { totalCount } }")
    assert answer.codes == ["GRAPHQL_VALIDATION_FAILED"]
    with pytest.raises(AssertionError, match=r"the operation has errors:\n  GRAPHQL_VALIDATION_FAILED: Cannot query"):
        _ = answer.data
    with pytest.raises(AssertionError, match="the operation has 2 root fields: a, b"):
        await system.do("{ a: customers { totalCount } b: customers { totalCount } }")
    with pytest.raises(AssertionError, match="nothing was refused"):
        await system.codes(NAMES)
    an = await shop.customer("An")
    answer = await system.ask(RENAME, id=an, name="Refused")
    assert (answer.codes, answer.errors) == (["GOOD_REFUSED"], [])
    with pytest.raises(AssertionError, match=r"the mutation was refused:\n  GOOD_REFUSED: refused \(at input.name\)"):
        await system.do(RENAME, id=an, name="Refused")
    assert "NOT_ACCEPTABLE" in await system.codes("subscription { customerChanged { action } }")


async def test_variables_are_sent_as_a_client_sends_them(shop: Sandbox) -> None:
    system, an = await shop.client(), await shop.customer("An")
    deal = """mutation($input: OpportunityCreateInput!) { opportunityCreate(input: $input) {
      opportunity { amount expectedClose customer { id } } userErrors { code path } } }"""
    given = {"customerId": an, "name": "x", "amount": Decimal("1.50"), "expectedClose": date(2026, 3, 1)}
    made = (await system.do(deal, input=given))["opportunity"]
    assert made == {"amount": "1.5", "expectedClose": "2026-03-01", "customer": {"id": an}}


async def test_events_come_one_after_the_other(shop: Sandbox) -> None:
    admin = await shop.client("Admin")
    async with admin.events("subscription { customerChanged { action customer { name } } }") as events:
        an = await shop.customer("An")
        assert await events.next() == {"action": "CREATED", "customer": {"name": "An"}}
        await admin.do(RENAME, id=an, name="Ân")
        assert await events.next() == {"action": "UPDATED", "customer": {"name": "Ân"}}
        with pytest.raises(AssertionError, match=r"no event came within 0.05 seconds"):
            await events.next(within=0.05)
    for text, reason in (
        ("subscription { nothingChanged { id } }", "the operation has errors:\n  GRAPHQL_VALIDATION_FAILED"),
        (NAMES, "this is no subscription"),
    ):
        with pytest.raises(AssertionError, match=reason):
            async with admin.events(text):
                pass


async def test_files_are_uploaded(shop: Sandbox) -> None:
    admin = await shop.client("Admin")
    keep = "mutation($file: Upload!) { fileUpload(input: {file: $file}) { file { name size } userErrors { code } } }"
    async with shop.upload("báo cáo.csv", b"a;b") as file:
        done = await admin.do(keep, file=file)
    assert done["file"] == {"name": "báo cáo.csv", "size": 3}
    assert not file.path.exists()


# Statements, hooks, time


async def test_one_statement_counts_those_of_its_block(shop: Sandbox, one_statement) -> None:
    system = await shop.client("Admin")
    with one_statement() as seen:
        await system.do(NAMES)
    assert len(seen.statements) == 1
    two = r"expected exactly one SQL statement, 2 ran:\n1\. select .*\n2\. select 1$"
    with pytest.raises(AssertionError, match=two), one_statement():
        await system.do(NAMES)
        await shop.sql("select 1")
    with pytest.raises(AssertionError, match=r"one SQL statement, none ran$"), one_statement():
        pass
    with pytest.raises(KeyError), one_statement():
        raise KeyError("the block's own error comes first")


async def test_recorded_hooks_know_the_sizes_of_batches(shop: Sandbox, recorded_hooks: HookRecord) -> None:
    await shop.customers(7)
    await shop.customer("An")
    assert recorded_hooks.hooks("good") == {"check", "changed", "committed"}
    assert recorded_hooks.sizes("good", "changed", "Customer") == [7, 1]
    assert recorded_hooks.sizes("good", "committed") == [7, 1]
    assert recorded_hooks.of("good", "check")[0] == HookCall("good", "check", "Customer", "create", 7)
    assert recorded_hooks.of("own_table") == []
    recorded_hooks.clear()
    assert recorded_hooks.calls == []


async def test_conditions_and_records_see_the_moment(shop: Sandbox, as_of) -> None:
    system = await shop.client()
    moment = "2031-03-01T09:00+07:00"
    with as_of(moment):
        id_ = await shop.customer("Of the future")
        assert (await system.do(RECENT))["nodes"] == [{"name": "Of the future"}]
        with as_of(timedelta(days=9)):
            assert (await system.do(RECENT))["nodes"] == [{"name": "Of the future"}]
        with as_of(timedelta(days=11)):
            assert (await system.do(RECENT))["nodes"] == []
    (row,) = await shop.sql("select created_at from customer where id = $1", id_)
    assert row["created_at"] == datetime(2031, 3, 1, 2, tzinfo=UTC)
    (row,) = await shop.sql("select max(at) as at from change_set")
    assert row["at"] == datetime(2031, 3, 1, 2, tzinfo=UTC)
    with pytest.raises(ValueError, match="a moment needs a time zone"), as_of("2031-03-01T09:00"):
        pass


# Jobs


async def test_jobs_run_to_their_end(shop: Sandbox) -> None:
    admin = await shop.client("Admin")
    done = await shop.run_job("good.shouting", actor=admin)
    assert (done.status, done.result, done.attempts) == ("DONE", {"shouted": True}, 1)
    (row,) = await shop.sql("select created_by from job where id = $1", done.id)
    assert row["created_by"] == admin.actor.user_id
    with pytest.raises(AssertionError, match=r"the job good.shouting is DONE, not FAILED"):
        await shop.run_job("good.shouting", expect="FAILED")
    with pytest.raises(AssertionError, match=r"there is no job 'good.whispering'; there are .*good.shouting"):
        await shop.run_job("good.whispering")
    assert await shop.run_jobs() == []


async def test_a_recurring_job_is_due_by_the_clock(workspace: Factory, as_of) -> None:
    shop = await workspace(["tiering"])
    with as_of("2031-03-01T09:00+07:00"):
        assert await shop.next_due("tiering.pass") == datetime(2031, 3, 1, 19, 30, tzinfo=UTC)
    with pytest.raises(AssertionError, match=r"there is no job 'good.shouting' with a schedule"):
        await shop.next_due("good.shouting")


# Migrations


async def test_migrations_go_back_and_forth(shop: Sandbox) -> None:
    await shop.check_migrations("own_table")
    await shop.check_migrations("groups")
    applied = await shop.migrations("groups")
    assert await shop.migrate_back("groups") == tuple(reversed(applied))
    assert await shop.migrations("groups") == ()
    assert await shop.migrate("groups") == applied
    with pytest.raises(AssertionError, match="there is no plugin 'good' with tables"):
        await shop.check_migrations("good")


async def test_what_a_plugin_leaves_behind_is_named(workspace: Factory) -> None:
    shop = await workspace(["tests.broken_plugins.leaves_behind"])
    with pytest.raises(
        AssertionError, match=r"leaves_behind leaves something behind:\n  \+ left_thing: .*\n  \+ left_t"
    ):
        await shop.check_migrations("leaves_behind")
    with pytest.raises(AssertionError, match="leaves_behind leaves something behind"):
        await shop.purge("leaves_behind")


async def test_tables_that_come_back_otherwise_are_named(workspace: Factory) -> None:
    shop = await workspace(["tests.broken_plugins.comes_back_otherwise"])
    expected = (
        r"after comes_back_otherwise_0002 was taken back .* differ:\n  - other_thing: column n integer default 0\n"
    )
    with pytest.raises(AssertionError, match=expected):
        await shop.check_migrations("comes_back_otherwise")
    assert await shop.migrate_back("comes_back_otherwise", keep=1) == ("comes_back_otherwise_0002",)
    assert await shop.migrations("comes_back_otherwise") == ("comes_back_otherwise_0001",)
