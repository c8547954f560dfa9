# ruff: noqa: PLC0415 - heavy modules are imported where they are needed: `crm --help` answers at once
"""`crm user` and `crm token`: who may sign in, and with what."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from core import clock
from core.commands.console import (
    InWorkspace,
    Json,
    PasswordStdin,
    ask_password,
    deployment,
    print_json,
    run,
)

if TYPE_CHECKING:
    from uuid import UUID

    from core.pool import Connection

app = typer.Typer(help="Create users and set their passwords.", no_args_is_help=True)

Login = Annotated[str, typer.Argument(help="Name to sign in with.")]


@app.command()
def create(
    login: Login,
    role: Annotated[list[str], typer.Option("--role", help="Name of a role, such as Admin; give it again for more.")],
    name: Annotated[str, typer.Option(help="Name as others see it.")] = "",
    email: Annotated[str | None, typer.Option(help="Email address.")] = None,
    locale: Annotated[str, typer.Option(help="Language of messages: vi or en.")] = "vi",
    workspace: InWorkspace = None,
    password_stdin: PasswordStdin = False,
    as_json: Json = False,
) -> None:
    """Create a user; asks for the password."""
    password = ask_password(from_stdin=password_stdin)
    id_ = run(_create(workspace, login, password, name, role, email, locale))
    if as_json:
        print_json({"id": id_, "login": login})
    else:
        typer.echo(f"{login} can sign in")


@app.command()
def password(login: Login, workspace: InWorkspace = None, password_stdin: PasswordStdin = False) -> None:
    """Set a user's password and end his sessions; asks for it."""
    run(_password(workspace, login, ask_password(from_stdin=password_stdin)))
    typer.echo(f"{login} has a new password, his sessions are over")


def token(
    login: Login,
    name: Annotated[str, typer.Option(help="What the key is for, to tell it from others.")] = "crm token",
    allow: Annotated[
        list[str] | None,
        typer.Option(help="Limit it to Record:action, * for any, such as Customer:read; give it again for more."),
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires; without, never.")] = None,
    workspace: InWorkspace = None,
    as_json: Json = False,
) -> None:
    """Issue an API key that acts for a user; it is shown this once."""
    expires_at = None if days is None else clock.now() + timedelta(days=days)
    key = run(_token(workspace, login, name, allow, expires_at))
    if as_json:
        print_json({"token": key, "login": login, "expiresAt": expires_at and expires_at.isoformat()})
    else:
        typer.echo(key)


async def _create(
    slug: str | None, login: str, password: str, name: str, roles: list[str], email: str | None, locale: str
) -> UUID:
    from core.passwords import create_user

    async with deployment() as opened:
        workspace = await opened.workspace(slug)
        async with opened.database.transaction(workspace) as connection:
            return await create_user(connection, login, password, name, roles, email=email, locale=locale)


async def _password(slug: str | None, login: str, password: str) -> None:
    from core.passwords import set_password

    async with deployment() as opened:
        workspace = await opened.workspace(slug)
        async with opened.database.transaction(workspace) as connection:
            await set_password(connection, await _user(connection, login), password)


async def _token(slug: str | None, login: str, name: str, allow: list[str] | None, expires_at: datetime | None) -> str:
    from core.apikeys import EVERYTHING, issue_api_key

    async with deployment() as opened:
        workspace = await opened.workspace(slug)
        async with opened.database.transaction(workspace) as connection:
            user_id = await _user(connection, login)
            return await issue_api_key(connection, user_id, name, allow or EVERYTHING, expires_at)


async def _user(connection: Connection, login: str) -> UUID:
    from core.errors import NotFound

    id_: UUID | None = await connection.fetchval(
        "select id from app_user where lower(login) = lower($1) and deleted_at is null", login
    )
    if id_ is None:
        raise NotFound(f"there is no user {login!r}", login=login)
    return id_
