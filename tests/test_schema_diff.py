"""What changed between two schemas, and what the command makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from graphql import build_schema

from core import cli
from core.schema.differences import BREAKING, DANGEROUS, SAFE, differences

OLD = """
type Query { name: String size: Int kind: Kind list(first: Int = 3): [String] }
enum Kind { A B }
input Where { a: Int }
"""


def changes(new: str) -> list[tuple[str, str]]:
    return [(d.severity, d.type) for d in differences(build_schema(OLD), build_schema(new))]


def test_nothing_changed() -> None:
    assert changes(OLD) == []


@pytest.mark.parametrize(
    ("before", "after", "severity", "kind"),
    [
        ("size: Int", "", BREAKING, "FIELD_REMOVED"),
        ("size: Int", "size: String", BREAKING, "FIELD_CHANGED_KIND"),
        ("{ A B }", "{ A }", BREAKING, "VALUE_REMOVED_FROM_ENUM"),
        ("{ a: Int }", "{ a: Int b: Int! }", BREAKING, "REQUIRED_INPUT_FIELD_ADDED"),
        ("{ A B }", "{ A B C }", DANGEROUS, "VALUE_ADDED_TO_ENUM"),
        ("first: Int = 3", "first: Int = 5", DANGEROUS, "ARG_DEFAULT_VALUE_CHANGE"),
        ("first: Int = 3", "first: Int = 3 last: Int", DANGEROUS, "OPTIONAL_ARG_ADDED"),
        ("{ a: Int }", "{ a: Int b: Int }", DANGEROUS, "OPTIONAL_INPUT_FIELD_ADDED"),
        ("size: Int", "size: Int weight: Int", SAFE, "FIELD_ADDED"),
        ("size: Int", 'size: Int @deprecated(reason: "old")', SAFE, "DEPRECATED"),
        ("{ A B }", "{ A B @deprecated }", SAFE, "DEPRECATED"),
        ("input Where", "scalar Colour\ninput Where", SAFE, "TYPE_ADDED"),
        ("enum Kind", '"What." enum Kind', SAFE, "DESCRIPTION_CHANGED"),
        ("input Where", "directive @late on FIELD\ninput Where", SAFE, "DIRECTIVE_ADDED"),
    ],
)
def test_each_change_is_named_once_with_what_it_does(before: str, after: str, severity: str, kind: str) -> None:
    found = changes(OLD.replace(before, after, 1))
    assert found == [(severity, kind)]


@pytest.mark.parametrize(("new", "status"), [(OLD.replace("size: Int", ""), 1), (OLD + "scalar X", 0), (OLD, 0)])
def test_the_exit_code_says_whether_clients_break(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], new: str, status: int
) -> None:
    (tmp_path / "old").write_text(OLD)
    (tmp_path / "new").write_text(new)
    with pytest.raises(SystemExit) as ended:
        cli.main(["schema", "diff", str(tmp_path / "old"), str(tmp_path / "new"), "--json"])
    assert int(ended.value.code or 0) == status
    found = json.loads(capsys.readouterr().out)
    assert [d["severity"] for d in found] == ([] if new == OLD else ["BREAKING" if status else "SAFE"])


@pytest.mark.parametrize("text", ["type Query {", "type Query { a: Nothing }", "type Query { a: Int } \udc80"])
def test_a_file_that_is_no_schema_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (tmp_path / "old").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SystemExit) as ended:
        cli.main(["schema", "diff", str(tmp_path / "old"), str(tmp_path / "old")])
    assert ended.value.code == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
