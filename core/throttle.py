"""Throttled sign-in: failures are counted per login and per address, and each makes the next wait longer."""

from __future__ import annotations

import hashlib
import ipaddress
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg

#: Failures that cost no wait. Behind one address there may be a whole office.
FREE_OF_LOGIN, FREE_OF_ADDRESS = 5, 20
LONGEST_WAIT = 900
#: After so long without a failure, counting begins anew.
MEMORY = timedelta(hours=1)

_COUNT = (
    "insert into login_failure as f (address, failures, at) values ($1, 1, $2) on conflict (address) do update "
    "set failures = case when f.at < $3 then 1 else f.failures + 1 end, at = $2 "
    "returning f.failures"
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to prove a login's password, alone for that login until its transaction ends.

    `user` is the live user of that login, with `id`, `active`, `password_hash`, or None. `wait` are the
    seconds for which the attempt must be refused, whatever the password; 0 where it may go on.
    """

    connection: asyncpg.Connection
    login: str
    client: str
    now: datetime
    user: asyncpg.Record | None
    failures: int
    wait: int

    @classmethod
    async def begin(cls, connection: asyncpg.Connection, login: str, client: str, now: datetime) -> Attempt:
        """Look up the login and its failures, after any other attempt for it has ended."""
        login = login.strip().lower()
        await connection.execute(
            "select pg_advisory_xact_lock(hashtextextended(current_schema() || '.login.' || $1, 0))", login
        )
        user = await connection.fetchrow(
            "select id, login, active, password_hash, failed_logins as failures, locked_until "
            "from app_user where lower(login) = lower($1) and deleted_at is null",
            login,
        )
        rows = await connection.fetch(
            "select address, failures, locked_until from login_failure where address = any($1)",
            [_of_login(login), network(client)],
        )
        by_key = {row["address"]: row for row in rows}
        # Of a login nobody has, failures are counted too, or waiting would tell which logins exist.
        of_login: Any = user or by_key.get(_of_login(login))
        of_address = by_key.get(network(client))
        locks = [lock for row in (of_login, of_address) if row and (lock := row["locked_until"]) is not None]
        recent = of_login and of_login["locked_until"] and of_login["locked_until"] > now - MEMORY
        failures = of_login["failures"] if recent else 0
        wait = max([0, *(math.ceil((lock - now).total_seconds()) for lock in locks)])
        return cls(connection, login, client, now, user, failures, wait)

    async def count(self) -> None:
        """Count a failure of the login, before it is known whether it is one: of many at once none is free.

        The transaction must be committed before the password is looked at.
        """
        failures = self.failures + 1
        until = self.now + timedelta(seconds=_wait(failures, FREE_OF_LOGIN))
        if self.user is not None:
            await self.connection.execute(
                "update app_user set failed_logins = $2, locked_until = $3 where id = $1",
                self.user["id"], failures, until,
            )  # fmt: skip
        else:
            await self._keep(_of_login(self.login), failures, until)

    async def failed(self) -> None:
        """Count a failure of the address; that of the login has been counted."""
        if self.client:
            await self._count_address()
        await self.connection.execute("delete from login_failure where at < $1", self.now - timedelta(days=1))

    async def succeeded(self) -> None:
        """Forget the login's failures; the address keeps its own, for who knows one password may guess others."""
        if self.user is not None and self.user["failures"]:
            await self.connection.execute(
                "update app_user set failed_logins = 0, locked_until = null where id = $1", self.user["id"]
            )

    async def _count_address(self) -> None:
        key = network(self.client)
        failures = await self.connection.fetchval(_COUNT, key, self.now, self.now - MEMORY)
        until = self.now + timedelta(seconds=_wait(failures, FREE_OF_ADDRESS))
        await self.connection.execute("update login_failure set locked_until = $2 where address = $1", key, until)

    async def _keep(self, key: str, failures: int, until: datetime) -> None:
        await self.connection.execute(
            "insert into login_failure (address, failures, locked_until, at) values ($1, $2, $3, $4) "
            "on conflict (address) do update set failures = $2, locked_until = $3, at = $4",
            key, failures, until, self.now,
        )  # fmt: skip


def _wait(failures: int, free: int) -> int:
    """Seconds to wait after so many failures: 1, 2, 4, ... up to a quarter of an hour."""
    return 0 if failures < free else min(LONGEST_WAIT, 2 ** min(failures - free, 10))


def _of_login(login: str) -> str:
    # Hashed, because people type passwords where the login belongs.
    return "login:" + hashlib.sha256(login.encode("utf-8", "surrogatepass")).hexdigest()


def network(client: str) -> str:
    """One IPv4 address, or the IPv6 network that one subscriber has to himself."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client[:100]
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)
