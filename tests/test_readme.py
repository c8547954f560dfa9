"""What README and docs show is true: every query runs against the demo, every name in them exists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from core import errors
from core.cli import app, main
from core.settings import Settings
from tests.serving import Demo

pytest_plugins = ("tests.demo_fixture",)

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "docs/getting-started.md", "docs/frontend.md", "docs/workspace-file.md")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")


@dataclass
class Example:
    """A query, the variables that follow it, and the answer that follows those."""

    page: str
    query: str
    variables: Any = None
    answer: Any = None

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.query.split())[:60]}"


def examples() -> Iterator[Example]:
    for page in PAGES:
        example: Example | None = None
        for kind, text in BLOCK.findall((ROOT / page).read_text()):
            if kind == "graphql":
                if example:
                    yield example
                example = Example(page, text)
            elif kind == "json":
                assert example, f"{page}: JSON that belongs to no query"
                value = json.loads(text)
                if value.keys() & {"data", "errors"}:
                    example.answer = value
                else:
                    example.variables = value
        if example:
            yield example


def alike(shown: Any, got: Any) -> bool:
    """Whether an answer has the shape of the one shown, and the same codes."""
    match shown:
        case dict():
            return isinstance(got, dict) and all(k in got and alike(v, got[k]) for k, v in shown.items())
        case list():
            return isinstance(got, list) and len(got) == len(shown) and all(map(alike, shown, got))
        case str() if shown == "…":
            return isinstance(got, str) and bool(got)
    return bool(shown == got)


def user_errors(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return value.get("userErrors", []) + [e for v in value.values() for e in user_errors(v)]
    return []


@pytest.fixture(scope="module")
def placeholders(demo: Demo) -> dict[str, str]:
    """What stands for the capitals in the examples' variables."""
    one = 'customerCreate(input: {name: "A", kind: PERSON}) { customer { id } changeSet { id } }'
    made = demo.ask(f"mutation {{ changed: {one} undone: {one} }}")["data"]
    account = demo.account("salesperson")
    return {
        "CUSTOMER_ID": made["changed"]["customer"]["id"],
        "CHANGE_SET_ID": made["undone"]["changeSet"]["id"],
        "DEMO_LOGIN": account["login"],
        "DEMO_PASSWORD": account["password"],
    }


def first_event(demo: Demo, query: str, variables: Any) -> Any:
    """What a subscription tells of a customer made meanwhile, as server-sent events."""
    account = demo.account("admin")
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream",
        "authorization": f"Bearer {account['token']}",
    }
    body = json.dumps({"query": query, "variables": variables}).encode()
    url = json.loads(demo.file.read_text())["url"]
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=20) as stream:
        demo.ask('mutation { customerCreate(input: {name: "Told", kind: PERSON}) { customer { id } } }')
        line = next(line for line in stream if line.startswith(b"data: "))
        return json.loads(line.removeprefix(b"data: "))


@pytest.mark.parametrize("example", list(examples()), ids=str)
def test_example_runs(demo: Demo, placeholders: dict[str, str], example: Example) -> None:
    variables = json.dumps(example.variables)
    for name, value in placeholders.items():
        variables = variables.replace(name, value)
    given = json.loads(variables)
    subscribes = example.query.startswith("subscription")
    answer = first_event(demo, example.query, given) if subscribes else demo.ask(example.query, given)
    if example.answer is not None:
        assert alike(example.answer, answer), answer
        return
    assert "errors" not in answer, answer
    assert not user_errors(answer["data"]), answer
    assert any(answer["data"].values()), answer


def test_the_first_query_of_the_readme(demo: Demo) -> None:
    if shutil.which("curl") is None or shutil.which("python3") is None:
        pytest.skip("needs curl and python3 on the path")
    script = next(t for k, t in BLOCK.findall((ROOT / "README.md").read_text()) if k == "sh" and "curl" in t)
    assert "127.0.0.1:8000" in script
    ready = script.replace("127.0.0.1:8000", f"127.0.0.1:{demo.port}")
    done = subprocess.run(["sh", "-c", ready], cwd=demo.folder, capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)["data"]["customers"]["nodes"]) == 3


def test_the_readme_is_short_and_begins_with_what_it_is() -> None:
    text = (ROOT / "README.md").read_text()
    introduction = text.split("\n## ")[0].splitlines()[1:]
    assert len([line for line in introduction if line]) <= 10
    assert text.index("make demo") < text.index("make test") < text.index("curl ")


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for target in re.findall(r"\bmake ([a-z-]+)", (ROOT / page).read_text()):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page}: make {target}"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    file = ROOT / page
    for link in LINK.findall(file.read_text()):
        assert "://" in link or (file.parent / link).exists(), f"{page}: {link}"


def test_settings_exist_with_the_defaults_that_are_said() -> None:
    text = (ROOT / "docs/getting-started.md").read_text()
    names = set(re.findall(r"\bCRM_([A-Z_]+)\b", text)) - {"CONFIG"}
    assert {n.lower() for n in names} <= Settings.model_fields.keys()
    defaults = Settings.model_fields
    assert (defaults["host"].default, defaults["port"].default) == ("127.0.0.1", 8000)
    assert defaults["access_token_minutes"].default == 15  # docs/frontend.md
    assert (defaults["default_page_size"].default, defaults["max_page_size"].default) == (50, 200)


def test_commands_exist() -> None:
    text = (ROOT / "docs/getting-started.md").read_text()
    commands: set[tuple[str, ...]] = set()
    for words in re.findall(r"^\| `crm ([^`]+)`", text, re.MULTILINE):
        names = re.sub(r"\[.*?\]|--\S+|[A-Z]+", "", words).replace(",", " ").split()
        commands |= {tuple(names)} if len(names) < 3 else {(names[0], action) for action in names[1:]}
    with pytest.raises(SystemExit):
        main(["--help"])  # which has the commands of plugins, too
    root: Any = typer.main.get_command(app)
    there = {(name,) for name in root.commands}
    for name, group in root.commands.items():
        there |= {(name, action) for action in getattr(group, "commands", {})}
    groups = ("config", "workspace", "user", "person", "plugin", "schema", "documents")
    assert commands == there - {(group,) for group in groups}


def test_error_codes_exist() -> None:
    text = (ROOT / "docs/frontend.md").read_text()
    table = text.split("## Errors")[1].split("## Over HTTP")[0]
    shown = set(re.findall(r"`([A-Z_]{6,})`", table))
    known = {e.code for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.CrmError)}
    of_documents = {"PERSISTED_QUERY_NOT_FOUND", "PERSISTED_QUERY_ONLY"}
    assert shown - known == {"GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED"} | of_documents


def test_error_codes_are_what_requests_get(demo: Demo) -> None:
    def code(query: str, **how: Any) -> str:
        return demo.ask(query, **how)["errors"][0]["extensions"]["code"]

    assert code("{ viewer { login }") == "GRAPHQL_PARSE_FAILED"
    assert code("{ nothing }") == "GRAPHQL_VALIDATION_FAILED"
    assert code("{ customers { totalCount } }", token="") == "UNAUTHENTICATED"
    assert code("{ customers { totalCount } }", token="wrong") == "UNAUTHENTICATED"
    query = 'mutation { teamCreate(input: {name: "x"}) { team { id } } }'
    assert code(query, role="readonly") == "FORBIDDEN"
    assert code("{ customers(first: -1) { nodes { id } } }") == "BAD_USER_INPUT"
    many = " ".join(f"c{i}: customers {{ totalCount }}" for i in range(40))
    assert code(f"{{ {many} }}") == "LIMIT_EXCEEDED"
