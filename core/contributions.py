"""A feature set is composed: what core, custom fields and plugins contribute becomes one composition.

Whoever contributes something that cannot be, or claims a name that is taken, is left out, named with the reason;
the rest is composed without it.
"""

from __future__ import annotations

import gc
import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import orjson

from core import ownhooks
from core.catalog import Catalog
from core.condition import Conditions
from core.customfields import CUSTOM_FIELD, CustomField
from core.customrules import CustomFieldRules
from core.errors import CompositionError, CrmError, PluginError
from core.grants import SYSTEM
from core.hooks import Enabled, Hooks
from core.jobs import JobType, job_types
from core.operations import InputType, Mutation, ObjectType, Query
from core.plugins import Plugin, PluginRegistry
from core.policy import Policy
from core.predicate import Predicate
from core.records import EnumType, Extension, RecordType
from core.rules import RuleChecks, show_problems
from core.schema.composition import Composition
from core.schema.declared import CORE
from core.schema.mutations import standard_mutations
from core.schema.transfer import transfer_mutations

Item = TypeVar("Item")

#: What core's own hooks are registered as.
CORE_NAME = "core"

_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, slots=True)
class Chosen:
    """A plugin that a workspace has switched on; `settings` is JSON as it was given."""

    name: str
    version: str
    settings: bytes = b"{}"


