"""The references for plugins' authors: written from the code, whole, and true of a plugin that has every hook."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from graphql import print_schema

from core import public
from core.check.checker import check, chosen
from core.check.rule import Stage
from core.contributions import FeatureSet, compose
from core.features import core_operations
from core.testing.deployment import Deployment
from core.testing.recording import recording
from examples.noop import hooks as noop
from scripts import reference
from tests import test_hooks

HOOKS = reference.hooks()


@pytest.mark.parametrize("name", sorted(reference.PAGES))
def test_a_reference_is_what_would_be_written(name: str) -> None:
    written = (reference.DOCS / name).read_text(encoding="utf-8")
    assert written == reference.PAGES[name](), f"docs/plugins/{name} is not up to date: make reference"


@pytest.mark.parametrize("name", sorted(HOOKS))
def test_a_hook_says_all_there_is_to_say_has_a_test_and_an_entry(name: str) -> None:
    text, marks = reference.said(HOOKS[name])
    assert text.endswith("."), f"the hook {name} does not say what it is for in a sentence"
    assert set(marks) == set(reference.SAID)
    assert hasattr(test_hooks, f"test_hook_{name}"), f"no test of the hook {name}"
    assert f"\n### {name}\n" in (reference.DOCS / "hooks.md").read_text(encoding="utf-8")


def test_a_hook_that_says_too_little_is_named() -> None:
    def mute() -> None:
        """Is mute.

        Called: never.
        Return: nothing.
        Since: 0.1.
        """

    def nameless() -> None:
        pass

    with pytest.raises(ValueError, match="the hook mute does not say 'Error'"):
        reference.said(mute)
    with pytest.raises(ValueError, match="the hook nameless does not say 'Called'"):
        reference.said(nameless)


@pytest.mark.parametrize("name", sorted(public.__all__))
def test_a_public_name_is_explained_and_has_its_place(name: str) -> None:
    assert reference.documented(name), f"nothing is said of {name}: a docstring, or a #: comment before it"
    groups = [title for title, _, _ in reference.GROUPS if name in reference.names_of(title)]
    assert len(groups) == 1, f"{name} of {reference.homes()[name][0]} is in no group of scripts/reference.py"


@pytest.mark.parametrize("page", sorted(p.name for p in reference.DOCS.glob("*.md")))
def test_the_links_of_a_page_lead_to_files_and_headings(page: str) -> None:
    file = reference.DOCS / page
    for link in re.findall(r"\]\(([^)\s]+)\)", file.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = file.parent / path if path else file
        assert "://" in link or target.exists(), f"{page}: {link}"
        if anchor and "://" not in link:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^a-z0-9_ -]", "", h.lower()).replace(" ", "-") for h in headings}, (
                f"{page}: {link}"
            )


# The plugin that implements every hook


@pytest.mark.parametrize("name", sorted(HOOKS))
def test_noop_implements_every_hook_with_all_its_arguments(name: str) -> None:
    function = getattr(noop, name, None)
    assert hasattr(function, "crm_impl"), f"examples/noop lacks the hook {name}"
    assert function.__doc__
    given, wanted = inspect.signature(function), inspect.signature(HOOKS[name])
    assert list(given.parameters) == list(wanted.parameters)
    assert given.return_annotation == wanted.return_annotation
    for parameter in given.parameters.values():
        expected = "Settings" if parameter.name == "settings" else wanted.parameters[parameter.name].annotation
        assert parameter.annotation == expected


async def test_noop_is_called_by_every_hook_and_changes_nothing(crm_deployment: Deployment) -> None:
    with recording() as record:
        async with crm_deployment.sandbox(["examples.noop"]) as shop:
            await shop.customer("An")
            composed = await shop.features.composed(shop.workspace)
    # It lets nobody in, so nobody asks it whom; and nobody is erased.
    assert record.hooks("noop") == set(HOOKS) - {"explain_viewer", "person_erased"}
    plain = compose(FeatureSet(), shop.features.registry, core_operations(shop.features))
    assert print_schema(composed.composition.schema) == print_schema(plain.composition.schema)


def test_noop_keeps_the_rules_for_plugins(project: Path) -> None:
    (report,) = check([str(project / "examples" / "noop")], chosen(), Stage.LOADED)
    assert (report.name, report.stopped, [f.fault for f in report.found]) == ("noop", "", [])
