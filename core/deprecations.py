"""What is public and will be gone: said once, here or at the hook, and told to whoever still uses it.

A public name or a manifest key is put into `NAMES` or `KEYS`; a hook or one of its arguments gets a `Deprecated` as
`warn_on_impl` or in `warn_on_impl_args` of its `@hookspec`. What clients see has `deprecated` in its declaration, which
is `@deprecated` in the schema. docs/plugins/compatibility.md says what partners may rely on.
"""

from __future__ import annotations

from collections.abc import Mapping


class Deprecated(DeprecationWarning):
    """Something public that works on until it is gone: since when it is deprecated, in which version it is gone.

    `what` names it (`the hook sparkle`), `instead` says in a few words what to use.
    """

    def __init__(self, what: str, *, since: str, gone: str, instead: str) -> None:
        super().__init__(f"{what} is deprecated since {since} and gone in {gone}: {instead}")
        self.what = what
        self.since = since
        self.gone = gone
        self.instead = instead


#: Names of `core` that work on, by name.
NAMES: Mapping[str, Deprecated] = {}
#: Keys of `plugin.toml` that are still read, by key.
KEYS: Mapping[str, Deprecated] = {}
