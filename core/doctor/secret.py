"""The secret that signs tokens and links: whether it can be guessed or read by others."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path

from core.doctor.finding import Finding, fail, ok, warn
from core.errors import CrmError
from core.settings import PREFIX, Settings

#: A secret made at random has more; one that somebody typed or copied together has fewer.
FEWEST_CHARACTERS = 12
OTHERS = stat.S_IRWXG | stat.S_IRWXO
CONFIDENTIAL = ("secret", "database_url", "replica_url", "metrics_token")
RENEW = "make one with `openssl rand -base64 48` and give it to all processes; everybody has to sign in again"


def secret(settings: Settings) -> Iterator[Finding]:
    """The secret's strength, and the modes of the files that hold it."""
    try:
        key = settings.signing_key()
    except CrmError as error:
        yield fail("secret", error.message, "let the server's account read and write that file, or set CRM_SECRET")
        return
    where = "from the settings" if settings.secret is not None else f"in {settings.data_dir / 'secret'}"
    characters = len(set(key))
    if characters < FEWEST_CHARACTERS:
        yield warn("secret", f"{where}, with {characters} different characters it can be guessed", RENEW)
    else:
        yield ok("secret", where)
    if settings.secret is None:
        yield from _kept_to_itself("secret file", settings.data_dir / "secret")
    config = os.environ.get(f"{PREFIX}CONFIG")
    if config and tomllib.loads(Path(config).read_text()).keys() & set(CONFIDENTIAL):
        yield from _kept_to_itself("settings file", Path(config))


def _kept_to_itself(what: str, path: Path) -> Iterator[Finding]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & OTHERS:
        yield fail(what, f"{path} has the mode {mode:04o}: others may read secrets in it", f"chmod 0600 {path}")
    else:
        yield ok(what, f"{path} is its owner's alone")
