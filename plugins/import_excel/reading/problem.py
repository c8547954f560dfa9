"""Why a file cannot be read."""

from __future__ import annotations

from typing import Any


class Unreadable(Exception):
    """A file that cannot be read, with the reason as `code`; its message in each language is `unreadable_<code>`.

    `kind` is the coarse class: encrypted, not_excel, corrupt, hostile, too_large, empty or unsupported.
    """

    def __init__(self, kind: str, code: str = "", **params: Any) -> None:
        super().__init__(code or kind)
        self.kind = kind
        self.code = code or kind
        self.params = params
