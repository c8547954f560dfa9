"""Top-level errors in the language that a client asks for.

They are written in English, for whoever builds the client; what he cannot prevent, such as who asks not being allowed
to, is also told to people: in their language by its code, with the English message as `extensions.detail`.
"""

from __future__ import annotations

import orjson

from core.messages import catalogue, language


def spoken(body: bytes, accept_language: bytes | None) -> bytes:
    """An answer that has errors, with those messages in the language that an Accept-Language header prefers."""
    locale = language((accept_language or b"").decode("latin-1"), "en")
    messages = catalogue("core", locale)
    if locale == "en":
        return body
    answer = orjson.loads(body)
    for error in answer.get("errors", ()):
        extensions = error.get("extensions", {})
        message = messages.get(f"error_{extensions.get('code', '')}")
        if message is not None:
            extensions["detail"], error["message"] = error["message"], message
    return orjson.dumps(answer)
