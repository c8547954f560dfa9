"""`crm plugin new`: what it writes works as it is, and it refuses what could not."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from core.errors import ConfigError, PluginError
from core.scaffold.names import Names
from core.scaffold.new import core_bound, create, write
from tests.packaging import ROOT, beside, build_wheel, environment, project_files, run

LOYALTY = ROOT / "examples/loyalty"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new plugin, as the command writes it."""
    folder = tmp_path_factory.mktemp("made")
    printed = run([str(Path(sys.executable).with_name("crm")), "plugin", "new", "gift_cards"], folder)
    assert printed.startswith("crm-gift-cards is a plugin that works")
    assert [file.name for file in folder.iterdir()] == ["crm-gift-cards"]
    assert not list(folder.rglob("__pycache__"))
    return folder / "crm-gift-cards"


def test_it_has_all_that_the_example_has(made: Path) -> None:
    there, wanted = project_files(made), project_files(LOYALTY)
    assert {name.replace("gift_cards", "NAME") for name in there} == {n.replace("loyalty", "NAME") for n in wanted}


def test_no_name_is_left_open(made: Path) -> None:
    for name, text in project_files(made).items():
        assert not re.search(r"~|NAME_|PACKAGE/|loyalty", name + text), name


def test_its_tests_and_those_of_the_example_pass(made: Path, tmp_path: Path) -> None:
    env = beside(tmp_path, made, LOYALTY)
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib"]
    printed = run([sys.executable, "-m", "pytest", *options, str(made / "tests"), str(LOYALTY / "tests")], made, env)
    assert re.search(r"^\d+ passed in", printed, re.MULTILINE), printed


def test_they_pass_the_check(made: Path, tmp_path: Path) -> None:
    env = beside(tmp_path, made, LOYALTY)
    crm = str(Path(sys.executable).with_name("crm"))
    printed = run([crm, "plugin", "check", "--no-database", str(made), str(LOYALTY)], tmp_path, env)
    assert re.findall(r"^(\w+) 0\.1\.0: no fault", printed, re.MULTILINE) == ["gift_cards", "loyalty"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "'' cannot be a plugin's name"),
        ("Loyalty", "'Loyalty' cannot be a plugin's name: use lower case letters and single _, as in gift_cards"),
        ("2fast", "'2fast' cannot be a plugin's name"),
        ("gift-cards", "'gift-cards' cannot be a plugin's name"),
        ("gift__cards", "'gift__cards' cannot be a plugin's name"),
        ("../gift", "'../gift' cannot be a plugin's name"),
        ("quà", "'quà' cannot be a plugin's name"),
        ("core", "'core' cannot be a plugin's name"),
        ("a" * 41, "is longer than 40 letters"),
        ("groups", "there is an installed plugin called groups"),
        ("owner", "the name owner clashes: Customer.owner of owner is already declared by core"),
        ("text", "the name text clashes: GraphQL type 'TextFilter' of text is already declared by core"),
    ],
)
def test_names_that_cannot_be_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(PluginError) as refused:
        create(name, tmp_path)
    assert reason in refused.value.message
    assert "\n" not in refused.value.message
    assert list(tmp_path.iterdir()) == []


def test_a_package_of_that_name_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crm_stamps").mkdir()
    (tmp_path / "crm_stamps" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match="there is an installed package crm_stamps"):
        create("stamps", tmp_path)


def test_folders_that_are_there_are_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "crm-stamps"
    kept.mkdir()
    with pytest.raises(ConfigError, match="crm-stamps is there already"):
        create("stamps", tmp_path)
    assert list(kept.iterdir()) == []
    kept.rmdir()
    kept.symlink_to("nowhere")
    with pytest.raises(ConfigError, match="crm-stamps is there already"):
        create("stamps", tmp_path)
    with pytest.raises(ConfigError, match="cannot be written: No such file or directory"):
        create("stamps", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("version", "bound"), [("0.1.0", ">=0.1,<1"), ("1.4.2", ">=1.4,<2"), ("2.0.0.dev1+local", ">=2.0,<3")]
)
def test_it_works_with_the_core_of_today_up_to_the_next_major_version(version: str, bound: str) -> None:
    assert core_bound(version) == bound


def test_what_it_writes_is_formatted(tmp_path: Path) -> None:
    for name in ("a", "stamps", "a_plugin_with_quite_a_long_name_indeed"):
        write(Names.of(name), tmp_path / name)
    ruff = str(Path(sys.executable).with_name("ruff"))
    run([ruff, "check", "--no-cache", str(tmp_path)], tmp_path)
    run([ruff, "format", "--no-cache", "--check", str(tmp_path / "stamps")], tmp_path)


@pytest.mark.nightly
def test_it_works_in_an_empty_environment_as_it_says(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path)
    (tmp_path / "empty").mkdir()
    env = environment(wheel)
    setup = "python3 -m venv .venv && .venv/bin/pip install -q headless-crm && .venv/bin/crm plugin new stamps"
    printed = run(f"set -e; {setup}", tmp_path / "empty", env)
    told = "\n".join(re.findall(r"^    (.+)$", printed, re.MULTILINE))
    assert told.startswith("cd crm-stamps\n")
    printed = run(f"set -e\n{told}", tmp_path / "empty", env)
    assert re.search(r"^=+ \d+ passed in", printed, re.MULTILINE), printed
    assert re.search(r"^stamps 0\.1\.0: no fault", printed, re.MULTILINE), printed
