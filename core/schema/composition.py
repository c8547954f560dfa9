"""What a feature set becomes: catalog, GraphQL schema, operations, hooks, and the caches that hang on them.

Built once per distinct feature set and shared by all workspaces that have it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

from graphql import GraphQLSchema, print_schema

from core.catalog import Catalog
from core.grants import Grants
from core.hooks import Hooks
from core.operations import InputType, Mutation, ObjectType, Query
from core.policy import Narrowings, Policy
from core.records import EnumType
from core.schema.compose import build_schema
from core.schema.document import Prepared, prepare
from core.schema.measure import Limits

Value = TypeVar("Value")


class Cache(Generic[Value]):
    """A small least-recently-used cache."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._found: OrderedDict[Any, Value] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def get(self, key: Any) -> Value | None:
        """What is kept under a key, which becomes the most recently used."""
        found = self._found.get(key)
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        self._found.move_to_end(key)
        return found

    def put(self, key: Any, value: Value) -> None:
        """Keep a value, in the place of the least recently used where the cache is full."""
        self._found[key] = value
        if len(self._found) > self.size:
            self._drop()

    def _drop(self) -> Any:
        return self._found.popitem(last=False)[0]

    def __len__(self) -> int:
        return len(self._found)


class Documents(Cache[Prepared]):
    """Prepared documents by their text, bounded by all their characters too: clients decide what is in it.

    What is prepared takes some hundred bytes for each character.
    """

    def __init__(self, size: int, characters: int) -> None:
        super().__init__(size)
        self.most = characters
        self.characters = 0

    def put(self, key: str, value: Prepared) -> None:
        """Keep a document, in the place of the least recently used."""
        if key not in self._found:
            self.characters += len(key)
        super().put(key, value)
        while self.characters > self.most:
            self._drop()

    @property
    def plans(self) -> int:
        """How many finished plans hang on the documents."""
        return sum(operation.kept for found in self._found.values() for operation in found.operations.values())

    def _drop(self) -> Any:
        key = super()._drop()
        self.characters -= len(key)
        return key


class Composition:
    """One feature set, composed. `fingerprint` names it; equal fingerprints share one composition."""

    def __init__(
        self,
        fingerprint: str,
        catalog: Catalog,
        queries: Iterable[Query],
        mutations: Iterable[Mutation],
        objects: Iterable[ObjectType | InputType | EnumType],
        error_codes: Mapping[str, str],
        narrowings: Narrowings,
        hooks: Hooks,
    ) -> None:
        self.fingerprint = fingerprint
        self.catalog = catalog
        self.queries = {q.name: q for q in queries}
        self.mutations = {m.name: m for m in mutations}
        self.narrowings = narrowings
        self.hooks = hooks
        self.schema: GraphQLSchema = build_schema(
            catalog, self.queries.values(), self.mutations.values(), tuple(objects), dict(error_codes)
        )
        catalog.schema = self.schema
        self.documents = Documents(1000, 1_000_000)
        self._policies: Cache[Policy] = Cache(500)
        self._sdl = ""

    def policy(self, grants: Grants) -> Policy:
        """The policy of an actor's grants, shared by actors with equal grants."""
        found = self._policies.get(grants.fingerprint)
        if found is None:
            found = Policy(self.catalog, grants, self.narrowings)
            self._policies.put(grants.fingerprint, found)
        return found

    def document(self, text: str, limits: Limits = Limits()) -> Prepared:  # noqa: B008 - frozen
        """A document, parsed, validated and measured once; the limits are those of the process."""
        found = self.documents.get(text)
        if found is None:
            found = prepare(self.schema, text, limits)
            if not found.errors:
                self.documents.put(text, found)
        return found

    @property
    def sdl(self) -> str:
        """The schema in the schema definition language."""
        if not self._sdl:
            self._sdl = print_schema(self.schema) + "\n"
        return self._sdl
