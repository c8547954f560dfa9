"""`crm plugin check`: what it finds, and that the built-in plugins keep its rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.check.checker import check, chosen, sources
from core.check.rule import Stage
from core.check.table import RULES
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
