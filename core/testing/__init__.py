"""The test kit: a plugin's tests talk to a real workspace, in process, by a few pytest fixtures.

Installed with the extra `testing`, its fixtures are there without an import: `workspace`, `client`, `one_statement`,
`recorded_hooks`, `as_of`. What they give is named here, for annotations. docs/plugins/testing.md shows how to use it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.testing.actors import Role
    from core.testing.client import Answer, Client, Events
    from core.testing.jobs import JobResult
    from core.testing.recording import HookCall, HookRecord
    from core.testing.sandbox import Sandbox
    from core.testing.statements import Statements

__all__ = ["Answer", "Client", "Events", "HookCall", "HookRecord", "JobResult", "Role", "Sandbox", "Statements"]

_HOMES = {
    "Answer": "client",
    "Client": "client",
    "Events": "client",
    "HookCall": "recording",
    "HookRecord": "recording",
    "JobResult": "jobs",
    "Role": "actors",
    "Sandbox": "sandbox",
    "Statements": "statements",
}


def __getattr__(name: str) -> object:
    # Loaded late: pytest imports this package in every run of whoever has the core installed.
    if name not in _HOMES:
        raise AttributeError(f"module 'core.testing' has no attribute {name!r}")
    return getattr(import_module(f"core.testing.{_HOMES[name]}"), name)
