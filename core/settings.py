"""The deployment's settings: environment and file become one typed, frozen object."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, ValidationError

from core import given
from core.errors import ConfigError
from core.given import PREFIX, SECTION_OF, Given
from core.sections import MIN_SECRET, Database, Files, Limits, Log, Server, SignIn, Workers

#: The settings in the order of the file.
ORDER: list[str | int] = list(SECTION_OF)


class Settings(Database, Server, SignIn, Workers, Files, Limits, Log):
    """Every switch of a deployment. `CRM_PORT=9000` in the environment sets `port`.

    The file that `CRM_CONFIG` names, else `crm.toml` in the working folder, fills in what the environment leaves open.
    Use `Settings.load()`: it turns every fault into one readable ConfigError.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @property
    def files(self) -> Path:
        """The folder of the workspaces' files."""
        return self.files_dir or self.data_dir / "files"

    @classmethod
    def load(cls, **values: Any) -> Self:
        """Read the settings; `values` win over environment and file.

        Raises ConfigError naming every faulty setting in one line, with all `faults` in its parameters; values are
        never repeated in it.
        """
        found = given.gather()
        settings = cls.of(found, **values)
        if settings is None:
            raise ConfigError(f"settings are wrong: {'; '.join(found.faults)}", faults=found.faults)
        return settings

    @classmethod
    def of(cls, found: Given, **values: Any) -> Self | None:
        """The settings that are given; None, with every fault told among its own, where they are wrong."""
        settings = None
        try:
            settings = cls(**{**found.values, **values})
        except ValidationError as error:
            faults = error.errors(include_input=False, include_url=False)
            faults.sort(key=lambda fault: ORDER.index(fault["loc"][0]) if fault["loc"][0] in ORDER else len(ORDER))
            found.faults += [
                f"{_where(found, values, str(e['loc'][0]))}: {e['msg'].removeprefix('Value error, ')}" for e in faults
            ]
        return None if found.faults else settings

    def signing_key(self) -> str:
        """The secret that signs tokens: the setting, else one made once in `data_dir/secret` (mode 0600).

        Raises ConfigError where the folder or the file cannot be written or read.
        """
        if self.secret is not None:
            return self.secret.get_secret_value()
        path = self.data_dir / "secret"
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            return _read_or_create(path)
        except OSError as error:
            raise ConfigError(f"cannot keep the secret in {path}: {error.strerror}", path=str(path)) from error


def _where(found: Given, values: Mapping[str, Any], name: str) -> str:
    """What set a setting, for people."""
    origin = found.origins.get(name) if name not in values else None
    return origin.place if origin else f"{PREFIX}{name.upper()}"


def _read_or_create(path: Path) -> str:
    """Link a finished file into place, so that of several processes starting at once all read one secret."""
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(48))
            with suppress(FileExistsError):
                os.link(draft, path)
        finally:
            draft.unlink()
    secret = path.read_text().strip()
    if len(secret) < MIN_SECRET:
        raise ConfigError(f"{path} holds no secret of {MIN_SECRET} characters or more", path=str(path))
    return secret
