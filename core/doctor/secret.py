"""The secret that signs tokens and links: whether it can be guessed or read by others."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from core.doctor.finding import Finding, fail, ok, warn
from core.errors import CrmError
from core.given import gather
from core.settings import Settings

#: A secret made at random has more; one that somebody typed or copied together has fewer.
FEWEST_CHARACTERS = 12
OTHERS = stat.S_IRWXG | stat.S_IRWXO
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
    for path in gather().confidential:
        yield from _kept_to_itself("settings file", path)


def _kept_to_itself(what: str, path: Path) -> Iterator[Finding]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & OTHERS:
        yield fail(what, f"{path} has the mode {mode:04o}: others may read secrets in it", f"chmod 0600 {path}")
    else:
        yield ok(what, f"{path} is its owner's alone")
