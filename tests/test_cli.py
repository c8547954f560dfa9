"""The command line: what it says, what it returns, and that each error is one line."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from core import cli, embedded
from core.commands import console
from core.migrate import MigrationReport
from tests.serving import CRM, PATIENCE, crm, environment, free_port, servers


@dataclass
class Result:
    status: int
    out: str
    err: str

    @property
    def json(self) -> object:
        return json.loads(self.out)


Run = Callable[..., Result]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder whose server runs as long as the module's tests."""
    made = tmp_path_factory.mktemp("cli")
    binaries = os.environ.get("CRM_POSTGRES_BIN")
    server = embedded.start(made / ".crm", Path(binaries) if binaries else None)
    yield made
    server.stop()


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process, in that folder."""
    monkeypatch.chdir(folder)

    def run(*arguments: str) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        out, err = capfd.readouterr()
        return Result(int(ended.value.code or 0), out, err)

    return run


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a text on standard input."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


@pytest.fixture(scope="module")
def acme(folder: Path) -> str:
    """A workspace with an administrator."""
    assert crm(folder, "workspace", "create", "acme", "--hostname", "acme.example").returncode == 0
    made = crm(
        folder, "user", "create", "boss", "--role", "Admin", "-w", "acme", "--password-stdin", given="long enough\n"
    )
    assert (made.returncode, made.stdout, made.stderr) == (0, "boss can sign in\n", "")
    return "acme"


def one_line(result: Result, text: str) -> None:
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    assert text in result.err


# Help and errors


def test_help_names_every_command(run: Run) -> None:
    result = run("--help")
    assert result.status == 0
    for command in (
        "serve",
        "worker",
        "demo",
        "migrate",
        "upgrade",
        "person",
        "doctor",
        "workspace",
        "user",
        "token",
        "plugin",
        "schema",
        "documents",
    ):
        assert command in result.out


def test_every_command_has_help(run: Run) -> None:
    import typer

    root = typer.main.get_command(cli.app)
    for name, command in root.commands.items():
        assert command.help, name
        for inner, action in getattr(command, "commands", {}).items():
            assert action.help, (name, inner)
            for parameter in action.params:
                assert parameter.help or parameter.name == "help", (name, inner, parameter.name)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom core import cli\ntry:\n    cli.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'asyncpg', 'strawberry', 'graphql', 'piccolo', 'pydantic', 'starlette', 'uvicorn', 'uvloop'}\n"
        "sys.exit(','.join(sorted(heavy & set(sys.modules))) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nonsense"], "No such command"),
        (["serve", "--port", "http"], "--port"),
        (["serve", "--port", "99999"], "CRM_PORT"),
        (["user", "create", "x"], "--role"),
        (["migrate"], "--all"),
        (["migrate", "--all", "-w", "x"], "--all"),
        (["migrate", "-w", "nowhere"], "nowhere"),
        (["workspace", "create", "9lives"], "slug"),
        (["workspace", "enable", "nowhere", "groups"], "nowhere"),
        (["schema", "print", "-w", "nowhere"], "nowhere"),
        (["schema", "print"], "there is no workspace"),
    ],
    ids=" ".join,
)
def test_an_error_is_one_line(run: Run, arguments: list[str], text: str) -> None:
    one_line(run(*arguments), text)


def test_a_fault_of_ours_is_one_line_without_what_rows_hold(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        message = "a bug\nDETAIL:  Key (email)=(lan@example.vn) already exists."
        raise RuntimeError(message)

    monkeypatch.setattr(console, "load_settings", fail)
    result = run("workspace", "list")
    one_line(result, "RuntimeError: a bug (CRM_LOG_LEVEL=debug")
    assert "lan@" not in result.err
    monkeypatch.setenv("CRM_LOG_LEVEL", "debug")
    with pytest.raises(RuntimeError):
        cli.main(["workspace", "list"])


def test_a_wrong_setting_is_named_without_its_value(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_DATABASE_URL", "mysql://root:hunter2@host/db")
    result = run("workspace", "list")
    one_line(result, "CRM_DATABASE_URL")
    assert "hunter2" not in result.err


def test_a_database_that_cannot_be_reached(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_DATABASE_URL", f"postgresql://me:hunter2@127.0.0.1:{free_port()}/db")
    result = run("workspace", "list")
    one_line(result, "cannot reach the database")
    assert "hunter2" not in result.err
    looked = run("doctor")
    assert looked.status == 1
    assert "fail  database: cannot reach" in looked.out
    assert "what to do: see that the server runs" in looked.out


def test_a_reader_that_goes_away_is_no_error(folder: Path, acme: str) -> None:
    script = f"{CRM} schema print -w {acme} | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""


# Workspaces


def test_workspaces_come_and_go(run: Run, acme: str) -> None:
    assert run("workspace", "create", "brief", "--json").json["path"] == "/w/brief/graphql"
    one_line(run("workspace", "create", "brief"), "in use")
    listed = {row["slug"]: row for row in run("workspace", "list", "--json").json}
    assert listed["acme"] | {"host_name": "acme.example", "plugins": [], "state": "ready"} == listed["acme"]
    assert "brief" in listed
    one_line(run("workspace", "erase", "brief"), "--yes")
    assert run("workspace", "erase", "brief", "--yes").status == 0
    assert "brief" not in run("workspace", "list").out


def test_a_workspace_that_cannot_be_set_up_is_not_left_behind(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.commands import setup
    from core.errors import MigrationError

    async def fail(*_: object) -> None:
        raise MigrationError("the disk is full")

    monkeypatch.setattr(setup, "migrate_workspace", fail)
    one_line(run("workspace", "create", "half"), "the disk is full")
    assert "half" not in run("workspace", "list").out


def test_a_workspace_follows_its_file(run: Run, acme: str, folder: Path) -> None:
    file = folder / "acme.toml"
    assert run("workspace", "export", acme, "-o", str(file)).out == f"the feature set of acme is in {file}\n"
    text = file.read_text()
    assert run("workspace", "export", acme).out == text
    assert run("workspace", "plan", str(file)).out == "acme is as the file says\n"
    file.write_text(
        text.replace('country = "VN"', 'country = "DE"').replace("Works with what he owns", "Sells what he owns")
    )
    planned = run("workspace", "plan", str(file))
    assert planned.out == (
        '~ workspace acme\n    country: "VN" -> "DE"\n~ roles Salesperson\n'
        '    description: "Works with what he owns, and with what is shared with him." -> '
        '"Sells what he owns, and with what is shared with him."\n'
    )
    assert run("workspace", "apply", str(file)).out == planned.out
    assert run("workspace", "apply", str(file)).out == "acme was as the file says already\n"
    file.write_text(text[: text.rindex("[[roles]]")])
    asked = run("workspace", "apply", str(file))
    assert (asked.status, asked.out.splitlines()[-1]) == (1, "- roles Salesperson")
    assert asked.err == "error: this cannot be taken back: add --yes to do it without asking\n"
    done = run("workspace", "apply", str(file), "--yes", "--json").json
    assert [(d["action"], d["section"], d["name"], d["destructive"]) for d in done["differences"]] == [
        ("change", "workspace", "acme", False),
        ("delete", "roles", "Salesperson", True),
    ]
    file.write_text(text)
    assert run("workspace", "apply", str(file)).out.splitlines() == ["+ roles Salesperson"]


def test_a_file_makes_a_workspace(run: Run, acme: str, folder: Path) -> None:
    file = folder / "fresh.toml"
    file.write_text(
        'slug = "fresh"\n[workspace]\nhost_name = "acme.example"\n[plugins.groups]\n[[groups]]\nname = "VIP"\n'
    )
    one_line(run("workspace", "plan", str(file)), "there is no workspace 'fresh'")
    one_line(run("workspace", "apply", str(file)), "there is no workspace 'fresh'")
    one_line(run("workspace", "apply", str(file), "--create"), "host name 'acme.example' is in use")
    assert "fresh" not in run("workspace", "list").out
    made = run("workspace", "apply", str(file), "-w", "fresher", "--create")
    assert made.out.splitlines() == ["+ plugins groups", "+ groups VIP"]
    assert run("workspace", "erase", "fresher", "--yes").status == 0


def test_the_faults_of_a_file_are_told_line_by_line(
    run: Run, acme: str, folder: Path, monkeypatch: pytest.MonkeyPatch, typed: Callable[[str], None]
) -> None:
    file = folder / "bad.toml"
    file.write_text('slug = "acme"\n[[roles]]\nname = "X"\ncolour = 1\nabilities = 3\n')
    result = run("workspace", "plan", str(file))
    assert (result.status, result.out) == (1, "")
    assert result.err == (
        'bad.toml: roles "X".colour: a Role has no such field\n'
        'bad.toml: roles "X".abilities: 3 is not a valid abilities\n'
        "error: bad.toml cannot be applied: it has 2 faults\n"
    )
    file.write_text('slug = "acme"\n[[roles]]\nname = "X"\ncolour = 1\n')
    one_line(run("workspace", "plan", str(file)), 'roles "X".colour: a Role has no such field')
    file.write_text("roles = []\n")
    one_line(run("workspace", "plan", str(file)), "does not say for which workspace it is")
    file.write_text("roles = ")
    one_line(run("workspace", "plan", str(file)), "the file is not valid TOML")
    one_line(run("workspace", "plan", str(folder / "none.toml")), "No such file")
    typed('slug = "acme"\ncolours = []\n')
    one_line(run("workspace", "plan", "-"), "colours: no record type of this feature set")


# Settings


def test_settings_are_checked_and_shown(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "some.toml"
    file.write_text('[server]\nport = 9000\n[sign_in]\nsecret = "hunter2hunter2hunter2hunter2hunter2"\n')
    monkeypatch.setenv("CRM_CONFIG", str(file))
    monkeypatch.setenv("CRM_HOST", "::1")
    assert run("config", "check").out == f"ok  {file} and the environment are right: 3 settings are given\n"
    shown = run("config", "show")
    assert "hunter2" not in shown.out
    rows = {row["setting"]: row for row in run("config", "show", "--json").json}
    assert rows["port"] == {
        "section": "server",
        "setting": "port",
        "value": 9000,
        "from": "file",
        "place": "some.toml: [server] port",
    }
    assert (rows["host"]["value"], rows["host"]["from"], rows["host"]["place"]) == ("::1", "environment", "CRM_HOST")
    assert (rows["secret"]["value"], rows["secret"]["from"]) == ("***", "file")
    assert (rows["max_depth"]["value"], rows["max_depth"]["from"]) == (18, "default")
    file.write_text('[server]\nport = "x"\ncolour = 1\n')
    checked = run("config", "check")
    assert (checked.status, checked.err) == (1, "")
    assert [line.split(": ")[1] for line in checked.out.splitlines()] == ["[server] colour", "[server] port"]
    assert len(run("config", "check", "--json").json["faults"]) == 2
    one_line(run("config", "show"), "settings are wrong: some.toml: [server] colour: there is no such setting; some")
    one_line(run("workspace", "list"), "some.toml: [server] port")


def test_the_file_is_named_before_any_command(folder: Path) -> None:
    (folder / "named.toml").write_text("[server]\ncolour = 1\n")
    for command in (["workspace", "list"], ["import", "named.toml"], ["config", "check"]):
        made = crm(folder, "--config", "named.toml", *command)
        assert made.returncode == 1
        assert "[server] colour" in made.stdout + made.stderr


def test_the_template_says_what_holds_anyway(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.settings import Settings

    text = run("config", "template").out
    file = folder / "template.toml"
    monkeypatch.setenv("CRM_CONFIG", str(file))
    file.write_text(text)
    plain = Settings.load()
    given = [line[2:] for line in text.splitlines() if re.match(r'# [a-z_]+ = (?!"")', line)]
    lines = [line for line in text.splitlines() if not line.startswith("# ") or line[2:] in given]
    file.write_text("\n".join(line.removeprefix("# ") for line in lines))
    assert Settings.load() == plain
    assert len(given) + text.count(' = ""') == len(Settings.model_fields)


def test_plugins_are_switched(run: Run, acme: str) -> None:
    def plugins() -> object:
        (row,) = [row for row in run("workspace", "list", "--json").json if row["slug"] == acme]
        return row["plugins"]

    assert run("workspace", "enable", acme, "groups").out == "groups is on in acme\n"
    assert plugins() == ["groups"]
    assert "type Group implements Node" in run("schema", "print", "-w", acme).out
    assert run("workspace", "disable", acme, "groups").status == 0
    assert plugins() == []
    assert "type Group implements Node" not in run("schema", "print", "-w", acme).out
    one_line(run("workspace", "purge", acme, "groups"), "--yes")
    assert run("workspace", "purge", acme, "groups", "--yes").status == 0
    one_line(run("workspace", "enable", acme, "unheard_of"), "unheard_of")
    one_line(run("workspace", "disable", acme, "groups"), "groups")


def test_documents_are_published_listed_and_pruned(run: Run, acme: str, tmp_path: Path) -> None:
    text = "query Names { customers { nodes { name } } }"
    manifest = tmp_path / "persisted-documents.json"
    manifest.write_text(json.dumps({f"sha256:{hashlib.sha256(text.encode()).hexdigest()}": text}))
    one_line(run("documents", "trust", "--only", "-w", acme), "publish a manifest first")
    assert run("documents", "publish", str(manifest), "-w", acme).out == "1 documents published, 1 of them new\n"
    assert run("documents", "publish", str(manifest), "-w", acme, "--json").json == {"total": 1, "added": 0}
    (listed,) = run("documents", "list", "-w", acme, "--json").json  # type: ignore[misc]
    assert (listed["operations"], listed["characters"], listed["used_at"]) == (["Names"], len(text), None)
    assert run("documents", "trust", "--only", "-w", acme).out == "published documents only\n"
    assert run("documents", "trust", "--any", "-w", acme).out == "any document\n"
    assert run("documents", "prune", "-w", acme).out == "0 documents removed\n"
    assert run("documents", "prune", "--unused-days", "0", "--keep", str(manifest), "-w", acme).out.startswith("0 ")
    assert run("documents", "prune", "--unused-days", "0", "-w", acme).out == "1 documents removed\n"


def test_a_faulty_manifest_publishes_nothing(run: Run, acme: str, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.json"
    apollo = [{"id": "a", "name": "A", "type": "query", "body": "{ noSuchField }"}]
    manifest.write_text(json.dumps({"format": "apollo-persisted-query-manifest", "version": 1, "operations": apollo}))
    found = run("documents", "publish", str(manifest), "-w", acme)
    assert found.status == 1
    assert "a: line 1, column 3: Cannot query field" in found.err
    assert "nothing was published: 1 of 1 documents are faulty" in found.err
    manifest.write_text("{")
    one_line(run("documents", "publish", str(manifest), "-w", acme), "not JSON")
    one_line(run("documents", "publish", str(tmp_path / "missing"), "-w", acme), "cannot read")


def test_a_schema_is_compared_with_a_workspace(run: Run, acme: str, tmp_path: Path) -> None:
    now = run("schema", "print", "-w", acme).out
    old = tmp_path / "old.graphql"
    old.write_text(now)
    assert run("schema", "diff", str(old), "-w", acme).out == "nothing changed\n"
    old.write_text(now.replace("type Query {", "type Query {\n  formerly: Int\n", 1))
    found = run("schema", "diff", str(old), "-w", acme)
    assert (found.status, found.out) == (1, "BREAKING   Field Query.formerly was removed.\n")


def test_confirming_takes_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from core.errors import ConfigError

    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(console.typer, "prompt", lambda _: "acme")
    console.confirm("It will be gone.", "acme", yes=False)
    with pytest.raises(ConfigError, match="nothing was changed"):
        console.confirm("It will be gone.", "other", yes=False)


# Users and keys


def test_a_user_needs_a_good_password_and_a_role_there_is(run: Run, acme: str, typed: Callable[[str], None]) -> None:
    create = ("user", "create", "lan", "-w", acme, "--password-stdin")
    typed("short\n")
    one_line(run(*create, "--role", "Admin"), "8")
    typed("long enough\n")
    one_line(run(*create, "--role", "Emperor"), "Emperor")
    typed("\n")
    one_line(run(*create, "--role", "Admin"), "empty")
    one_line(run("user", "create", "lan", "-w", acme, "--role", "Admin"), "--password-stdin")
    typed("long enough\n")
    made = run(*create, "--role", "Manager", "--role", "Read-only", "--name", "Lan", "--json")
    assert made.json["login"] == "lan"
    typed("long enough\n")
    one_line(run(*create, "--role", "Admin"), "in use")


def test_a_password_is_replaced(run: Run, acme: str, typed: Callable[[str], None]) -> None:
    typed("another one\n")
    assert run("user", "password", "BOSS", "-w", acme, "--password-stdin").status == 0
    typed("another one\n")
    one_line(run("user", "password", "nobody", "-w", acme, "--password-stdin"), "nobody")


def test_a_token_is_all_that_is_printed(run: Run, acme: str) -> None:
    plain = run("token", "boss", "-w", acme)
    assert plain.out.startswith("crm_")
    assert plain.out.count("\n") == 1
    limited = run("token", "boss", "-w", acme, "--allow", "Customer:read", "--days", "3", "--json").json
    assert limited["expiresAt"] > time.strftime("%Y-%m-%d")
    one_line(run("token", "boss", "-w", acme, "--allow", "Customer"), "Record:action")
    one_line(run("token", "nobody", "-w", acme), "nobody")


# Looking


def test_doctor_finds_what_is_wrong(run: Run, acme: str) -> None:
    well = run("doctor")
    assert well.status == 0, well.out
    assert "fail" not in well.out
    assert f"ok    workspace {acme}: migrated" in well.out
    found = {finding["what"]: finding for finding in run("doctor", "--json").json}
    assert found["database"]["level"] == "ok"
    # Nothing works here, which is a warning: the exit code stays 0, and it says what to do.
    assert (found["workers"]["level"], found["workers"]["cure"][:18]) == ("warn", "start `crm worker`")
    assert {f["what"] for f in found.values() if f["level"] == "ok" and f["cure"]} == set()


def test_doctor_names_a_workspace_that_was_never_migrated(run: Run, acme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from core import migrate

    async def waiting(*_: object) -> list[str]:
        return ["core_9999"]

    monkeypatch.setattr(migrate, "pending", waiting)
    result = run("doctor")
    assert result.status == 1
    assert f"fail  workspace {acme}: not migrated: core_9999 missing" in result.out
    assert "      what to do: run crm migrate --all" in result.out


def test_plugins_are_listed(run: Run) -> None:
    assert "groups" in run("plugin", "list").out
    (groups,) = [row for row in run("plugin", "list", "--json").json if row["name"] == "groups"]
    assert (groups["state"], groups["reason"]) == ("READY", "")


def test_version(run: Run) -> None:
    from importlib.metadata import version

    assert run("--version").out == f"headless-crm {version('headless-crm')}\n"


# Migrations


def test_migrating_goes_on_after_one_that_fails(run: Run, acme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from core import migrate
    from core.errors import MigrationError

    assert run("workspace", "create", "beta").status == 0
    assert run("migrate", "--all").out.splitlines() == ["acme: up to date", "beta: up to date"]
    assert run("migrate", "-w", "beta").out == "beta: up to date\n"
    real = migrate.migrate_workspace

    async def fail(database: object, workspace: object, apps: object) -> MigrationReport:
        if workspace.slug == "acme":
            raise MigrationError("a column is in the way")
        return await real(database, workspace, apps)

    monkeypatch.setattr(migrate, "migrate_workspace", fail)
    result = run("migrate", "--all")
    assert result.status == 1
    assert result.out == "beta: up to date\n"
    assert result.err.splitlines() == [
        "acme: failed, nothing changed: a column is in the way",
        "error: not migrated: acme",
    ]
    reports = run("migrate", "--all", "--json")
    assert [(r["workspace"], r["error"]) for r in reports.json] == [("acme", "a column is in the way"), ("beta", None)]
    assert run("workspace", "erase", "beta", "--yes").status == 0


# Processes


def started(folder: Path, *arguments: str, **values: object) -> subprocess.Popen[str]:
    command = [CRM, *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment(**values), stderr=subprocess.PIPE, text=True)


def alive(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(("workers", "number"), [(1, signal.SIGTERM), (1, signal.SIGINT), (2, signal.SIGTERM)])
def test_a_server_stops_all_that_it_started(tmp_path: Path, workers: int, number: int) -> None:
    port = free_port()
    process = started(tmp_path, "serve", "--port", str(port), "--workers", str(workers))
    try:
        wait_for(lambda: alive(port), process)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(servers(tmp_path)) == 1
        process.send_signal(number)
        _, log = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, log
    assert "Traceback" not in log
    assert servers(tmp_path) == []
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def answering(process: subprocess.Popen[str]) -> set[psutil.Process]:
    """Those of its children that have the port."""
    found = set()
    for child in psutil.Process(process.pid).children():
        with suppress(psutil.Error):
            if "spawn_main" in " ".join(child.cmdline()):
                found.add(child)
    return found


def test_processes_that_are_killed_are_replaced_but_go_with_their_parent(tmp_path: Path) -> None:
    port = free_port()
    process = started(tmp_path, "serve", "--port", str(port), "--workers", "2")
    try:
        wait_for(lambda: alive(port), process)
        one, other = answering(process)
        one.kill()
        wait_for(lambda: len(answering(process) - {one, other}) == 1, process)
        for _ in range(20):
            assert alive(port)
        other.kill()
        wait_for(lambda: len(answering(process)) == 2 and not answering(process) & {one, other}, process)
        wait_for(lambda: alive(port), process)
        children = answering(process)
    finally:
        process.kill()
        process.communicate()
    _, left = psutil.wait_procs(children, timeout=PATIENCE)
    assert not left
    assert not alive(port)


def test_a_server_that_cannot_start_says_why_in_one_line(tmp_path: Path) -> None:
    for workers in ("1", "2"):
        done = crm(
            tmp_path,
            *("serve", "--port", str(free_port()), "--workers", workers),
            CRM_DATABASE_URL=f"postgresql://me:x@127.0.0.1:{free_port()}/db",
        )
        assert done.returncode == 1
        assert done.stderr.startswith("error: cannot reach the database")
        assert done.stderr.count("\n") == 1


def test_a_worker_works_until_it_is_told_to_stop(folder: Path, acme: str) -> None:
    process = started(folder, "worker")
    assert process.stderr is not None
    try:
        lines = iter(process.stderr.readline, "")
        assert any('"event":"worker_started"' in line for line in lines)
        process.terminate()
        _, rest = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert '"event":"worker_stopped"' in rest
