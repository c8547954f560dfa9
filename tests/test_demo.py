"""The demo: what it loads, that it goes on after any end, and that it leaves nothing behind."""

from __future__ import annotations

import re
import signal
import socket
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import pytest

from core.commands.console import Deployment
from core.commands.setup import set_up
from core.context import Workspace
from core.database import Database
from core.demo import load
from core.demo.load import Loader, Progress
from core.errors import ConfigError, DatabaseError
from core.features import Features
from core.settings import Settings
from core.workspaces import Workspaces
from tests.conftest import NewWorkspace
from tests.serving import CUSTOMERS, Demo, crm, servers

pytest_plugins = ("tests.demo_fixture",)

COUNTS = """{
  customersAggregate { count }
  contactsAggregate { count }
  opportunitiesAggregate { count }
  usersAggregate { count }
  teamsAggregate { count }
  changeSetsAggregate(where: {source: {eq: IMPORT}}) { count }
}"""
SIGN_IN = """mutation ($login: String!, $password: String!) {
  login(input: {login: $login, password: $password}) { accessToken user { roles } userErrors { code } }
}"""
ROLES = {"admin": "Admin", "manager": "Manager", "salesperson": "Salesperson", "readonly": "Read-only"}


def counts(demo: Demo) -> dict[str, int]:
    return {name: value["count"] for name, value in demo.ask(COUNTS)["data"].items()}


# Served


def test_what_it_loads_is_what_the_generator_makes(demo: Demo) -> None:
    data = Progress(load.SEED, datetime.now(UTC), CUSTOMERS, 0).data()
    made = list(chain.from_iterable(data.customers()))
    found = counts(demo)
    assert found["customersAggregate"] >= CUSTOMERS  # other tests add some
    assert found["usersAggregate"] == len(data.users)
    assert found["teamsAggregate"] == len(data.teams)
    # The generator's dice fall a little differently with the moment of loading.
    assert found["contactsAggregate"] == pytest.approx(sum(len(c["contacts"]) for c in made), rel=0.02)
    assert found["opportunitiesAggregate"] == pytest.approx(sum(len(c["opportunities"]) for c in made), rel=0.02)


def test_accounts_are_in_a_file_for_its_owner_only(demo: Demo) -> None:
    assert stat.S_IMODE(demo.file.stat().st_mode) == 0o600
    for role, name in ROLES.items():
        account = demo.account(role)
        assert set(account) == {"login", "password", "token", "role"}
        signed_in = demo.ask(SIGN_IN, {k: account[k] for k in ("login", "password")}, token="")["data"]["login"]
        assert signed_in["user"]["roles"] == [name]
        assert demo.ask("{ viewer { login isApiKey } }", role=role)["data"]["viewer"] == {
            "login": account["login"],
            "isApiKey": True,
        }


def test_roles_see_different_things(demo: Demo) -> None:
    seen = {
        role: demo.ask("{ customersAggregate { count } }", role=role)["data"]["customersAggregate"]["count"]
        for role in ROLES
    }
    assert 0 < seen["salesperson"] < seen["manager"] < seen["admin"] == seen["readonly"]
    refused = demo.ask('mutation { teamCreate(input: {name: "x"}) { team { id } } }', role="readonly")
    assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"


def test_groups_are_loaded_and_everybody_reads_them(demo: Demo) -> None:
    query = "{ groups(first: 200) { nodes { family customers(first: 1) { totalCount } } } }"
    found = demo.ask(query)["data"]["groups"]["nodes"]
    assert {group["family"] for group in found} == {"Vùng", "Độ tuổi", "Ngành nghề"}
    assert sum(group["customers"]["totalCount"] for group in found) > CUSTOMERS
    mine = demo.ask("{ customers(first: 20) { nodes { groups { nodes { name } } } } }", role="salesperson")
    assert any(c["groups"]["nodes"] for c in mine["data"]["customers"]["nodes"])


