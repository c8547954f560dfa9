# ruff: noqa: PLC0415 - heavy modules are imported where they are needed: `crm --help` answers at once
"""`crm workspace`: what there is, what it has switched on, and its end."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.commands import backup
from core.commands.console import (
    Deployment,
    Json,
    Yes,
    confirm,
    deployment,
    print_json,
    run,
    show,
)

if TYPE_CHECKING:
    from core.context import Workspace
    from core.traces import Trace

app = typer.Typer(
    help="Create, list, back up and erase workspaces; switch their plugins on and off.", no_args_is_help=True
)
app.command()(backup.backup)
app.command()(backup.restore)
app.command()(backup.copy)
app.command()(backup.move)

Slug = Annotated[str, typer.Argument(help="The workspace: a letter, then letters, digits and _.")]
PluginName = Annotated[str, typer.Argument(help="Name of an installed plugin, as `crm plugin list` shows it.")]


@app.command()
def create(
    slug: Slug,
    hostname: Annotated[str | None, typer.Option(help="Host name that leads to it.")] = None,
    time_zone: Annotated[str, typer.Option(help="IANA name.")] = "Asia/Ho_Chi_Minh",
    locale: Annotated[str, typer.Option(help="Language of messages: vi or en.")] = "vi",
    currency: Annotated[str, typer.Option(help="ISO 4217 code.")] = "VND",
    country: Annotated[str, typer.Option(help="ISO 3166 code, for phone numbers.")] = "VN",
    database_url: Annotated[
        str | None, typer.Option(help="Another database to live in; - reads it from standard input.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Create a workspace with its tables and the default roles."""
    values: dict[str, Any] = {
        "hostname": hostname,
        "time_zone": time_zone,
        "locale": locale,
        "currency": currency,
        "country": country,
        "database_url": sys.stdin.readline().strip() if database_url == "-" else database_url,
    }
    run(_create(slug, values, as_json))


@app.command(name="list")
def list_(as_json: Json = False) -> None:
    """List the workspaces."""
    run(_list(as_json))


@app.command()
def enable(workspace: Slug, plugin: PluginName) -> None:
    """Switch a plugin on: its tables are made, running servers follow within a second."""
    run(_switch("enable", workspace, plugin))
    typer.echo(f"{plugin} is on in {workspace}")


@app.command()
def disable(workspace: Slug, plugin: PluginName) -> None:
    """Switch a plugin off; its data stays."""
    run(_switch("disable", workspace, plugin))
    typer.echo(f"{plugin} is off in {workspace}, its data is kept")


@app.command()
def purge(workspace: Slug, plugin: PluginName, yes: Yes = False) -> None:
    """Switch a plugin off and drop its data in the workspace, for good."""
    confirm(f"All data of {plugin} in {workspace} will be gone for good.", plugin, yes=yes)
    run(_switch("purge", workspace, plugin))
    typer.echo(f"the data of {plugin} in {workspace} is gone")


@app.command()
def erase(
    workspace: Slug,
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="Look for what is left in all tables of all workspaces, too.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Drop a workspace with everything in it, for good, and show that nothing of it is left."""
    from core.errors import DatabaseError

    confirm(f"The workspace {workspace} with all its data will be gone for good.", workspace, yes=yes)
    traces = run(_erase(workspace, everywhere))
    show(as_json, [{"looked_at": trace.place, "found": trace.found} for trace in traces], "")
    if left := [f"{trace.place} ({trace.found})" for trace in traces if trace.found]:
        raise DatabaseError(f"the workspace {workspace} is gone, but something of it is left: {', '.join(left)}")
    if not as_json:
        typer.echo(f"the workspace {workspace} is gone: nothing of it was found in {len(traces)} places")


async def _create(slug: str, values: dict[str, Any], as_json: bool) -> None:
    from core.commands.setup import set_up

    async with deployment() as opened:
        workspace = await opened.workspaces.create(slug, **values)
        try:
            await set_up(opened, workspace)
        except BaseException:
            await opened.workspaces.erase(slug)
            raise
    if as_json:
        print_json({"id": workspace.id, "slug": slug, "path": f"/w/{slug}/graphql"})
    else:
        typer.echo(f"the workspace {slug} is ready at /w/{slug}/graphql; make its first user: crm user create")


async def _list(as_json: bool) -> None:
    async with deployment() as opened:
        rows = [await _row(opened, w) for w in await opened.workspaces.list()]
    show(as_json, rows, "there is no workspace yet: crm workspace create")


async def _row(opened: Deployment, workspace: Workspace) -> dict[str, Any]:
    from core.database import address
    from core.errors import CrmError

    try:
        plugins = [p.name for p in await opened.features.status(workspace) if p.enabled]
        state = "ready"
    except CrmError as error:
        plugins, state = [], error.message
    return {
        "slug": workspace.slug,
        "host_name": workspace.hostname,
        "time_zone": workspace.time_zone,
        "database": address(workspace.database_url) if workspace.database_url else None,
        "plugins": plugins,
        "state": state,
    }


async def _switch(action: str, slug: str, plugin: str) -> None:
    async with deployment() as opened:
        workspace = await opened.workspaces.get(slug)
        await getattr(opened.features, action)(workspace, plugin)


async def _erase(slug: str, everywhere: bool) -> list[Trace]:
    from core.traces import look

    async with deployment() as opened:
        return await look(opened.database, await opened.workspaces.erase(slug), everywhere=everywhere)
