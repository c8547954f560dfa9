"""Which origins' browsers may call, and the headers that tell them so."""

from __future__ import annotations

from collections.abc import Iterable

from core.http.refusal import Headers

_HEADERS = (
    b"authorization, content-type, x-request-id, accept-language, traceparent, graphql-require-preflight, "
    b"apollo-require-preflight, x-apollo-operation-name, x-max-staleness"
)
_ANY_PORT = b":*"
_EXPOSED = b"x-request-id, etag, retry-after, ratelimit, ratelimit-policy"


class Cors:
    """The allowed origins: `*` for any, `http://localhost:*` for one at any port.

    Credentials are never granted: tokens travel in a header, not in cookies.
    """

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = {o.rstrip("/").lower().encode() for o in origins}
        self._ports = {o.removesuffix(_ANY_PORT) for o in self._origins if o.endswith(_ANY_PORT)}

    def headers(self, origin: bytes | None) -> Headers:
        """What an answer to a request from `origin` must say; nothing where the origin is not allowed."""
        if origin is None or not self._allows(origin):
            return ()
        return ((b"access-control-allow-origin", origin), (b"access-control-expose-headers", _EXPOSED))

    def preflight(self, origin: bytes | None) -> Headers:
        """What the answer to a browser's question before a request must say."""
        allowed = self.headers(origin)
        if not allowed:
            return ()
        return (
            *allowed,
            (b"access-control-allow-methods", b"GET, POST"),
            (b"access-control-allow-headers", _HEADERS),
            (b"access-control-max-age", b"86400"),
        )

    @property
    def on(self) -> bool:
        """Whether any origin is allowed."""
        return bool(self._origins)

    def _allows(self, origin: bytes) -> bool:
        origin = origin.lower()
        if b"*" in self._origins or origin in self._origins:
            return True
        name, _, port = origin.rpartition(b":")
        return name in self._ports and port.isdigit()