@dataclass(frozen=True)
class FeatureSet:
    """What a workspace has: its plugins with their settings, and its custom fields."""

    plugins: tuple[Chosen, ...] = ()
    fields: tuple[CustomField, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Names it: equal feature sets have equal fingerprints, in every process."""
        facts = [[(c.name, c.version, c.settings.decode()) for c in self.plugins], self.fields]
        return hashlib.sha256(orjson.dumps(facts, default=str)).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Operations:
    """Queries, mutations and what they need, beside those that follow from record types."""

    queries: tuple[Query, ...] = ()
    mutations: tuple[Mutation, ...] = ()
    objects: tuple[ObjectType | InputType | EnumType, ...] = ()
    error_codes: Mapping[str, str] = field(default_factory=dict)
    abilities: Mapping[str, str] = field(default_factory=dict)

    def __add__(self, other: Operations) -> Operations:
        return Operations(
            self.queries + other.queries,
            self.mutations + other.mutations,
            self.objects + other.objects,
            _joined("error code", self.error_codes, other.error_codes),
            _joined("ability", self.abilities, other.abilities),
        )


@dataclass(frozen=True, eq=False)
class Composed:
    """A composition, and what came with it.

    `left_out` are the reasons why plugins and custom fields are not in it, by name (`groups`,
    `Customer.shoeSize`); `jobs` are the kinds of job by kind, `record_types` those of each plugin.
    """

    composition: Composition
    left_out: Mapping[str, str]
    abilities: Mapping[str, str]
    jobs: Mapping[str, JobType]
    record_types: Mapping[str, tuple[RecordType, ...]] = field(default_factory=dict)
    plugin_abilities: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Part:
    """What one contributor adds."""

    name: str
    plugin: str = ""
    custom: CustomField | None = None
    enabled: Enabled | None = None
    requires: frozenset[str] = frozenset()
    types: tuple[RecordType, ...] = ()
    extensions: tuple[Extension, ...] = ()
    operations: Operations = Operations()


Check = Callable[[Sequence[_Part]], Any]


def compose(feature_set: FeatureSet, registry: PluginRegistry, core: Operations) -> Composed:
    """Compose a feature set with core's own operations; takes about half a second of pure computing.

    Plugins and custom fields that cannot be composed are left out. Raises CompositionError where core itself
    cannot be composed.
    """
    # Hundreds of thousands of objects are made, nearly all to stay: looking for garbage among them doubles the time.
    with _ONE_AT_A_TIME:
        collects = gc.isenabled()
        gc.disable()
        try:
            return _settle(feature_set, registry, core)
        finally:
            if collects:
                gc.enable()


def _settle(feature_set: FeatureSet, registry: PluginRegistry, core: Operations) -> Composed:
    """Compose with as many of the contributors as can be."""
    left_out: dict[str, str] = {}
    parts = [*_custom_parts(feature_set, left_out), *_plugin_parts(feature_set, registry, left_out)]

    def light(some: Sequence[_Part]) -> Catalog:
        return _catalog(some)

    def full(some: Sequence[_Part]) -> Composed:
        return _compose(feature_set.fingerprint, some, registry, core, left_out)

    parts = _admit(parts, None, left_out)
    # Nearly always all is well. Where it is not, one after the other is added: to the catalog, which is quick, then to
    # the schema, which is slow.
    for check in (None, light, full):
        kept = _admit(parts, check, left_out) if check else parts
        if check is light and kept == parts:
            continue
        parts = kept
        try:
            return full(parts)
        except Exception:
            if check is full or not parts:
                raise
    raise CompositionError("core cannot be composed")


def _admit(parts: Sequence[_Part], check: Check | None, left_out: dict[str, str]) -> list[_Part]:
    """Those parts that pass a check together with all before them, and have what they require."""
    if check is not None:
        check(())
    kept: list[_Part] = []
    for part in parts:
        if lacking := sorted(part.requires - {p.name for p in kept}):
            left_out[part.name] = f"it needs {', '.join(lacking)}, which is not enabled or left out"
            continue
        try:
            if check is not None:
                check([*kept, part])
        except Exception as error:  # noqa: BLE001 whatever is wrong with it, the others are composed
            left_out[part.name] = reason(error)
        else:
            kept.append(part)
    return kept


def reason(error: BaseException) -> str:
    """An error in one line, for those who look after the plugins."""
    if isinstance(error, PluginError) and error.__cause__ is not None:
        return " ".join(f"{error.message}: {error.__cause__}".split())[:500]
    said = error.message if isinstance(error, CrmError) else f"{type(error).__name__}: {error}"
    return " ".join(said.split())[:500]


def _custom_parts(feature_set: FeatureSet, left_out: dict[str, str]) -> Iterable[_Part]:
    for custom in feature_set.fields:
        name = f"{custom.record}.{custom.name}"
        try:
            yield _Part(name, "custom field", custom, extensions=(custom.extension(),))
        except CompositionError as error:
            left_out[name] = reason(error)


def _plugin_parts(feature_set: FeatureSet, registry: PluginRegistry, left_out: dict[str, str]) -> Iterable[_Part]:
    chosen = {c.name: c for c in feature_set.plugins}
    for plugin in registry.plugins.values():
        if plugin.name in chosen:
            try:
                yield _gather(plugin, orjson.loads(chosen[plugin.name].settings), registry)
            except Exception as error:  # noqa: BLE001 a plugin's code: it may raise anything
                left_out[plugin.name] = reason(error)


def _gather(plugin: Plugin, settings: Mapping[str, Any], registry: PluginRegistry) -> _Part:
    """What a plugin contributes. Raises PluginError where a hook raises or returns something else than it should."""
    enabled = Enabled(plugin.name, plugin.module, plugin.settings(settings))
    hooks = Hooks([enabled], registry.health)
    name = plugin.name

    def contributed(hook: str, *types: type[Item]) -> tuple[Item, ...]:
        for _, found in hooks.contribute(hook):
            items = tuple(found)
            for item in items:
                if types and not isinstance(item, types):
                    raise PluginError(f"plugin {name}: {hook} returned {type(item).__name__}", plugin=name)
            return items
        return ()

    def described(hook: str) -> Mapping[str, str]:
        return dict(next((found for _, found in hooks.contribute(hook)), {}))

    abilities = described("abilities")
    if foreign := sorted(a for a in abilities if not a.startswith(name)):
        raise PluginError(f"plugin {name}: the ability {foreign[0]} must begin with {name}", plugin=name)
    objects: tuple[Any, ...] = contributed("object_types", ObjectType, InputType, EnumType)
    return _Part(
        name,
        name,
        enabled=enabled,
        requires=frozenset(plugin.manifest.requires),
        types=_owned(name, contributed("record_types", RecordType)),
        extensions=contributed("extensions", Extension),
        operations=Operations(
            _owned(name, contributed("queries", Query)),
            _owned(name, contributed("mutations", Mutation)),
            tuple(o if isinstance(o, EnumType) else _owned(name, (o,))[0] for o in objects),
            described("error_codes"),
            abilities,
        ),
    )


def _owned(plugin: str, items: Iterable[Item]) -> tuple[Item, ...]:
    return tuple(replace(item, plugin=plugin) for item in items)  # type: ignore[type-var]


def _catalog(parts: Sequence[_Part]) -> Catalog:
    types = [*CORE, CUSTOM_FIELD, *(t for part in parts for t in part.types)]
    names = {t.name for t in types}
    # A custom field of a record type that is not there for now waits for it.
    extensions = [
        (part.plugin, e) for part in parts for e in part.extensions if not part.custom or part.custom.record in names
    ]
    return show_problems(Catalog.build(types, extensions))


def _compose(
    fingerprint: str, parts: Sequence[_Part], registry: PluginRegistry, core: Operations, left_out: Mapping[str, str]
) -> Composed:
    catalog = _catalog(parts)
    for record in catalog:
        for declared in record.fields.values():
            if declared.sql is not None:
                declared.sql("t")
    enabled = [part.enabled for part in parts if part.enabled]
    fields = Enabled(f"{CORE_NAME} fields", CustomFieldRules(part.custom for part in parts if part.custom))
    conditions = Enabled(f"{CORE_NAME} rules", RuleChecks())
    hooks = Hooks([Enabled(CORE_NAME, ownhooks), fields, conditions, *enabled], registry.health)
    hooks.plugins = tuple(enabled)
    operations = sum((part.operations for part in parts), core)
    composition = Composition(
        fingerprint,
        catalog,
        operations.queries,
        _unique([*standard_mutations(catalog), *transfer_mutations(catalog), *operations.mutations]),
        operations.objects,
        operations.error_codes,
        _narrowings(catalog, hooks),
        hooks,
    )
    return Composed(
        composition,
        dict(left_out),
        operations.abilities,
        job_types(hooks),
        {part.name: part.types for part in parts if part.enabled},
        {part.name: tuple(part.operations.abilities) for part in parts if part.enabled},
    )


def _unique(mutations: Sequence[Mutation]) -> Sequence[Mutation]:
    by_name: dict[str, Mutation] = {}
    for mutation in mutations:
        if taken := by_name.get(mutation.name):
            owners = f"{mutation.plugin} is already declared by {taken.plugin}"
            raise CompositionError(f"mutation {mutation.name} of {owners}")
        by_name[mutation.name] = mutation
    return mutations


def _narrowings(catalog: Catalog, hooks: Hooks) -> dict[tuple[str, str], list[tuple[str, Predicate]]]:
    """What plugins narrow, each predicate compiled once to see that it can be."""
    found: dict[tuple[str, str], list[tuple[str, Predicate]]] = {}
    if not hooks.implements("narrow"):
        return found
    system = Policy(catalog, SYSTEM)
    for record in catalog:
        for action in dict.fromkeys(("read", *record.type.actions)):
            for plugin, predicate in hooks.contribute("narrow", record=record, action=action, catalog=catalog):
                if not isinstance(predicate, Predicate):
                    message = f"plugin {plugin}: narrow returned {type(predicate).__name__}, not a predicate"
                    raise PluginError(message, plugin=plugin)
                Conditions(system).sql(predicate, "t")
                found.setdefault((record.name, action), []).append((plugin, predicate))
    return found


def _joined(what: str, one: Mapping[str, str], other: Mapping[str, str]) -> Mapping[str, str]:
    if twice := sorted(one.keys() & other.keys()):
        raise CompositionError(f"the {what} {twice[0]} is declared twice")
    return {**one, **other}
