"""What a new plugin's name becomes: its package, its types, its fields."""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.errors import PluginError

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
#: PostgreSQL cuts names off after 63 letters, and there is more in them than the plugin's.
LONGEST = 40


@dataclass(frozen=True, slots=True)
class Names:
    """The names that templates use, for a plugin called `gift_cards`.

    `project` is `crm-gift-cards` (folder and distribution), `package` `crm_gift_cards`, `Type` `GiftCards`, `camel`
    `giftCards`, `upper` `GIFT_CARDS`, `words` `gift cards` and `title` `Gift cards`.
    """

    name: str

    @classmethod
    def of(cls, name: str) -> Names:
        """The names of a plugin. Raises PluginError where none can be called that."""
        if not _NAME.fullmatch(name) or name == "core":
            message = f"{name!r} cannot be a plugin's name: use lower case letters and single _, as in gift_cards"
            raise PluginError(message, plugin=name)
        if len(name) > LONGEST:
            raise PluginError(f"the name {name} is longer than {LONGEST} letters", plugin=name)
        return cls(name)

    @property
    def project(self) -> str:
        """Its folder and its distribution."""
        return f"crm-{self.name.replace('_', '-')}"

    @property
    def package(self) -> str:
        """Its package."""
        return f"crm_{self.name}"

    def all(self) -> dict[str, str]:
        """Every name, by how templates call it."""
        parts = self.name.split("_")
        type_ = "".join(part.capitalize() for part in parts)
        return {
            "name": self.name,
            "project": self.project,
            "package": self.package,
            "Type": type_,
            "camel": type_[0].lower() + type_[1:],
            "upper": self.name.upper(),
            "words": " ".join(parts),
            "title": " ".join(parts).capitalize(),
        }
