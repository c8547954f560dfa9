"""`crm plugin check`: what it finds, and that the built-in plugins keep its rules."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
import tomllib
from collections import Counter
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from core import cli, deprecations, hookspecs
from core.check.checker import check, chosen, sources
from core.check.rule import DOCS, Stage
from core.check.table import RULES
from core.deprecations import Deprecated
from core.errors import ConfigError


def test_codes_are_unique_and_in_order() -> None:
    codes = [rule.code for rule in RULES]
    assert codes == sorted(set(codes))


def test_plugins_are_found_by_folder_by_repository_and_by_name(project: Path) -> None:
    every = [source.manifest.name for source in sources([str(project / "plugins")])]
    assert every == ["dedupe", "groups", "import_excel", "shared_pool", "sharing", "tiering"]
    (by_name,) = sources(["tiering"])
    (by_folder,) = sources([str(project / "plugins" / "tiering")])
    assert by_name.folder == by_folder.folder == project / "plugins" / "tiering"
    assert (by_name.package, by_name.root) == ("plugins.tiering", project)
    for nothing in (str(project / "docs"), "nowhere"):
        with pytest.raises(ConfigError):
            sources([nothing])


def test_the_built_in_plugins_keep_the_rules_on_files(project: Path) -> None:
    for report in check([str(project / "plugins")], chosen(), Stage.SOURCE):
        assert [(f.rule.code, f.fault) for f in report.found] == []
        assert len(report.rules) > 20


def test_rules_are_chosen_by_code_and_by_family() -> None:
    assert [rule.code for rule in chosen(["P301"])] == ["P301"]
    assert {rule.code[:2] for rule in chosen(ignore=["P3", "p4"])} == {f"P{n}" for n in (1, 2, 5, 6, 7, 8, 9)}
    with pytest.raises(ConfigError, match="there is no rule P999"):
        chosen(["P999"])


def test_every_rule_is_explained_under_its_code(project: Path) -> None:
    text = (project / DOCS).read_text()
    sections = dict(re.findall(r"^### (P\d+)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))
    assert list(sections) == [rule.code for rule in RULES]
    for rule in RULES:
        section = " ".join(sections[rule.code].split())
        assert section.startswith(f"**{rule.sentence}** "), rule.code
        assert re.fullmatch(r".*\. Bad: ```.+``` Good: ```.+```", section), rule.code
        assert rule.docs == f"{DOCS}#{rule.code.lower()}"
    for anchor in re.findall(r"\(#([^)]+)\)", text):
        assert anchor.upper() in sections


def test_examples_in_python_and_toml_are_what_they_say(project: Path) -> None:
    """All can be read, but for the one that shows what cannot."""
    broken = []
    text = (project / DOCS).read_text()
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        for language, example in re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL):
            try:
                if language == "python":
                    compile(example, section[:4], "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                elif language == "toml":
                    tomllib.loads(example)
            except (SyntaxError, tomllib.TOMLDecodeError):
                broken.append(section[:4])
    assert broken == ["P105"]


@pytest.fixture
def torn(project: Path, tmp_path: Path) -> Path:
    """A copy of a plugin that has two hooks which nobody knows."""
    folder = tmp_path / "torn"
    shutil.copytree(project / "plugins" / "groups", folder)
    manifest = folder / "plugin.toml"
    manifest.write_text(manifest.read_text().replace('"groups"', '"torn"').replace("plugins.groups", "torn"))
    hooks = folder / "hooks.py"
    hooks.write_text(hooks.read_text() + "\n\n@hookimpl\ndef tear(): ...\n\n\n@hookimpl\ndef mend(): ...\n")
    return folder


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def crm(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run `crm plugin check`; gives the exit code and what was printed."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(["plugin", "check", *arguments])
        printed = capfd.readouterr()
        return int(str(ended.value.code)), printed.out, printed.err

    return run


def test_the_command_says_where_what_and_why(crm: Run, torn: Path) -> None:
    status, out, err = crm(str(torn), "--static", "--select", "P3")
    *faults, summary = out.splitlines()
    (line,) = {i for i, text in enumerate((torn / "hooks.py").read_text().splitlines(), 1) if "def mend" in text}
    assert (status, err) == (1, "")
    assert faults[1] == f"{torn / 'hooks.py'}:{line}: P301 there is no hook mend (docs/plugins/check.md#p301)"
    assert summary.startswith("torn 0.1.0: 2 faults, 5 rules in ")


def test_the_command_prints_json(crm: Run, torn: Path) -> None:
    status, out, _ = crm(str(torn), "--static", "--select", "P301", "--json")
    (report,) = json.loads(out)
    assert (status, report["plugin"], report["rules"], report["stopped"]) == (1, "torn", ["P301"], None)
    fault = report["faults"][0]
    assert (fault["code"], fault["message"]) == ("P301", "there is no hook tear")
    assert (fault["file"], fault["docs"]) == (str(torn / "hooks.py"), "docs/plugins/check.md#p301")


def test_what_is_ignored_is_no_fault(crm: Run, torn: Path) -> None:
    assert crm(str(torn), "--static", "--select", "P3", "--ignore", "P301")[0] == 0


def test_a_line_can_be_let_through_with_a_reason(crm: Run, torn: Path) -> None:
    hooks = torn / "hooks.py"
    text = hooks.read_text().replace("def mend(): ...", "def mend(): ...  # crm: allow P301 for the next version")
    hooks.write_text(text.replace("def tear(): ...", "# crm: allow P302 another rule\ndef tear(): ..."))
    _, out, _ = crm(str(torn), "--static", "--select", "P301", "--json")
    assert [fault["message"] for fault in json.loads(out)[0]["faults"]] == ["there is no hook tear"]
    hooks.write_text(hooks.read_text().replace("allow P301 for the next version", "allow P301"))
    assert len(json.loads(crm(str(torn), "--static", "--select", "P301", "--json")[1])[0]["faults"]) == 2


def test_a_plugin_that_cannot_be_imported_is_one_fault(crm: Run, torn: Path) -> None:
    """What was found in its files is the likely reason; alone it is a fault of its own."""
    arguments = (str(torn), "--no-database", "--json")
    (report,) = json.loads(crm(*arguments, "--select", "P3", "--select", "P9")[1])
    assert {fault["code"] for fault in report["faults"]} == {"P301"}
    assert report["stopped"].startswith("it cannot be loaded: plugin torn: ")
    assert "unknown hook" in report["stopped"]
    (report,) = json.loads(crm(*arguments, "--select", "P9")[1])
    assert {fault["code"] for fault in report["faults"]} == {"P901"}
    assert "torn" not in sys.modules


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("own_table", {"P401": 2, "P405": 2}),
        ("raises_in_hook", {"P902": 1}),
        ("raises_on_import", {"P901": 1}),
        ("exits_on_import", {"P901": 1}),
        ("needs_missing", {"P901": 1}),
        ("wants_newer_core", {"P901": 1}),
        ("no_settings", {"P901": 1}),
        ("forgets_async", {"P303": 1}),
        ("takes_an_ability", {"P403": 1, "P902": 1}),
        ("returns_nonsense", {"P902": 1}),
        ("takes_a_type", {"P401": 1, "P902": 1}),
    ],
)
def test_what_is_wrong_with_broken_plugins_is_told_once(
    project: Path, name: str, expected: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "entry_points", lambda **_: metadata.EntryPoints())
    rules = chosen(ignore=["P102", "P103", "P104"])
    (report,) = check([str(project / "tests" / "broken_plugins" / name)], rules, Stage.LOADED)
    assert Counter(found.rule.code for found in report.found) == expected


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("nowhere",), "nowhere is neither a path nor an installed plugin"),
        (("docs",), "there is no plugin.toml in docs or below"),
        (("groups", "--select", "X1"), "there is no rule X1: crm plugin check --list shows them"),
        ((), "name the folder of a plugin, or an installed plugin"),
    ],
)
def test_what_cannot_be_checked_is_told_apart(
    crm: Run, arguments: tuple[str, ...], reason: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    assert crm(*arguments) == (2, "", f"error: {reason}\n")


def test_the_rules_are_listed(crm: Run) -> None:
    status, out, _ = crm("--list", "--json")
    assert status == 0
    assert [rule["code"] for rule in json.loads(out)] == [rule.code for rule in RULES]


def test_what_is_deprecated_is_told(torn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deprecations, "NAMES", {"Batch": gone("Batch")})
    monkeypatch.setattr(deprecations, "KEYS", {"nouns": gone("the key nouns")})
    told = {"warn_on_impl": gone("the hook check"), "warn_on_impl_args": {"settings": gone("settings of check")}}
    monkeypatch.setattr(hookspecs.check, "crm_spec", told)
    (report,) = check([str(torn)], chosen(["P204"]), Stage.SOURCE)
    said = {found.fault.message.partition(" is deprecated")[0] for found in report.found}
    assert said == {"Batch", "the key nouns", "the hook check", "settings of check"}
    assert all(found.fault.place and found.fault.place.line for found in report.found)


def test_what_does_not_compose_is_not_tried(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "entry_points", lambda **_: metadata.EntryPoints())
    rules = chosen(["P902", "P904"])
    (report,) = check([str(project / "tests" / "broken_plugins" / "takes_a_type")], rules, Stage.TRIED)
    assert [rule.code for rule in report.rules] == ["P902"]
    assert report.stopped == "it does not compose, so it was not tried in a workspace"


def gone(what: str) -> Deprecated:
    return Deprecated(what, since="0.2", gone="0.4", instead="use another")