def test_nobody_is_there_twice_from_the_first_start_on(demo: Demo) -> None:
    query = "{ duplicateCriteria { nodes { fields effect status } } }"
    found = demo.ask(query, role="salesperson")["data"]["duplicateCriteria"]["nodes"]
    assert {(*c["fields"], c["effect"]) for c in found} == {
        ("phone", "BLOCK"),
        ("email", "BLOCK"),
        ("name", "birthday", "WARN"),
    }
    held = demo.ask("{ customers(first: 1, where: {email: {isNull: false}}) { nodes { name email } } }")
    (there,) = held["data"]["customers"]["nodes"]
    create = """mutation($email: String) {
      customerCreate(input: {name: "Mới", kind: PERSON, email: $email}) {
        userErrors { message ... on DuplicateError { customerName } } } }"""
    (error,) = demo.ask(create, {"email": there["email"].upper()})["data"]["customerCreate"]["userErrors"]
    assert error["customerName"] == there["name"]


def test_customers_whom_nobody_looks_after_are_in_the_shared_pool(demo: Demo) -> None:
    query = "{ pools { nodes { name ruleProblem customers(first: 3) { totalCount nodes { id owner { id } } } } } }"
    end = time.monotonic() + 60
    while True:  # by a job, after the first answers
        (pool,) = demo.ask(query, role="salesperson")["data"]["pools"]["nodes"]
        if pool["customers"]["totalCount"] or time.monotonic() > end:
            break
        time.sleep(0.2)
    assert (pool["name"], pool["ruleProblem"]) == ("Khách hàng chung", None)
    assert pool["customers"]["totalCount"] > 0
    assert [c["owner"] for c in pool["customers"]["nodes"]] == [None] * 3


def test_tiers_are_given_to_whoever_bought_enough(demo: Demo) -> None:
    query = "{ tiers { nodes { name discountPercent ruleProblem customers(first: 1) { totalCount } } } }"
    end = time.monotonic() + 60
    while True:  # by a job, after the first answers
        found = demo.ask(query, role="salesperson")["data"]["tiers"]["nodes"]
        if all(t["customers"]["totalCount"] for t in found) or time.monotonic() > end:
            break
        time.sleep(0.2)
    assert [t["name"] for t in found] == ["Kim cương", "Vàng", "Bạc", "Đồng"]
    assert all(t["ruleProblem"] is None for t in found)
    assert all(t["customers"]["totalCount"] for t in found)


def test_dates_are_the_generators_and_changes_are_journaled_as_imports(demo: Demo) -> None:
    oldest = demo.ask(
        """{ customer(code: "KH0000001") { createdAt updatedAt history { nodes { action source at } } } }"""
    )["data"]["customer"]
    assert datetime.fromisoformat(oldest["createdAt"]).year < datetime.now(UTC).year - 3
    assert oldest["createdAt"] == oldest["updatedAt"]
    (created,) = oldest["history"]["nodes"]
    assert (created["action"], created["source"]) == ("CREATE", "IMPORT")
    assert datetime.fromisoformat(created["at"]).year >= datetime.now(UTC).year - 1


def test_new_codes_go_on_after_the_demos(demo: Demo) -> None:
    made = demo.ask('mutation { customerCreate(input: {name: "Mới", kind: PERSON}) { customer { code } } }')
    code = made["data"]["customerCreate"]["customer"]["code"]
    assert CUSTOMERS < int(code.removeprefix("KH")) < CUSTOMERS + 100


def test_it_says_where_and_how_to_ask(demo: Demo) -> None:
    assert f"http://127.0.0.1:{demo.port}/graphql" in demo.output
    assert re.search(rf"^curl http://127.0.0.1:{demo.port}/graphql .*Bearer crm_\w+", demo.output, re.MULTILINE)
    for role in ROLES:
        assert demo.account(role)["password"] in demo.output


