"""headless-crm: everything a plugin may import, and nothing else.

A plugin declares what it adds (`RecordType`, `Extension`, `Filter`, `Mutation`, ...) in functions marked with
`@hookimpl`, and changes records through the `ChangeSet` that it is handed. The names are those of `__all__`, listed
in `core/public.py`; they keep their meaning within a major version. The modules may change with any version.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.public import *  # noqa: F403
else:

    def __getattr__(name: str) -> object:
        # Loaded late, so that importing one module of the core does not import all of it.
        if name != "__all__" and (name.startswith("_") or find_spec(f"core.{name}") is not None):
            raise AttributeError(f"module 'core' has no attribute {name!r}")
        value = getattr(import_module("core.public"), name)
        if deprecated := import_module("core.deprecations").NAMES.get(name):
            warnings.warn(deprecated, stacklevel=2)
        return value
