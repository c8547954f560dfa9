"""What docs/plugins/compatibility.md promises to partners."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pluggy
import pytest
from graphql import GraphQLObjectType, print_schema
from packaging.version import Version
from structlog.testing import capture_logs

import core
import core.testing
from core import (
    Computed,
    Deprecated,
    Field,
    Kind,
    Member,
    Mutation,
    Payload,
    Query,
    ToMany,
    ToOne,
    deprecations,
    hooks,
    hookspecs,
    manifest,
    public,
)
from core.catalog import Catalog
from core.contributions import FeatureSet, compose
from core.features import Features, core_operations
from core.hooks import Enabled, Hooks
from core.plugins import PluginRegistry
from core.schema.compose import build_schema
from core.schema.customer import CUSTOMER
from core.schema.declared import CORE
from core.testing import fixtures
from core.testing.deployment import Deployment
from scripts import reference

GONE = Deprecated("the name Olden", since="0.1", gone="0.3", instead="use Newer")


def registered() -> list[Deprecated]:
    """Everything that is deprecated at present."""
    options = [function.crm_spec for function in reference.hooks().values()]
    hooks_ = [warning for o in options for warning in (o["warn_on_impl"], *(o["warn_on_impl_args"] or {}).values())]
    return [*deprecations.NAMES.values(), *deprecations.KEYS.values(), *filter(None, hooks_)]


def due(deprecated: Deprecated, version: str) -> str:
    """Why a deprecation is not as promised, empty where it is."""
    since, gone, now = Version(deprecated.since), Version(deprecated.gone), Version(version)
    if since.release[0] >= 1 and gone.release[0] == since.release[0]:
        return f"{deprecated.what} may only be gone in the next major version"
    if gone.release[:2] < (since.major, since.minor + 2) and gone.major == since.major:
        return f"{deprecated.what} must work for a minor version after the one that deprecates it"
    return f"{deprecated.what} is due to be gone" if now >= gone else ""


def test_whatever_is_deprecated_works_as_long_as_promised_and_is_gone_then() -> None:
    assert [why for d in registered() if (why := due(d, metadata.version("headless-crm")))] == []


@pytest.mark.parametrize(
    ("since", "gone", "now", "why"),
    [
        ("0.1", "0.3", "0.2.5", ""),
        ("0.1", "0.2", "0.1.0", "x must work for a minor version after the one that deprecates it"),
        ("0.1", "0.3", "0.3.0", "x is due to be gone"),
        ("1.4", "1.9", "1.5.0", "x may only be gone in the next major version"),
        ("1.4", "2.0", "1.9.0", ""),
    ],
)
def test_how_long_that_is(since: str, gone: str, now: str, why: str) -> None:
    assert due(Deprecated("x", since=since, gone=gone, instead="use y"), now) == why


# What is public


def test_core_gives_its_public_names_and_nothing_else() -> None:
    for name in public.__all__:
        assert getattr(core, name) is getattr(public, name)
    with pytest.raises(AttributeError):
        core._secret  # noqa: B018
    with pytest.raises(AttributeError):
        core.Nothing  # noqa: B018


def test_the_kit_gives_its_names_and_fixtures() -> None:
    for name in core.testing.__all__:
        assert getattr(core.testing, name).__name__ == name
    with pytest.raises(AttributeError):
        core.testing.Nothing  # noqa: B018
    page = (reference.DOCS / "testing.md").read_text(encoding="utf-8")
    for name in ("workspace", "workspace_for_module", "client", "one_statement", "recorded_hooks", "as_of"):
        assert hasattr(fixtures, name)
        assert f"`{name}" in page, f"docs/plugins/testing.md says nothing of {name}"


def test_the_page_names_every_key_of_the_manifest() -> None:
    page = (reference.DOCS / "compatibility.md").read_text(encoding="utf-8")
    for key in (*manifest._TEXTS, *manifest._LISTS, *manifest._TABLES):
        assert f"`{key}`" in page, f"docs/plugins/compatibility.md says nothing of the key {key}"


# How things are deprecated


def test_a_deprecated_name_works_and_warns_where_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public, "Olden", public.Field, raising=False)
    monkeypatch.setitem(deprecations.NAMES, "Olden", GONE)
    with pytest.warns(Deprecated, match="the name Olden is deprecated since 0.1 and gone in 0.3: use Newer") as told:
        from core import Olden
    assert Olden is Field
    assert Path(told[0].filename).name == Path(__file__).name
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from core import Field as _  # noqa: F401


@pytest.fixture
def aging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hook specifications of which one is deprecated, and an argument of another."""
    spec = pluggy.HookspecMarker("crm")
    old = Deprecated("the hook sparkle", since="0.1", gone="0.3", instead="use shine")
    argument = Deprecated("the argument colour of shine", since="0.1", gone="0.3", instead="look into settings")

    @spec(warn_on_impl=old)
    def sparkle() -> None:
        """Sparkle."""

    @spec(warn_on_impl_args={"colour": argument})
    def shine(colour: str, settings: object) -> None:
        """Shine."""

    monkeypatch.setattr(hooks, "hookspecs", SimpleNamespace(**vars(hookspecs), sparkle=sparkle, shine=shine))
    return