def test_a_second_demo_in_the_folder_is_refused(demo: Demo) -> None:
    done = crm(demo.folder, "demo", PORT=Demo(demo.folder).port)
    assert (done.returncode, done.stderr) == (1, f"error: a demo is already running in {demo.folder / '.crm'}\n")


# Ended and started again


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Demo]:
    """A demo of one's own, to be ended in any way."""
    made = Demo(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()
    if servers(tmp_path):
        # Whoever opens the folder next takes the server over, and stops it.
        crm(tmp_path, "workspace", "list")


def test_a_killed_load_goes_on_and_a_second_start_loads_nothing(own: Demo) -> None:
    own.customers = 2_000
    own.start().until("loaded 1,000 of")
    assert own.stop(signal.SIGKILL) == -signal.SIGKILL
    own.serve()
    first = counts(own)
    # One for users and teams, for each thousand, for tiers, for pools: none was done twice, none was left out.
    assert first["customersAggregate"] == 2_000
    assert first["changeSetsAggregate"] == 5
    accounts = own.file.read_text()
    assert own.stop(signal.SIGINT) == 0
    assert servers(own.folder) == []

    own.customers = 3_000
    own.serve()
    assert "loaded" not in (own.folder / "err").read_text()
    assert f"delete {own.folder / '.crm'} to load 3,000" in own.output
    assert counts(own) == first
    assert own.file.read_text() == accounts
    assert own.stop() == 0
    assert servers(own.folder) == []


def test_a_stale_lock_is_no_hindrance_and_a_lost_account_file_means_new_passwords(own: Demo) -> None:
    own.customers = 10
    own.serve()
    before = own.account("admin")
    own.stop()
    own.file.write_text("{}")
    (own.folder / ".crm" / "postgres" / "postmaster.pid").write_text("4194999\n/gone\n0\n5432\n\n\n\nready\n")
    own.serve()
    assert counts(own)["customersAggregate"] == 10
    after = own.account("admin")
    assert after["password"] != before["password"]
    assert own.ask("{ viewer { login } }")["data"]["viewer"] == {"login": "admin"}
    refused = own.ask("{ viewer { login } }", token=before["token"])
    assert refused["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    own.stop()


def test_stopped_while_it_loads_it_leaves_no_server(own: Demo) -> None:
    own.customers = 20_000
    own.start().until("loaded 2,000 of")
    assert own.stop() == 128 + signal.SIGTERM
    assert servers(own.folder) == []


# Refused


def test_a_port_in_use_is_said_before_anything_is_made(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = crm(tmp_path, "demo", PORT=port)
    message = f"error: cannot listen on 127.0.0.1 port {port}: it is in use; choose another port\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / ".crm").write_text("in the way")
    done = crm(tmp_path, "demo", PORT=Demo(tmp_path).port)
    assert done.returncode == 1
    assert done.stderr == f"error: cannot write to the data folder {tmp_path / '.crm'}: File exists\n"


def test_data_of_a_newer_server(tmp_path: Path) -> None:
    folder = tmp_path / ".crm" / "postgres"
    folder.mkdir(parents=True)
    (folder / "PG_VERSION").write_text("99\n")
    done = crm(tmp_path, "demo", PORT=Demo(tmp_path).port)
    assert done.returncode == 1
    # Run by root, a warning may say before which folders were opened for passage.
    (said,) = [line for line in done.stderr.splitlines() if "[warning" not in line]
    assert said.startswith(f"error: the data in {folder} belongs to PostgreSQL 99")


def test_production_has_no_demo(tmp_path: Path) -> None:
    done = crm(tmp_path, "demo", CRM_PRODUCTION="true")
    assert done.returncode == 1
    assert "CRM_PRODUCTION" in done.stderr
    assert list(tmp_path.iterdir()) == []


# The loader by itself


@pytest.fixture
async def features(database: Database, settings: Settings) -> Features:
    return Features(database, settings)


@pytest.fixture
async def empty(
    new_workspace: NewWorkspace,
    database: Database,
    settings: Settings,
    workspaces: Workspaces,
    features: Features,
) -> Workspace:
    workspace = await new_workspace(migrated=False)
    await set_up(Deployment(settings, database, workspaces, features), workspace)
    return workspace


async def loader(database: Database, features: Features, workspace: Workspace) -> Loader:
    return Loader(database, workspace, await features.composition(workspace))


class Killed(Exception):
    pass


async def test_a_load_goes_on_with_batches_of_another_size(
    database: Database, features: Features, empty: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(at: Progress) -> None:
        if at.loaded >= 80:
            raise Killed

    loads = await loader(database, features, empty)
    monkeypatch.setattr(load, "BATCH", 40)
    begun = await loads.begin(130)
    with pytest.raises(Killed):
        await loads.customers(begun, kill)

    monkeypatch.setattr(load, "BATCH", 50)
    again = await loads.begin(7)
    assert (again.customers, again.loaded, again.now) == (130, 80, begun.now)
    heard: list[int] = []
    done = await loads.customers(again, lambda at: heard.append(at.loaded))
    assert heard == [100, 130]
    assert done.done

    made = [c for batch in begun.data().customers() for c in batch]
    async with database.connection(empty) as connection:
        rows = await connection.fetch(
            "select c.id, c.name, c.created_at, u.login from customer c"
            " left join app_user u on u.id = c.owner_id order by c.code"
        )
        contacts = await connection.fetch("select id, customer_id, is_main from contact")
        deals = await connection.fetch("select id, outcome, closed_at, created_at, amount from opportunity")
        journaled = await connection.fetchval("select count(*) from change where record_type = 'Customer'")
    assert [tuple(row) for row in rows] == [(c["id"], c["name"], c["created_at"], c["owner"]) for c in made]
    assert {tuple(row) for row in contacts} == {(x["id"], c["id"], x["is_main"]) for c in made for x in c["contacts"]}
    assert {(row["id"], row["amount"]) for row in deals} == {
        (o["id"], o["amount"]) for c in made for o in c["opportunities"]
    }
    assert all((row["closed_at"] is None) == (row["outcome"] == "OPEN") for row in deals)
    assert all(row["created_at"] <= row["closed_at"] for row in deals if row["closed_at"])
    assert journaled == 130


async def test_two_loaders_never_load_the_same(
    database: Database, features: Features, empty: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "BATCH", 10)
    loads = await loader(database, features, empty)
    begun = await loads.begin(20)
    await loads.customers(begun, lambda _: None)
    with pytest.raises(DatabaseError, match="another process"):
        await loads.customers(begun, lambda _: None)
    async with database.connection(empty) as connection:
        assert await connection.fetchval("select count(*) from customer") == 20


async def test_a_workspace_with_other_data_is_left_alone(
    database: Database, features: Features, empty: Workspace
) -> None:
    loads = await loader(database, features, empty)
    async with database.connection(empty) as connection:
        await connection.execute("insert into customer (id, code, name) values (gen_random_uuid(), 'A', 'A')")
    with pytest.raises(ConfigError, match="not the demo's"):
        await loads.begin(10)
    with pytest.raises(ConfigError, match="is no demo"):
        await loads.accounts()
    async with database.connection(empty) as connection:
        assert await connection.fetchval("select count(*) from app_user") == 0


async def test_accounts_are_valid_until_they_are_renewed(
    database: Database, features: Features, empty: Workspace
) -> None:
    loads = await loader(database, features, empty)
    await loads.begin(0)
    first = [account.token for account in await loads.accounts()]
    assert await loads.valid(first)
    assert not await loads.valid([*first, "crm_unknown"])
    assert not await loads.valid([])
    await loads.accounts()
    assert not await loads.valid(first)
