"""Random tokens that carry the id of their row: only a hash is kept, and the id finds it."""

from __future__ import annotations

import hashlib
import secrets
from uuid import UUID

API_KEY, REFRESH = "crm", "crmr"


def new_token(prefix: str, id_: UUID) -> str:
    """A token of 256 random bits, written `prefix_id_secret`."""
    return f"{prefix}_{id_.hex}_{secrets.token_urlsafe(32)}"


def id_in(prefix: str, token: str) -> UUID | None:
    """The id that a token of some prefix carries; None where it cannot be one."""
    found, _, rest = token.partition("_")
    id_, _, secret = rest.partition("_")
    if found != prefix or len(id_) != 32 or not secret:
        return None
    try:
        return UUID(hex=id_)
    except ValueError:
        return None


def digest(token: str) -> bytes:
    """What is kept of a token: no salt and no slow hash, for it cannot be guessed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