@pytest.mark.usefixtures("aging")
def test_a_deprecated_hook_and_a_deprecated_argument_work_and_warn() -> None:
    impl = hookspecs.hookimpl
    module = SimpleNamespace(
        sparkle=impl(specname="sparkle")(lambda: ["*"]), shine=impl(specname="shine")(lambda colour: [colour])
    )
    with pytest.warns(Deprecated) as told:
        made = Hooks([Enabled("old", module)])
    assert sorted(str(w.message) for w in told) == [
        "the argument colour of shine is deprecated since 0.1 and gone in 0.3: look into settings",
        "the hook sparkle is deprecated since 0.1 and gone in 0.3: use shine",
    ]
    assert list(made.contribute("sparkle")) == [("old", ["*"])]
    assert list(made.contribute("shine", colour="red")) == [("old", ["red"])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Hooks([Enabled("new", SimpleNamespace(shine=impl(specname="shine")(lambda settings: [])))])


def test_a_plugin_that_uses_what_will_be_gone_is_named_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        deprecations.KEYS, "summary", Deprecated("the key summary", since="0.1", gone="0.3", instead="-")
    )
    with capture_logs() as logs, pytest.warns(Deprecated, match="the key summary is deprecated"):
        registry = PluginRegistry.discover(["plugins.groups"])
    assert "groups" in registry.plugins
    (line,) = [entry for entry in logs if entry["event"] == "plugin_uses_deprecated"]
    assert line["plugin"] == "plugins.groups"
    assert line["reason"] == "the key summary is deprecated since 0.1 and gone in 0.3: -"


def test_where_warnings_are_errors_it_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        deprecations.KEYS, "summary", Deprecated("the key summary", since="0.1", gone="0.3", instead="-")
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", Deprecated)
        registry = PluginRegistry.discover(["plugins.groups"])
    (status,) = registry.status()
    assert status.reason == "the key summary is deprecated since 0.1 and gone in 0.3: -"


def test_what_clients_see_is_deprecated_in_the_schema() -> None:
    async def nothing(*_: object) -> Payload:
        return Payload()

    why = "Use name."
    customer = replace(
        CUSTOMER,
        fields=(*CUSTOMER.fields, Field("oldField", Kind.TEXT, "Old.", deprecated=why)),
        relations=(
            *CUSTOMER.relations,
            ToOne("oldUser", "User", "Old.", deprecated=why),
            ToMany("oldDeals", "Opportunity", "customer_id", "Old.", deprecated=why),
        ),
        computed=(*CUSTOMER.computed, Computed("oldSum", Kind.INT, "Old.", ("name",), nothing, deprecated=why)),  # type: ignore[arg-type]
    )
    query = Query("oldQuery", "Old.", "String", nothing, deprecated=why)
    mutation = Mutation("oldDo", "Old.", nothing, payload=(Member("oldMember", "Int", "Old.", why),), deprecated=why)
    catalog = Catalog.build([customer if t is CUSTOMER else t for t in CORE])
    schema = build_schema(catalog, [query], [mutation], (), {"X": "X."})
    fields = {name: type_.fields for name, type_ in schema.type_map.items() if isinstance(type_, GraphQLObjectType)}
    found = {f"{name}.{key}" for name, all_ in fields.items() for key, f in all_.items() if f.deprecation_reason == why}
    assert found == {
        *(
            f"Customer.{name}"
            for name in ("oldField", "oldUser", "oldUserId", "oldDeals", "oldDealsAggregate", "oldSum")
        ),
        "Query.oldQuery",
        "Mutation.oldDo",
        "OldDoPayload.oldMember",
    }
    assert 'oldQuery: String @deprecated(reason: "Use name.")' in print_schema(schema)


# The version bound in the manifest


async def test_out_of_bounds_it_is_left_out_and_back_with_its_data(crm_deployment: Deployment) -> None:
    async with crm_deployment.sandbox(["groups"]) as shop:
        client = await shop.client()
        made = await client.do('mutation { groupCreate(input: {name: "VIP"}) { group { id } userErrors { code } } }')
        registry = PluginRegistry.discover(["plugins.groups"], core_version="1.0")
        assert registry.broken["groups"].reason == "plugin groups needs core <1,>=0.1, this is 1.0"
        newer = Features(crm_deployment.database, registry=registry)
        (status,) = [s for s in await newer.status(shop.workspace) if s.name == "groups"]
        assert (status.state, status.reason) == ("BROKEN", "plugin groups needs core <1,>=0.1, this is 1.0")
        schema = (await newer.composition(shop.workspace)).schema
        assert "groups" not in schema.query_type.fields
        plain = compose(FeatureSet(), registry, core_operations(newer)).composition.schema
        assert print_schema(schema) == print_schema(plain)
        await newer.close()
        assert await client.do("{ groups { nodes { id } } }") == {"nodes": [{"id": made["group"]["id"]}]}


def test_a_version_before_a_release_counts_as_that_release() -> None:
    for version, ready in (("0.9.0rc1", True), ("0.1.0.dev3", False), ("1.0.0a1", False), ("0.99", True)):
        registry = PluginRegistry.discover(["plugins.groups"], core_version=version)
        assert ("groups" in registry.plugins) is ready, version
