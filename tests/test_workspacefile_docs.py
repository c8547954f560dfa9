"""The page about workspaces' files says what happens."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from core.context import Workspace
from core.database import Database
from core.features import Features
from core.schema.declared import CORE
from core.workspacefile import document
from core.workspacefile.difference import FileFault
from core.workspacefile.plan import WorkspaceFiles
from core.workspaces import Workspaces
from tests.conftest import NewWorkspace
from tests.workspacefiles import keeping, people

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/workspace-file.md").read_text()
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def test_the_example_is_what_the_page_shows() -> None:
    example = (ROOT / "examples/workspace.toml").read_text()
    assert tomllib.loads(example) == tomllib.loads("\n".join(BLOCKS))
    assert {t.plural for t in CORE if t.configuration} <= tomllib.loads(example).keys()


async def test_the_example_is_applied_and_written(database: Database, new_workspace: NewWorkspace) -> None:
    async with keeping(database) as features:
        await _apply_and_write(features, await new_workspace())


async def _apply_and_write(features: Features, workspace: Workspace) -> None:
    await people(features, workspace)
    files = WorkspaceFiles(features)
    content: dict[str, Any] = document.read("\n".join(BLOCKS))
    content.pop("slug")
    assert (await files.apply(workspace, content)).differences
    workspace = await Workspaces(features.database).get(workspace.slug)
    assert (workspace.hostname, workspace.currency) == ("crm.acme.example", "VND")
    assert (await files.plan(workspace, content)).differences == ()
    written = document.read(await files.export(workspace))
    for name, section in content.items():
        there = written[name] if isinstance(section, list) else [written[name]]
        assert len(there) == len(section if isinstance(section, list) else [section])
    fault = re.search(r"^error: (.*)$", PAGE, re.MULTILINE)
    assert fault is not None
    content["groups"].pop()
    with pytest.raises(FileFault) as caught:
        await files.apply(workspace, content)
    assert caught.value.message == fault[1]
