"""The workspaces: migrated to the installed code, their plugins usable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.doctor import jobs
from core.doctor.finding import Finding, fail, ok
from core.errors import CrmError

if TYPE_CHECKING:
    from core.commands.console import Deployment
    from core.context import Workspace


def installed(opened: Deployment) -> list[Finding]:
    """The plugins that are installed, be they switched on or not."""
    return [
        fail(f"plugin {s.name}", s.reason, "install a version that fits, or uninstall it")
        if s.reason
        else ok(f"plugin {s.name}", f"version {s.version} can be used")
        for s in opened.features.registry.status()
    ]


async def workspace(opened: Deployment, one: Workspace) -> list[Finding]:
    """One workspace: its migrations, its plugins, its failed jobs."""
    from core import migrate  # noqa: PLC0415 - tests look for it here

    what = f"workspace {one.slug}"
    try:
        waiting = await migrate.pending(opened.database, one, await opened.features.apps(one))
        if waiting:
            return [fail(what, f"not migrated: {', '.join(waiting)} missing", "run crm migrate --all")]
        statuses = await opened.features.status(one)
        left_out = await opened.features.left_out(one)
        failed = await jobs.failures(opened.database, one)
    except CrmError as error:
        return [fail(what, error.message, "run crm migrate --all, or install the version that wrote it")]
    on = [s.name for s in statuses if s.enabled]
    bad = {s.name: s.reason for s in statuses if s.enabled and s.reason} | left_out
    cure = f"mend its settings, or switch it off: crm workspace disable {one.slug} NAME"
    return [
        ok(what, f"migrated, plugins on: {', '.join(on) or 'none'}"),
        *(fail(f"{what}, {name}", reason, cure.replace("NAME", name)) for name, reason in sorted(bad.items())),
        *failed,
    ]
