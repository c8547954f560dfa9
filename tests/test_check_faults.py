"""Each rule of `crm plugin check` finds the fault that is made for it in a new plugin, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from graphql import build_schema

from core.check.checker import Report, check, chosen
from core.check.rule import Stage
from core.check.table import RULES
from core.check.whole import adds_only
from core.plugins import GROUP
from core.scaffold.names import Names
from core.scaffold.new import write

Edit = Callable[[Path], None]

PACKAGE = "crm_coffee"
MIGRATION = "piccolo_migrations/coffee_0001_ledger.py"


def replace(file: str, old: str, new: str) -> Edit:
    """Replace a text that is there, in a file of the package."""

    def edit(place: Path) -> None:
        text = (place / PACKAGE / file).read_text()
        assert old in text, f"{file} has no {old!r}"
        (place / PACKAGE / file).write_text(text.replace(old, new))

    return edit


def append(file: str, text: str) -> Edit:
    """Append to a file of the package, or make it."""

    def edit(place: Path) -> None:
        with (place / PACKAGE / file).open("a") as opened:
            opened.write(text)

    return edit


def remove(file: str) -> Edit:
    return lambda place: (place / file).unlink()


def everywhere(old: str, new: str) -> Edit:
    """Replace a text in every Python file of the package."""

    def edit(place: Path) -> None:
        for file in (place / PACKAGE).rglob("*.py"):
            file.write_text(file.read_text().replace(old, new))

    return edit


def also_makes(statement: str, undone: str = "") -> tuple[Edit, ...]:
    """A migration that makes something else too."""
    edits = [replace(MIGRATION, "FORWARDS = (", f'FORWARDS = (\n    "{statement}",')]
    if undone:
        edits.append(replace(MIGRATION, "async def drop() -> None:\n", f"{DROP}    await ENGINE.run_ddl({undone!r})\n"))
    return tuple(edits)


DROP = "async def drop() -> None:\n"
SWITCHED_ON = "\n\n@hookimpl\nasync def switched_on(changes: ChangeSet) -> None:\n"

#: By code, what is done to a plugin that keeps every rule.
FAULTS: dict[str, tuple[Edit, ...]] = {
    "P101": (replace("plugin.toml", 'version = "0.1.0"', 'version = "one"'),),
    "P102": (replace("plugin.toml", ",<1", ""),),
    "P103": (remove("README.md"),),
    "P104": (remove("tests/test_coffee.py"),),
    "P105": (append("torn.py", "def torn(:\n"),),
    "P201": (
        replace("rules.py", "import Batch, ChangeSet, Fault, text", "import Batch, ChangeSet, text"),
        append("rules.py", "\n\nfrom core.rows import Fault\n"),
    ),
    "P202": (append("jobs.py", "\n\nfrom plugins.groups.tables import GroupMember\n"),),
    "P203": (append("tables.py", "\n\nasync def count() -> int:\n    return await CoffeeEntry.count()\n"),),
    "P301": (replace("hooks.py", "def abilities(", "def abilitys("),),
    "P302": (replace("hooks.py", "def jobs(settings:", "def jobs(config:"),),
    "P303": (
        replace("hooks.py", "async def check(", "def check("),
        replace("hooks.py", "return await check_totals", "return check_totals"),
    ),
    "P304": (append("rules.py", "\n\nfrom core import hookimpl\n\n\n@hookimpl\nasync def changed(batch): ...\n"),),
    "P305": (replace("hooks.py", "@hookimpl\ndef abilities(", "def abilities("),),
    "P401": (everywhere("coffeeTotal", "drinkTotal"),),
    "P402": (append("plugin.toml", 'nouns = ["coffee", "customer"]\n'),),
    "P403": (replace("commands.py", '"coffee_add"', '"coffeeadd"'),),
    "P404": (replace("records.py", '"What for."', '""'),),
    "P405": (replace("records.py", '{"vi": "Ghi chú", "en": "Note"}', '{"en": "Note"}'),),
    "P406": (everywhere("coffee_entry", "drink_entry"),),
    "P501": (replace("locale/vi.toml", "out_of_bounds =", "beyond_bounds ="),),
    "P502": (replace("locale/vi.toml", "{total}", "{sum}"),),
    "P503": (replace("rules.py", '"out_of_bounds"', '"out_of_bonds"'),),
    "P504": (replace("rules.py", "PACKAGE, **params)", "PACKAGE, total=total)"),),
    "P505": (replace("rules.py", "OUT_OF_BOUNDS, message,", 'OUT_OF_BOUNDS, f"Not {total}",'),),
    "P601": (replace("settings.py", "Field(1_000_000, ", "Field("),),
    "P602": (replace("settings.py", ', description="The most that a customer can have."', ""),),
    "P603": (replace("settings.py", 'extra="forbid", ', ""),),
    "P701": (replace(MIGRATION, '"coffee_0001"', '"0001"'),),
    "P702": (replace(MIGRATION, "    manager.add_raw_backwards(drop)\n", ""),),
    "P703": also_makes("create sequence coffee_seq"),
    "P801": also_makes("create table coffee_note (id uuid primary key)", "drop table coffee_note"),
    "P802": (
        append("questions.py", '"""Questions."""\n\nTEXT = "select count(*) from customer"\n\n\n'),
        append("questions.py", "async def count(ask):\n    return await ask.fetch(TEXT, [])\n"),
    ),
    "P803": (append("jobs.py", '\n_TOUCH = "update customer c set level = null where c.id = $1"\n'),),
    "P901": (append("jobs.py", '\nraise RuntimeError("no such luck")\n'),),
    "P902": (replace("records.py", 'ToOne("customer", "Customer"', 'ToOne("customer", "Client"'),),
    "P904": (append("hooks.py", SWITCHED_ON + '    raise RuntimeError("no such luck")\n'),),
    "P905": (append("hooks.py", SWITCHED_ON + '    await changes.system().create("Team", [{"name": "Baristas"}])\n'),),
}
#: What no plugin can do by what it declares is tried on schemas that are written out; nothing is deprecated yet.
UNREACHABLE = {"P204", "P903"}
STAGES = {rule.code: rule.stage for rule in RULES}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plugin as `crm plugin new coffee` writes it."""
    place = tmp_path_factory.mktemp("sample") / "crm-coffee"
    write(Names.of("coffee"), place)
    return place


