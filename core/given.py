"""What is given for the settings: by the environment, by the deployment's file, and by the files that hold secrets.

The environment wins over the file. For each secret there is a second setting, its name with `_file`: a file that holds
it. Nothing is checked here but that what is given is a setting at all.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from core.sections import SECTIONS

PREFIX = "CRM_"
#: Looked for in the working folder where `CRM_CONFIG` names no file.
FILE = "crm.toml"
OF_FILE = "_file"

#: The section of each setting.
SECTION_OF = {name: section for section, model in SECTIONS.items() for name in model.model_fields}
_FIELDS = {name: field for model in SECTIONS.values() for name, field in model.model_fields.items()}
SECRETS = frozenset(name for name, f in _FIELDS.items() if "SecretStr" in repr(f.annotation))
PATHS = frozenset(name for name, f in _FIELDS.items() if "Path" in repr(f.annotation))


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a setting comes from: `environment` or `file`, and the place for people."""

    source: str
    place: str


@dataclass
class Given:
    """Settings that are given, by name, where each comes from, and what is given wrongly.

    `confidential` are the files that hold a secret.
    """

    file: Path | None = None
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    confidential: list[Path] = field(default_factory=list)


def gather() -> Given:
    """Everything that environment and file give."""
    found = Given()
    named = os.environ.get(f"{PREFIX}CONFIG")
    path = Path(named or FILE).expanduser().absolute()
    if path.is_file():
        found.file = path
        _from_file(found, path)
    elif named:
        found.faults.append(f"{PREFIX}CONFIG names {named}, which is not a file")
    _from_environment(found)
    return found


def _from_file(found: Given, path: Path) -> None:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        found.faults.append(f"{path.name} is not valid TOML: {error}")
        return
    except OSError as error:
        found.faults.append(f"{path.name} cannot be read: {error.strerror}")
        return
    for section, table in content.items():
        if not isinstance(table, Mapping):
            found.faults.append(f"{path.name}: {section}: {_misplaced(section, '')}")
        elif section not in SECTIONS:
            found.faults.append(f"{path.name}: there is no section [{section}]: there are {', '.join(SECTIONS)}")
        else:
            given = {name: table[name] for name in table if _take(found, path, section, name)}
            _take_all(found, given, lambda n, s=section: Origin("file", f"{path.name}: [{s}] {n}"), path.parent)
            if given.keys() & SECRETS and path not in found.confidential:
                found.confidential.append(path)


def _take(found: Given, path: Path, section: str, name: str) -> bool:
    """Whether a name is a setting of a section."""
    if SECTION_OF.get(_plain(name)) == section:
        return True
    found.faults.append(f"{path.name}: [{section}] {name}: {_misplaced(name, section)}")
    return False


def _misplaced(name: str, section: str) -> str:
    if belongs := SECTION_OF.get(_plain(name)):
        return f"it belongs into [{belongs}]"
    near = get_close_matches(name, SECTIONS[section].model_fields if section else SECTION_OF, n=1)
    return f"there is no such setting{f', is it {near[0]}?' if near else ''}"


def _from_environment(found: Given) -> None:
    names = {n: n.removeprefix(PREFIX).lower() for n in os.environ if n.startswith(PREFIX) and n != f"{PREFIX}CONFIG"}
    unknown = sorted(n for n, name in names.items() if _plain(name) not in SECTION_OF)
    if unknown:
        found.faults.append(f"unknown setting in the environment: {', '.join(unknown)}")
    given = {name: os.environ[n] for n, name in names.items() if n not in unknown}
    _take_all(found, given, lambda name: Origin("environment", f"{PREFIX}{name.upper()}"), Path.cwd())


def _take_all(found: Given, given: Mapping[str, Any], origin: Any, folder: Path) -> None:
    """Take settings, those of files by their content; relative paths start from a folder."""
    for name, value in given.items():
        plain = _plain(name)
        where = origin(name)
        if plain == name:
            found.values[plain] = folder / Path(value).expanduser() if _is_path(plain, value) else value
        elif plain in given:
            found.faults.append(f"{where.place}: {plain} is given, too")
            continue
        else:
            held = folder / Path(str(value)).expanduser()
            try:
                found.values[plain] = _content(held)
                found.confidential.append(held)
            except (OSError, ValueError) as error:
                reason = (error.strerror if isinstance(error, OSError) else str(error)) or "it cannot be read"
                found.faults.append(f"{where.place}: {value}: {reason}")
                continue
        found.origins[plain] = where


def _is_path(name: str, value: Any) -> bool:
    return name in PATHS and isinstance(value, str) and bool(value)


def _content(path: Path) -> str:
    """The secret in a file. Raises OSError, or ValueError where there is none."""
    text = path.read_text(encoding="utf-8").strip()
    if not text:
        raise ValueError("the file is empty")
    return text


def _plain(name: str) -> str:
    """The setting that a name is about: for `secret_file` that is `secret`."""
    plain = name.removesuffix(OF_FILE)
    return plain if plain in SECRETS else name
