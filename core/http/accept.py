"""What a client is willing to receive, from its Accept header."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

GRAPHQL = "application/graphql-response+json"
JSON = "application/json"
_OFFERED = {GRAPHQL: GRAPHQL, JSON: JSON, "*/*": JSON, "application/*": JSON}
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a header says: `media` is the JSON type to answer in, empty where none is acceptable.

    `legacy`: the client has never heard of application/graphql-response+json. `html` and `stream` say whether
    a page or an event stream is acceptable.
    """

    media: str
    legacy: bool
    html: bool = False
    stream: bool = False


def accepted(header: bytes) -> Accepted:
    """Read an Accept header; without one JSON of the older type is answered."""
    return _cached(header) if len(header) <= _LONGEST else _read(header)


def _read(header: bytes) -> Accepted:
    if not header.strip():
        return Accepted(JSON, legacy=True)
    weights: dict[str, float] = {}
    for part in header.decode("latin-1").lower().split(","):
        name, *parameters = (p.strip() for p in part.split(";"))
        weights[name] = max(weights.get(name, 0.0), _weight(parameters))
    media, best = "", 0.0
    for name, weight in weights.items():
        if name in _OFFERED and weight > best:
            media, best = _OFFERED[name], weight
    return Accepted(
        media,
        legacy=not weights.get(GRAPHQL),
        html=weights.get("text/html", 0.0) > 0,
        stream=weights.get("text/event-stream", 0.0) > 0,
    )


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


_cached = lru_cache(500)(_read)