@pytest.fixture(scope="module")
def faulty(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A copy of it with each fault, by code."""
    folder = tmp_path_factory.mktemp("faulty")
    copies = {code: folder / code for code in FAULTS}
    for code, edits in FAULTS.items():
        shutil.copytree(sample, copies[code])
        for edit in edits:
            edit(copies[code])
    return copies


def codes(report: Report) -> set[str]:
    return {found.rule.code for found in report.found}


def found_in(copies: dict[str, Path], stage: Stage) -> dict[str, set[str]]:
    """The codes of what is found in each copy, up to a stage."""
    reports = check([str(place) for place in copies.values()], chosen(), stage)
    return {code: codes(report) for code, report in zip(copies, reports, strict=True)}


def test_every_rule_has_a_fault() -> None:
    assert FAULTS.keys() | UNREACHABLE == {rule.code for rule in RULES}


def test_a_new_plugin_keeps_every_rule(sample: Path) -> None:
    (report,) = check([str(sample)], chosen(), Stage.TRIED)
    assert [(found.rule.code, found.fault.message) for found in report.found] == []
    assert report.rules == sorted(RULES, key=lambda rule: rule.stage)


@pytest.mark.parametrize("stage", Stage)
def test_each_fault_is_found_by_its_rule_alone(
    faulty: dict[str, Path], stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Beside one other plugin: composing all of them for each copy takes three times as long.
    few = metadata.EntryPoints(e for e in metadata.entry_points(group=GROUP) if e.name == "groups")
    monkeypatch.setattr(metadata, "entry_points", lambda **_: few)
    copies = {code: place for code, place in faulty.items() if STAGES[code] is stage}
    assert found_in(copies, stage) == {code: {code} for code in copies}


@pytest.mark.nightly
def test_each_fault_is_found_by_its_rule_alone_whatever_else_is_looked_at(faulty: dict[str, Path]) -> None:
    assert found_in(faulty, Stage.TRIED) == {code: {code} for code in faulty}


@pytest.mark.parametrize(
    ("after", "described"),
    [
        ("type Query { a: Int b: Int c: Int }", []),
        ("type Query { b: Int }", ["Field Query.a was removed."]),
        ("type Query { a: String b: Int }", ["Field Query.a changed type from Int to String."]),
        ('type Query { "What it is." a: Int b: Int }', ["Query.a is described otherwise."]),
        ("type Query { a(b: Int!): Int b: Int }", ["A required argument Query.a(b:) was added."]),
    ],
)
def test_whatever_changes_a_schema_is_found(after: str, described: list[str]) -> None:
    whole: Any = SimpleNamespace(left_out={})
    loaded: Any = SimpleNamespace(
        before=build_schema("type Query { a: Int b: Int }"), after=build_schema(after), without=whole, both=whole
    )
    assert [fault.message for fault in adds_only(loaded)] == described
