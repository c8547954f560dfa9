"""The parameters of a GraphQL request, from a JSON body or a query string."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import orjson

from core.http.refusal import INVALID, Refusal, bad_request

#: Levels that variables may nest; conditions are the deepest thing that makes sense in them.
NESTING = 64
_DOCUMENT_ID = re.compile(r"[\x21-\x7e]{1,200}")
#: How orjson's messages about them end.
_LONE_SURROGATE = ("low surrogate in string", "high surrogate in string")
_MEMBERS = (
    ("query", str, "a string"),
    ("variables", dict, "an object"),
    ("operationName", str, "a string"),
    ("extensions", dict, "an object"),
    ("documentId", str, "a string"),
)


class Parameters(NamedTuple):
    """One operation asked for; `query` is empty where the document is named by `document_id` or by a hash."""

    query: str
    variables: dict[str, Any]
    operation: str | None = None
    document_id: str = ""
    hash: str = ""


def from_json(body: bytes) -> Parameters:
    """Read a request body. Raises Refusal for whatever is wrong with it."""
    return from_object(load(body, "body"))


def from_query_string(raw: bytes) -> Parameters:
    """Read the query string of a GET. Raises Refusal."""
    try:
        given: dict[str, Any] = dict(parse_qsl(raw.decode("ascii"), errors="strict", max_num_fields=50))
    except (UnicodeDecodeError, ValueError):
        raise bad_request("The query string cannot be read.") from None
    for name in ("variables", "extensions"):
        if name in given:
            given[name] = load(given[name].encode(), name)
    return from_object(given)


def load(raw: bytes, what: str) -> Any:
    """Decode JSON that a client sent, with no text in it that PostgreSQL cannot store. Raises Refusal."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if error.msg.endswith(_LONE_SURROGATE):
            raise Refusal(INVALID, "BAD_USER_INPUT", "Text must not hold lone surrogates.") from None
        raise bad_request(f"The {what} is not valid JSON in UTF-8.") from None
    # Text can hold NUL only where it is escaped; what is not deep has few brackets.
    if b"\\u0000" in raw or raw.count(b"[") + raw.count(b"{") > NESTING:
        _check(value, 0)
    return value


def _check(value: Any, level: int) -> None:
    if level > NESTING:
        raise Refusal(INVALID, "BAD_USER_INPUT", f"The values are nested over {NESTING} levels deep.")
    if isinstance(value, str):
        if "\0" in value:
            raise Refusal(INVALID, "BAD_USER_INPUT", "Text must not hold NUL.")
    elif isinstance(value, list):
        for each in value:
            _check(each, level + 1)
    elif isinstance(value, dict):
        for key, each in value.items():
            _check(key, level)
            _check(each, level + 1)


def from_object(given: Any) -> Parameters:
    """Check the members of a request. Raises Refusal; members that nobody knows are ignored."""
    if type(given) is list:
        raise Refusal(400, "BATCHING_NOT_SUPPORTED", "Send one operation a request.")
    if type(given) is not dict:
        raise bad_request("The request must be a JSON object.")
    for name, type_, words in _MEMBERS:
        value = given.get(name)
        if value is not None and type(value) is not type_:
            raise bad_request(f"{name} must be {words}.")
    query = given.get("query") or ""
    document_id = given.get("documentId") or ""
    if document_id and not _DOCUMENT_ID.fullmatch(document_id):
        raise bad_request("documentId must be 1 to 200 visible characters.")
    hash_ = ""
    if extensions := given.get("extensions"):
        hash_ = _hash(extensions.get("persistedQuery"))
    if not (query or document_id or hash_):
        raise bad_request("query is required.")
    return Parameters(query, given.get("variables") or {}, given.get("operationName"), document_id, hash_)


def _hash(persisted: Any) -> str:
    if persisted is None:
        return ""
    if not isinstance(persisted, dict) or not isinstance(persisted.get("sha256Hash"), str):
        raise bad_request("extensions.persistedQuery needs a sha256Hash.")
    found: str = persisted["sha256Hash"].lower()
    if persisted.get("version", 1) != 1 or len(found) != 64 or not set(found) <= set("0123456789abcdef"):
        raise bad_request("extensions.persistedQuery needs version 1 and a SHA-256 in hexadecimal digits.")
    return found
