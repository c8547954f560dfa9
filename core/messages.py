"""Messages for people, in the languages of the product. Plugins bring their own in `locale/<language>.toml`."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

#: The languages of messages; a plugin has a file of messages for each.
LANGUAGES = ("vi", "en")


@cache
def catalogue(package: str, locale: str) -> dict[str, str]:
    """The messages a package has in a language, by key; empty where it has none."""
    source = files(package) / "locale" / f"{locale}.toml"
    try:
        return {k: str(v) for k, v in tomllib.loads(source.read_text(encoding="utf-8")).items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}


def text(key: str, locale: str, package: str = "core", **params: Any) -> str:
    """A message with its facts filled in, in a language or, where it lacks the message, in English."""
    message = catalogue(package, locale).get(key) or catalogue(package, "en").get(key) or key
    return message.format(**params)


def language(accept: str | None, default: str = "vi") -> str:
    """The language that an `Accept-Language` header prefers among those there are."""
    best, best_weight = default, 0.0
    for part in (accept or "").split(","):
        name, _, weight = part.strip().partition(";q=")
        try:
            value = float(weight or 1)
        except ValueError:
            continue
        code = name.split("-")[0].lower()
        if code in LANGUAGES and value > best_weight:
            best, best_weight = code, value
    return best
