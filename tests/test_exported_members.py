"""The root of the core is the whole public API."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import core
from core import public


def _public_names() -> list[str]:
    return [n for n in vars(public) if not n.startswith("__")]


def test_all_is_sorted_and_complete() -> None:
    assert public.__all__ == sorted(public.__all__, key=lambda n: (not n.isupper(), not n[0].isupper(), n))
    assert sorted(public.__all__) == sorted(_public_names())


def test_the_root_has_exactly_these_names() -> None:
    assert core.__all__ == public.__all__
    for name in public.__all__:
        assert getattr(core, name) is getattr(public, name)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = core.nonsense
    with pytest.raises(ImportError):
        exec("from core import Nonsense")


def test_no_name_hides_a_module(project: Path) -> None:
    modules = {p.stem for p in (project / "core").iterdir()}
    assert not modules & set(public.__all__)


def test_one_module_of_the_core_does_not_load_all_of_it() -> None:
    code = "import core.errors, sys; sys.exit('core.public' in sys.modules or 'asyncpg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_plugins_import_nothing_of_the_core_but_its_root(project: Path) -> None:
    files = sorted((project / "plugins").rglob("*.py"))
    assert files
    for file in files:
        package = file.relative_to(project).parts[1]
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                assert not name.startswith("core."), f"{file}: {name}"
                assert not name.startswith("plugins.") or name.split(".")[1] == package, f"{file}: {name}"
